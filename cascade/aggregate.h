/*
 * Vaults' numbers of holders and terms' totals. Redis only says which keys to look at; what has to be done stands in
 * vault_outbox, written by ingest in the events' own transaction. A key for which nothing stands there was done by another
 * worker, who tells analytics, too; but a redelivered entry's keys are told of again, for that worker may have been us.
 *
 * One transaction a batch: lock the terms in order, fold their outbox rows into position_count, then — in a later statement,
 * which sees what the holder of the lock before us committed — recompute the terms.
 */
#pragma once

#include "../common/work.h"

MUST_CHECK int aggregate_process(struct work *work);
MUST_CHECK int aggregate_rebuild(struct db *db);
