/*
 * Vaults' numbers of holders and terms' totals. Redis only says where to look; what has to be done stands in vault_outbox,
 * written by ingest in the events' own transaction, by buckets of terms. A key's bucket is worked off whole, so that a flood's
 * later entries find nothing left; each entry's key is told to analytics, whoever did it: by then it is done.
 *
 * One transaction: lock the buckets in order, fold their outbox rows into position_count, then — in a later statement — recompute
 * the terms. Where PostgreSQL refuses that, or it takes too long, only the batch's own keys are done, and halved.
 */
#pragma once

#include "common/stage/work.h"

MUST_CHECK int aggregate_process(struct work *work);
void *aggregate_state_new(const void *config); /* a worker's */
void aggregate_state_free(void *state);
MUST_CHECK int aggregate_rebuild(struct db *db);
