/*
 * Events and where they were seen, as one array a column for the statements that take any event table's rows
 * (10_audit_add_events, 10_event_take): what a type has of its own goes as JSON.
 */
#pragma once

#include "../common/db.h"
#include "../common/stream.h"
#include "event.h"

#define SIGHTING_COLUMNS 14
#define SIGHTING_PLACED  15 /* with the event's place in its entry, for those that read streams */

struct sightings {
        struct db_array columns[SIGHTING_PLACED];
        struct db_param params[SIGHTING_PLACED];
};

void sightings_init(struct sightings *sightings);
void sightings_deinit(struct sightings *sightings);
/* settled: the entry was acked before the tables were looked at (audit). */
void sightings_push(struct sightings *sightings, const struct event *event, const struct stream_entry *entry, bool settled,
        struct arena *arena);
const struct db_param *sightings_params(struct sightings *sightings);
#define AUTO_SIGHTINGS __attribute__((cleanup(sightings_deinit)))
