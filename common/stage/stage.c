#include "common/stage/stage.h"

static const double size_buckets[] = {1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000, 0};
static const double delay_buckets[] = {
        0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 3600, 86400, 0};

COUNTER(stage_events_processed, "events_processed_total", "Events (cascade, analytics: keys) whose effects are committed", NULL);
COUNTER(stage_events_failed, "events_failed_total", "Events that went to the dead letters", NULL);
COUNTER(stage_messages, "messages_processed_total", "Stream entries acked", "stream");
HISTOGRAM(stage_processing_seconds, NULL, "event_processing_duration_seconds", "Time of a batch from its read to its ack", NULL);
GAUGE(stage_breaker_state, "circuit_breaker_state", "0 closed, 1 open or half-open", NULL);
GAUGE(stage_ready, "service_ready", "1 where the program can work, as /readyz says", NULL);
GAUGE(stage_server_up, "server_up", "1 where the server answered within the last second that it takes writes, as /health says",
        "server");
GAUGE(stage_stream_length, "stream_length", "Entries in a stream", "stream", "group");
GAUGE(stage_stream_lag, "stream_lag", "Entries not yet delivered to the group", "stream", "group");
GAUGE(stage_stream_lag_known, "stream_lag_known",
        "1 where Redis knows the lag, 0 where it is counted, up to 20,000 entries or 32 MB of them, every five seconds", "stream",
        "group");
GAUGE(stage_stream_pending, "stream_pending", "Entries delivered and not yet acked", "stream", "group");
GAUGE(stage_stream_oldest_pending, "stream_oldest_pending_seconds", "Age of the oldest entry that is pending", "stream", "group");
HISTOGRAM(
        stage_block_delay, delay_buckets, "block_to_commit_seconds", "From the newest block time in a batch to its commit", NULL);
HISTOGRAM(stage_entry_delay, delay_buckets, "entry_to_commit_seconds", "From a batch's oldest stream entry to its commit", NULL);
HISTOGRAM(stage_query_seconds, NULL, "query_duration_seconds", "Time of a round trip to PostgreSQL, by its last statement",
        "statement");
HISTOGRAM(stage_batch_size, size_buckets, "batch_size", "Events or keys in a batch", NULL);
COUNTER(stage_claims, "claims_total", "Pending entries taken over from other consumers", NULL);
COUNTER(stage_lost_entries, "lost_entries_total",
        "Entries trimmed away while they were pending, or before the group had read them", "stream");
COUNTER(stage_dead_letters, "dead_letters_total", "Dead letters written", "error_class");
COUNTER(stage_retries, "batch_retries_total", "Batches that failed and are tried again", NULL);
COUNTER(stage_reconnects, "reconnects_total", "Connections made again after a failure", "server");
COUNTER(stage_trimmed, "trimmed_entries_total", "Entries trimmed from a stream", "stream");
GAUGE(stage_outbox_age, "outbox_oldest_seconds", "How long the oldest row of the stage's outbox has waited (cascade, analytics)",
        NULL);
GAUGE(stage_outbox_rows, "outbox_rows",
        "Rows that wait in the stage's outbox, counted up to 100,000; a row of cascade's is of several keys", NULL);
COUNTER(stage_backfilled_keys, "backfilled_keys_total", "Keys queued again from the outbox", NULL);
GAUGE(stage_verify_differences, "verify_differences", "Rows that the last verify of this program found different", NULL);
GAUGE(stage_verify_age, "verify_age_seconds", "Since the last verify of this program", NULL);
GAUGE(stage_last_block, "last_block_number", "Newest block of which an event is stored", NULL);
GAUGE(stage_last_block_time, "last_block_timestamp_seconds", "Its time; where it has none, when the event was stored", NULL);
GAUGE(stage_trims, "stream_trimmed", "1 where this program trims the stream", "stream");
GAUGE(stage_foreign_group, "stream_foreign_group", "1 where another consumer group holds back our trimming of the stream",
        "stream", "group");
GAUGE(stage_foreign_database, "foreign_database", "1 where the consumer group belongs to another database: nothing is read",
        NULL);
GAUGE(stage_redis_memory, "redis_memory_used_bytes", "used_memory of Redis", NULL);
GAUGE(stage_redis_memory_max, "redis_memory_max_bytes", "maxmemory of Redis, 0: no limit", NULL);
GAUGE(stage_redis_may_evict, "redis_may_evict", "1 where maxmemory-policy is not noeviction: streams may be evicted", NULL);
GAUGE(stage_build_info, "build_info", "Always 1", "program", "version");

void stage_register(struct metrics *metrics, const char *program, struct metric *const *own)
{
        struct metric *const all[] = {&stage_events_processed, &stage_events_failed, &stage_messages, &stage_processing_seconds,
                &stage_breaker_state, &stage_ready, &stage_server_up, &stage_stream_length, &stage_stream_lag,
                &stage_stream_lag_known, &stage_stream_pending, &stage_stream_oldest_pending, &stage_block_delay,
                &stage_entry_delay, &stage_query_seconds, &stage_batch_size, &stage_claims, &stage_lost_entries,
                &stage_dead_letters, &stage_retries, &stage_reconnects, &stage_trimmed, &stage_backfilled_keys, &stage_outbox_age,
                &stage_outbox_rows, &stage_verify_differences, &stage_verify_age, &stage_last_block, &stage_last_block_time,
                &stage_trims, &stage_foreign_group, &stage_foreign_database, &stage_redis_memory, &stage_redis_memory_max,
                &stage_redis_may_evict, &stage_build_info};
        for (size_t i = 0; i < ARRAY_LENGTH(all); i++)
                metrics_register(metrics, all[i]);
        for (size_t i = 0; own && own[i]; i++)
                metrics_register(metrics, own[i]);
        metrics_set(metrics, &stage_build_info, 1, program, PROJECT_VERSION, NULL);
}
