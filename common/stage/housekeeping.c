#include "common/stage/housekeeping.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/stop.h"
#include "common/stage/link.h"
#include "common/stage/stage.h"
#include "common/stream/state.h"
#include "common_sql.h"

#define ROUND_MS         100
#define TRIM_INTERVAL_MS 5000
#define TRIM_ROUNDS      2000 /* calls a stream and interval; each drops up to 1,000 entries or 1 MB */
#define GAPS_INTERVAL_MS 1000
#define TIDY_INTERVAL_MS 30000
#define QUERY_TIMEOUT_MS 30000

struct housekeeping {
        struct service *service;
        pthread_t thread;
        struct link link;
        int64_t trimmed_ms, gaps_ms, tidied_ms, backfill_looked_ms; /* when it was due last, 0: never */
        int64_t backfilled_ms;                                      /* when keys were last queued again, 0: never */
        bool failed;         /* told once, not every round; until all that needs servers has worked */
        char (*foreign)[64]; /* by input: the group that the log has named */
};

/* ---- streams ---- */

static void warn_of_foreign_group(struct housekeeping *keeper, const char *stream, char told[64])
{
        struct stream_state state;
        if (stream_state_read(keeper->link.redis, stream, keeper->service->shared->group, &state))
                return;
        bool news = strcmp(told, state.foreign) && *state.foreign;
        snprintf(told, 64, "%s", state.foreign);
        if (news)
                log_write(LOG_WARN, "another consumer group reads this stream; trimming waits for it too", "stream=%s group=%s",
                        stream, state.foreign);
}

static int trim(struct housekeeping *keeper)
{
        const struct service *service = keeper->service;
        const char *const *streams = service_inputs(service);
        if (!service_trims_inputs(service))
                return 0;
        for (size_t i = 0; streams[i]; i++) {
                int64_t trimmed = 1;
                warn_of_foreign_group(keeper, streams[i], keeper->foreign[i]);
                for (int round = 0; trimmed && round < TRIM_ROUNDS && !stop_requested(); round++) {
                        if (stream_trim(
                                    keeper->link.redis, streams[i], service->shared->group, service->shared->retention, &trimmed))
                                return -1;
                        if (trimmed)
                                metrics_add(service->metrics, &stage_trimmed, (double)trimmed, streams[i], NULL, NULL);
                }
        }
        return 0;
}

/* What was trimmed between two looks is found once all that is left is read. */
static int look_for_gaps(struct housekeeping *keeper)
{
        const char *const *streams = service_inputs(keeper->service);
        int r = 0;
        for (size_t i = 0; streams[i] && !r; i++)
                r = service_tell_gap(keeper->service, keeper->link.redis, streams[i]);
        return r;
}

static int tidy(struct housekeeping *keeper)
{
        const struct service *service = keeper->service;
        const char *const *streams = service_inputs(service);
        for (size_t i = 0; streams[i]; i++) {
                int64_t removed = 0;
                int64_t idle_ms = service->shared->claim_idle_ms * 2 + service->shared->batch_timeout_ms;
                if (stream_consumers_tidy(keeper->link.redis, streams[i], service->shared->group, idle_ms, &removed))
                        return -1;
                if (removed)
                        log_write(LOG_INFO, "removed names of dead consumers", "stream=%s removed=%" PRId64, streams[i], removed);
        }
        return 0;
}

/* ---- backfill ---- */

/* What was queued again is waiting still: the oldest waiting entry is older than that. */
static bool is_still_queued(const struct housekeeping *keeper, const struct stream_state *state)
{
        return keeper->backfilled_ms && state->waiting_ms >= clock_ms() - keeper->backfilled_ms;
}

static int publish_rows(struct housekeeping *keeper, const char *stream, const struct db_rows *rows)
{
        size_t count = db_rows_count(rows);
        struct stream_key *keys = memory_new(count, sizeof(*keys));
        for (size_t i = 0; i < count; i++)
                keys[i] = (struct stream_key){.term_id = db_rows_text(rows, i, 0),
                        .curve_id = db_rows_text(rows, i, 1),
                        .reason = "backfill",
                        .block_number = db_rows_number(rows, i, 2)};
        int r = stream_publish(keeper->link.redis, stream, keys, count);
        free(keys);
        if (r)
                return r;
        keeper->backfilled_ms = clock_ms();
        metrics_add(keeper->service->metrics, &stage_backfilled_keys, (double)count, NULL, NULL, NULL);
        log_write(LOG_WARN, "queued keys again that stayed behind in the outbox", "stream=%s keys=%zu", stream, count);
        return 0;
}

static void add_term(void *context, const char *value)
{
        db_array_push_text(context, value);
}

static void add_bucket(void *context, const char *value)
{
        char *end;
        const long long number = strtoll(value, &end, 10);
        if (*value && !*end)
                db_array_push_number(context, number);
}

/* Queues the outbox rows again that are older than age_ms and that no pending entry names. The advisory lock is held until that
 * is done, so that replicas take turns. */
