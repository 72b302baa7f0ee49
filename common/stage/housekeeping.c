#include "common/stage/housekeeping.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/stop.h"
#include "common/stage/link.h"
#include "common/stage/ownership.h"
#include "common/stage/stage.h"
#include "common/stream/state.h"
#include "common_sql.h"

#define ROUND_MS          100
#define OWNED_INTERVAL_MS 5000
#define TRIM_INTERVAL_MS  5000
#define TRIM_ROUNDS       2000 /* calls a stream and interval; each drops up to 1,000 entries or 1 MB */
#define GAPS_INTERVAL_MS  1000
#define TIDY_INTERVAL_MS  30000
#define QUERY_TIMEOUT_MS  30000

struct housekeeping {
        struct service *service;
        struct link link;
        int64_t owned_ms, trimmed_ms, gaps_ms, tidied_ms, backfill_looked_ms; /* when it was due last, 0: never */
        int64_t backfilled_ms;                                                /* when keys were last queued again, 0: never */
        bool failed; /* told once, not every round; until all that needs servers has worked */
};

/* ---- streams ---- */

static int trim(struct housekeeping *house)
{
        const struct service *service = house->service;
        const char *const *streams = service->shared->inputs;
        if (!service->shared->trims_inputs)
                return 0;
        for (size_t i = 0; streams[i]; i++) {
                int64_t trimmed = 1;
                for (int round = 0; trimmed && round < TRIM_ROUNDS && !stop_requested(); round++) {
                        if (stream_trim(
                                    house->link.redis, streams[i], service->shared->group, service->shared->retention, &trimmed))
                                return -1;
                        if (trimmed)
                                metrics_add(service->metrics, &stage_trimmed, (double)trimmed, streams[i], NULL, NULL);
                }
        }
        return 0;
}

/* What was trimmed and passed over between two looks is found once all that is left is read. Redis 8 corrects the group's
 * entries-read at each read, so there it is not: hence the short interval, and the looks of a reader in a backlog. */
static int look_for_gaps(struct housekeeping *house)
{
        const char *const *streams = house->service->shared->inputs;
        int r = 0;
        for (size_t i = 0; streams[i] && !r; i++)
                r = service_tell_gap(house->service, house->link.redis, streams[i], NULL);
        return r;
}

static int tidy(struct housekeeping *house)
{
        const struct service *service = house->service;
        const char *const *streams = service->shared->inputs;
        for (size_t i = 0; streams[i]; i++) {
                int64_t removed = 0;
                int64_t idle_ms = service->shared->claim_idle_ms * 2 + service->shared->batch_timeout_ms;
                if (stream_consumers_tidy(house->link.redis, streams[i], service->shared->group, idle_ms, &removed))
                        return -1;
                if (removed)
                        log_write(LOG_INFO, "removed names of dead consumers", "stream=%s removed=%" PRId64, streams[i], removed);
        }
        return 0;
}

/* ---- backfill ---- */

/* What was queued again is waiting still: the oldest waiting entry is older than that. */
static bool is_still_queued(const struct housekeeping *house, const struct stream_state *state)
{
        return house->backfilled_ms && state->waiting_ms >= clock_ms() - house->backfilled_ms;
}

static int publish_rows(struct housekeeping *house, const char *stream, const struct db_rows *rows)
{
        size_t count = db_rows_count(rows);
        struct stream_key *keys = memory_new(count, sizeof(*keys));
        for (size_t i = 0; i < count; i++)
                keys[i] = (struct stream_key){.bucket = db_rows_text(rows, i, 0),
                        .term_id = db_rows_text(rows, i, 1),
                        .curve_id = db_rows_text(rows, i, 2),
                        .reason = "backfill",
                        .block_number = db_rows_number(rows, i, 3)};
        int r = stream_publish(house->link.redis, stream, keys, count);
        free(keys);
        if (r)
                return r;
        house->backfilled_ms = clock_ms();
        metrics_add(house->service->metrics, &stage_backfilled_keys, (double)count, NULL, NULL, NULL);
        log_write(LOG_WARN, "queued keys again that stayed behind in the outbox", "stream=%s keys=%zu", stream, count);
        return 0;
}

/* Queues the outbox rows again that are older than age_ms and that none of these keys names. The advisory lock is held until that
 * is done, so that replicas take turns. */
