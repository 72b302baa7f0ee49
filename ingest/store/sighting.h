/*
 * Events and where they were seen, as one array a column for the statements that take any event table's rows
 * (10_audit_add_events, 10_event_take): what a type has of its own goes as JSON.
 */
#pragma once

#include "common/io/db.h"
#include "common/stream/stream.h"
#include "ingest/decode/decode.h"
#include "ingest/decode/event.h"

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