static int queue_stale_rows(
        struct housekeeping *keeper, const char *stream, int64_t age_ms, struct db_array *terms, struct db_array *buckets)
{
        const struct program *program = keeper->service->program;
        AUTO(db_rows) struct db_rows *locked = NULL;
        AUTO(db_rows) struct db_rows *rows = NULL;
        char age[24];
        snprintf(age, sizeof(age), "%" PRId64, age_ms);
        const struct db_param name = db_text(program->name);
        const struct db_param params[] = {db_text(age), db_array_param(terms), db_array_param(buckets)};
        const struct db_call calls[] = {
                {.sql = &sql_00_backfill_lock, .params = &name, .param_count = 1, .rows = &locked},
                {.sql = program->outbox_stale, .params = params, .param_count = ARRAY_LENGTH(params), .rows = &rows},
        };
        if (db_run(keeper->link.db, calls, ARRAY_LENGTH(calls), DB_BEGIN, QUERY_TIMEOUT_MS))
                return -1;
        int r = db_rows_count(locked) && db_rows_count(rows) ? publish_rows(keeper, stream, rows) : 0;
        int ended = db_run(keeper->link.db, NULL, 0, DB_ROLLBACK, QUERY_TIMEOUT_MS);
        return r ? r : ended ? -1 : 0;
}

/*
 * An outbox row that is older than the oldest entry that waits, by an interval, was published before it and lost since, or never
 * published; unless an entry that names it is pending. Where very much is pending the next round looks again.
 */
static int backfill(struct housekeeping *keeper)
{
        const struct config *config = keeper->service->shared;
        const char *stream = service_inputs(keeper->service)[0];
        struct stream_state state;
        AUTO_ARRAY struct db_array terms;
        AUTO_ARRAY struct db_array buckets;
        bool all_terms = true, all_buckets = true;
        db_array_init(&terms, DB_TEXT);
        db_array_init(&buckets, DB_BIGINT);
        if (stream_state_read(keeper->link.redis, stream, config->group, &state))
                return -1;
        if (is_still_queued(keeper, &state))
                return 0;
        int r = state.pending ? stream_pending_fields(
                                        keeper->link.redis, stream, config->group, "term_id", add_term, &terms, &all_terms)
                              : 0;
        if (!r && state.pending)
                r = stream_pending_fields(
                        keeper->link.redis, stream, config->group, "bucket", add_bucket, &buckets, &all_buckets);
        if (r || !all_terms || !all_buckets)
                return r < 0 ? r : 0;
        int64_t age_ms = config->backfill_interval_ms + (state.waiting_ms > 0 ? state.waiting_ms : 0);
        return queue_stale_rows(keeper, stream, age_ms, &terms, &buckets);
}

/* ---- rounds ---- */

static bool is_due(int64_t *last, int64_t interval_ms)
{
        if (*last && clock_ms() < *last + interval_ms)
                return false;
        *last = clock_ms();
        return true;
}

static int keep_once(struct housekeeping *keeper)
{
        struct service *service = keeper->service;
        int r = 0;
        if (!atomic_load(&service->ready))
                return 0;
        if (!link_open_redis(&keeper->link, service))
                return -1;
        if (is_due(&keeper->trimmed_ms, TRIM_INTERVAL_MS)) {
                r = trim(keeper);
                keeper->failed = keeper->failed && (r || service->program->outbox_stale);
        }
        if (!r && is_due(&keeper->gaps_ms, GAPS_INTERVAL_MS))
                r = look_for_gaps(keeper);
        if (!r && is_due(&keeper->tidied_ms, TIDY_INTERVAL_MS))
                r = tidy(keeper);
        if (!r && service->program->outbox_stale && is_due(&keeper->backfill_looked_ms, service->shared->backfill_interval_ms)) {
                r = link_open_db(&keeper->link, service) ? backfill(keeper) : -1;
                keeper->failed = keeper->failed && r;
        }
        return r;
}

static void *keep(void *argument)
{
        struct housekeeping *keeper = argument;
        do {
                if (!keep_once(keeper))
                        continue;
                if (!keeper->failed)
                        link_tell_failure(&keeper->link, "housekeeping failed; it is tried again");
                link_close(&keeper->link);
                keeper->failed = true;
        } while (!stop_wait(ROUND_MS));
        link_close(&keeper->link);
        return NULL;
}

/* ---- lifetime ---- */

int housekeeping_start(struct housekeeping **out, struct service *service)
{
        struct housekeeping *keeper = memory_new(1, sizeof(*keeper));
        size_t inputs = 0;
        while (service_inputs(service)[inputs])
                inputs++;
        keeper->service = service;
        keeper->foreign = memory_new(inputs + 1, sizeof(*keeper->foreign));
        *out = keeper;
        return -pthread_create(&keeper->thread, NULL, keep, keeper);
}

void housekeeping_join(struct housekeeping *keeper)
{
        if (!keeper)
                return;
        pthread_join(keeper->thread, NULL);
        free(keeper->foreign);
        free(keeper);
}