static int queue_stale_rows(
        struct housekeeping *house, const char *stream, int64_t age_ms, const char *terms, const char *buckets)
{
        const struct program *program = house->service->program;
        AUTO(db_rows) struct db_rows *locked = NULL;
        AUTO(db_rows) struct db_rows *rows = NULL;
        const struct db_param name = db_text(program->name);
        const struct db_param params[] = {db_number(age_ms), db_text(terms), db_text(buckets)};
        const struct db_call calls[] = {
                {.sql = &sql_00_backfill_lock, .params = &name, .param_count = 1, .rows = &locked},
                {.sql = program->outbox_stale, .params = params, .param_count = ARRAY_LENGTH(params), .rows = &rows},
        };
        if (db_run(house->link.db, calls, ARRAY_LENGTH(calls), DB_BEGIN, QUERY_TIMEOUT_MS))
                return -1;
        int r = db_rows_count(locked) && db_rows_count(rows) ? publish_rows(house, stream, rows) : 0;
        int ended = db_run(house->link.db, NULL, 0, DB_ROLLBACK, QUERY_TIMEOUT_MS);
        return r ? r : ended ? -1 : 0;
}

/*
 * An outbox row that is older than the oldest entry that waits, by an interval, was published before it and lost since, or never
 * published; unless an entry that names it is pending. Where very much is pending the next round looks again.
 */
static int backfill(struct housekeeping *house)
{
        const struct config *config = house->service->shared;
        const char *stream = config->inputs[0];
        AUTO(text) char *terms = NULL;
        AUTO(text) char *buckets = NULL;
        struct stream_state state;
        if (stream_state_read(house->link.redis, stream, config->group, &state))
                return -1;
        if (is_still_queued(house, &state))
                return 0;
        if (state.pending && stream_pending_keys(house->link.redis, stream, config->group, &terms, &buckets))
                return -1;
        if (state.pending && !terms)
                return 0;
        int64_t age_ms = config->backfill_interval_ms + (state.waiting_ms > 0 ? state.waiting_ms : 0);
        return queue_stale_rows(house, stream, age_ms, terms ? terms : "{}", buckets ? buckets : "{}");
}

/* ---- rounds ---- */

/* Where the group was another's: it may be free by now. */
static int take_ownership(struct housekeeping *house)
{
        struct service *service = house->service;
        const char *problem = NULL; /* link_tell_failure says it */
        struct stream_owner self = {0};
        house->link.db = db_close(house->link.db); /* the name may lead to another database by now */
        int r = link_open_db(&house->link, service) ? ownership_read(service, house->link.db, &self, &problem) : -1;
        return r ? r : ownership_take(service, house->link.redis, &self, &problem);
}

static int run_round(struct housekeeping *house)
{
        struct service *service = house->service;
        int r = 0;
        if (!atomic_load(&service->ready))
                return 0;
        if (!link_open_redis(&house->link, service))
                return -1;
        if (!atomic_load(&service->owns) && clock_is_due(&house->owned_ms, OWNED_INTERVAL_MS))
                r = take_ownership(house);
        if (r || !atomic_load(&service->owns))
                return r < 0 ? r : 0;
        if (clock_is_due(&house->trimmed_ms, TRIM_INTERVAL_MS))
                r = trim(house);
        if (!r && clock_is_due(&house->gaps_ms, GAPS_INTERVAL_MS)) {
                r = look_for_gaps(house);
                house->failed = house->failed && (r || service->program->outbox_stale);
        }
        if (!r && clock_is_due(&house->tidied_ms, TIDY_INTERVAL_MS))
                r = tidy(house);
        if (!r && service->program->outbox_stale &&
                clock_is_due(&house->backfill_looked_ms, service->shared->backfill_interval_ms)) {
                r = link_open_db(&house->link, service) ? backfill(house) : -1;
                house->failed = house->failed && r;
        }
        return r;
}

void *housekeeping_run(void *context)
{
        struct housekeeping house = {.service = context};
        do {
                if (!run_round(&house))
                        continue;
                if (!house.failed)
                        link_tell_failure(&house.link, "housekeeping failed; it is tried again");
                link_close(&house.link);
                house.failed = true;
        } while (!stop_wait(ROUND_MS));
        link_close(&house.link);
        return NULL;
}
