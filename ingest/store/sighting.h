/*
 * Events and where they were seen: as a list, and as one array a column for the statements that take any event table's rows
 * (10_event_take, 16_chain_*). There, what a type has of its own goes as JSON.
 */
#pragma once

#include "common/io/db.h"
#include "common/stream/stream.h"
#include "ingest/decode/decode.h"
#include "ingest/decode/event.h"

/* An event, and the entry it came in. */
struct sighting {
        const struct event *event;
        struct stream_entry *entry;
        struct verdict *verdict; /* the writer's, on the entry */
        int64_t place; /* -1; where its entry has it in several blocks: in the entry, of the first with the same block */
};

struct sightings {
        struct sighting *list;
        size_t count, capacity;
};

void sightings_push(struct sightings *sightings, struct sighting sighting); /* place: -1 */
/* By key; the places are found here, for what stands in one entry may be stored apart. */
void sightings_sort(struct sightings *sightings);

/* What each event has, and the entry it came in, in the order of the insert and copy statements' columns. */
enum { EVENT_COLUMN_STREAM = 8, EVENT_COLUMN_MS, EVENT_COLUMN_SEQ, EVENT_COLUMNS };
#define EVENT_ELEMENTS "tnttntnztnn"
/* To arrays, one a column; or (step 0) to one buffer of rows for COPY. */
void sighting_push_event(struct db_array *to, size_t step, const struct event *event, const struct stream_entry *entry);

/* The same with the event's table before it, and its own columns as JSON behind it. */
#define SIGHTING_COLUMNS  (EVENT_COLUMNS + 2)
#define SIGHTING_PLACED   (EVENT_COLUMNS + 3) /* with the event's place in its entry, for those that read streams */
#define SIGHTING_ELEMENTS "t" EVENT_ELEMENTS "tn"

/* To columns of SIGHTING_ELEMENTS. place: as in struct sighting. */
void sighting_push(struct db_columns *columns, const struct event *event, const struct stream_entry *entry, int64_t place,
        struct arena *arena);

/* The parameters of a statement that takes a notice begin with these: where it stands, and what it says. */
#define SIGHTING_NOTICE 7
void sighting_notice(
        struct db_param params[SIGHTING_NOTICE], const struct stream_entry *entry, const struct decode_notice *notice);
