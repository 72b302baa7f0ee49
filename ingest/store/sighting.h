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
        /* In the entry, where that has the event in several blocks: of the first that is the same event in the same block. Else
         * -1. */
        int64_t place;
};

struct sightings {
        struct sighting *list;
        size_t count, capacity;
};

void sightings_push(struct sightings *sightings, struct sighting sighting); /* place: -1 */
/* By key; the places are found here, for what stands in one entry may be stored apart. */
void sightings_sort(struct sightings *sightings);

#define SIGHTING_COLUMNS  14
#define SIGHTING_PLACED   15 /* with the event's place in its entry, for those that read streams */
#define SIGHTING_ELEMENTS "ttnttntnztnnntn"

/* To columns of SIGHTING_ELEMENTS. place: in its entry, where that has the event in several blocks; else -1. settled: the entry
 * was acked before the tables were looked at (audit). */
void sighting_push(struct db_columns *sightings, const struct event *event, const struct stream_entry *entry, int64_t place,
        bool settled, struct arena *arena);

/* The parameters of a statement that takes a notice begin with these: where it stands, and what it says. */
#define SIGHTING_NOTICE 7
void sighting_notice(struct db_param params[SIGHTING_NOTICE], const struct stream_entry *entry,
        const struct decode_notice *notice, struct arena *arena);
