/*
 * Vaults' numbers of holders and terms' totals. Redis only says where to look; what has to be done stands in vault_outbox,
 * written by ingest in the events' own transaction, by buckets of terms.
 *
 * One transaction: lock the buckets in order, fold their outbox rows (some thousands at most) into position_count, then, in a
 * later statement, recompute the terms. How a batch is split where that fails: common/stage/keys.h.
 */
#pragma once

#include "common/stage/service.h"
#include "common/stage/work.h"

MUST_CHECK int aggregate_process(struct work *work);
MUST_CHECK int aggregate_rebuild(struct service *service, struct db *db);
