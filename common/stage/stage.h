/*
 * The metrics that every stage has (README, "Monitoring"), declared once.
 */
#pragma once

#include "common/base/metrics.h"

extern struct metric stage_events_processed, stage_events_failed, stage_processing_seconds;
extern struct metric stage_breaker_state, stage_ready, stage_server_up;
extern struct metric stage_stream_length, stage_stream_lag, stage_stream_lag_known, stage_stream_pending,
        stage_stream_oldest_pending;
extern struct metric stage_block_delay, stage_entry_delay, stage_query_seconds, stage_batch_size, stage_messages;
extern struct metric stage_claims, stage_lost_entries, stage_dead_letters, stage_retries, stage_reconnects, stage_trimmed;
extern struct metric stage_backfilled_keys, stage_outbox_age, stage_outbox_rows;
extern struct metric stage_verify_differences, stage_verify_age, stage_last_block, stage_last_block_time, stage_trims,
        stage_foreign_group, stage_foreign_database;
extern struct metric stage_redis_memory, stage_redis_memory_max, stage_redis_may_evict;
extern struct metric stage_build_info;

/* Registers them, and the program's own. own ends at NULL; NULL: it has none. */
void stage_register(struct metrics *metrics, const char *program, struct metric *const *own);
