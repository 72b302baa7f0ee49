#include "keeper.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "clock.h"
#include "common_sql.h"
#include "log.h"
#include "migrations/schema.h"
#include "overview.h"
#include "stage.h"
#include "status.h"

#define MONITOR_INTERVAL_MS  250
#define MONITOR_TIMEOUT_MS   450
#define LOOK_INTERVAL_MS     1000
#define LOOK_TIMEOUT_MS      2000
#define COUNT_INTERVAL_MS    5000 /* between looks that had to count a lag */
#define RATE_SPAN_MS         5000
#define TRIM_INTERVAL_MS     5000
#define TIDY_INTERVAL_MS     30000
#define GAUGE_INTERVAL_MS    15000
#define OVERVIEW_INTERVAL_MS 15000 /* it reads both outboxes */
#define WATCHED_INTERVAL_MS  3000  /* where somebody looks at it */
#define NOTE_INTERVAL_MS     10000
#define TRIM_ROUNDS          500
#define QUERY_TIMEOUT_MS     30000

struct link {
        struct redis *redis;
        struct db *db;
};

struct keeper {
        struct service *service;
        pthread_t monitor, looker, keeper;
        struct link watch, look, work;
        struct status status; /* the looker's: the look that rates are counted from */
        int64_t trim_last, tidy_last, backfill_last, gauge_last, note_last, overview_last;
        enum breaker_state noted_breaker; /* as last noted for the others */
        bool noted_ready;
        int64_t backfilled_ms;                     /* when keys were last queued again, 0: never */
        bool troubled;                             /* told once, not every round */
        char foreign_told[STATUS_STREAMS_MAX][64]; /* the group that each stream's reader was warned of */
};

/* ---- connections ---- */

static void link_close(struct link *link)
{
        link->redis = redis_close(link->redis);
        link->db = db_close(link->db);
}

static bool link_open_redis(struct keeper *keeper, struct link *link, int64_t timeout_ms)
{
        AUTO(text) char *problem = NULL;
        if (link->redis && !redis_alive(link->redis))
                link->redis = redis_close(link->redis);
        if (!link->redis && service_open_redis(keeper->service, &link->redis, timeout_ms, &problem))
                log_write(LOG_DEBUG, "housekeeping cannot connect", "server=redis error=%s", problem);
        return link->redis;
}

static bool link_open_db(struct keeper *keeper, struct link *link, int64_t timeout_ms)
{
        AUTO(text) char *problem = NULL;
        if (link->db && !db_alive(link->db))
                link->db = db_close(link->db);
        if (!link->db && service_open_db(keeper->service, &link->db, timeout_ms, NULL, NULL, &problem))
                log_write(LOG_DEBUG, "housekeeping cannot connect", "server=postgresql error=%s", problem);
        return link->db;
}

static bool trims_inputs(const struct service *service)
{
        return !service->program->trims_inputs || service->program->trims_inputs(service->config);
}

/* ---- the looker ---- */

static void set_gauges(struct keeper *keeper, const struct status *status)
{
        struct metrics *metrics = keeper->service->metrics;
        const char *group = keeper->service->shared->group;
        bool trims = trims_inputs(keeper->service);
        for (size_t i = 0; i < status->count; i++) {
                const char *stream = status->rows[i].stream;
                const struct stream_state *state = &status->rows[i].state;
                if (!status->rows[i].own)
                        continue; /* its reader says it */
                metrics_set(metrics, &stage_stream_length, (double)state->length, stream, group, NULL);
                metrics_set(metrics, &stage_stream_lag, (double)state->lag, stream, group, NULL);
                metrics_set(metrics, &stage_stream_lag_known, state->lag_known, stream, group, NULL);
                metrics_set(metrics, &stage_stream_pending, (double)state->pending, stream, group, NULL);
                metrics_set(
                        metrics, &stage_stream_oldest_pending, (double)state->oldest_pending_ms / 1000.0, stream, group, NULL);
                metrics_set(metrics, &stage_trims, trims, stream, NULL, NULL);
                metrics_set(metrics, &stage_foreign_group, trims && *state->foreign, stream, group, NULL);
        }
        metrics_set(metrics, &stage_stream_length, (double)status->letters, keeper->service->shared->letter_stream, group, NULL);
}

/* Returns how long the next look has time. */
static int64_t read_streams(struct keeper *keeper)
{
        struct service *service = keeper->service;
        struct status status;
        const char *others[STATUS_STREAMS_MAX + 1];
        overview_streams(keeper->service->overview, others);
        if (!link_open_redis(keeper, &keeper->look, LOOK_TIMEOUT_MS) ||
                status_look(service, keeper->look.redis, others, &keeper->status, &status))
                return LOOK_INTERVAL_MS;
        set_gauges(keeper, &status);
        overview_sample(keeper->service->overview, &status);
        if (!keeper->status.looked_ms || status.looked_ms - keeper->status.looked_ms >= RATE_SPAN_MS)
                keeper->status = status;
        for (size_t i = 0; i < status.count; i++)
                if (!status.rows[i].state.lag_known)
                        return COUNT_INTERVAL_MS;
        return LOOK_INTERVAL_MS;
}

/* A thread of its own: with many streams and a slow Redis it takes longer than the servers' health may be old. */
static void *looker_run(void *argument)
{
        struct keeper *keeper = argument;
        while (!service_wait(read_streams(keeper)))
                ;
        return NULL;
}

/* ---- the monitor ---- */

static void note_server(struct health *health, struct server *server, bool up)
{
        pthread_mutex_lock(&health->lock);
        if (!server->since_ms || server->up != up)
                server->since_ms = clock_wall_ms();
        server->up = up;
        server->looked_ms = clock_ms();
        health->checked_ms = clock_wall_ms();
        pthread_mutex_unlock(&health->lock);
}

static void look_once(struct keeper *keeper)
{
        struct health *health = &keeper->service->health;
        const struct db_call ping = {.sql = &sql_00_ping};
        bool redis = link_open_redis(keeper, &keeper->watch, MONITOR_TIMEOUT_MS) &&
                     !redis_call(keeper->watch.redis, NULL, "PING", NULL);
        note_server(health, &health->redis, redis);
        bool postgres = link_open_db(keeper, &keeper->watch, MONITOR_TIMEOUT_MS) &&
                        !db_run(keeper->watch.db, &ping, 1, DB_AUTOCOMMIT, MONITOR_TIMEOUT_MS);
        note_server(health, &health->postgres, postgres);
}

static void *monitor_run(void *argument)
{
        struct keeper *keeper = argument;
        do
                look_once(keeper);
        while (!service_wait(MONITOR_INTERVAL_MS));
        return NULL;
}

/* ---- the keeper ---- */

static void tell_foreign(struct keeper *keeper, const char *stream, size_t i)
{
        struct stream_state state;
        if (stream_state_read(keeper->work.redis, stream, keeper->service->shared->group, &state))
                return;
        bool told = !strcmp(keeper->foreign_told[i], state.foreign);
        snprintf(keeper->foreign_told[i], sizeof(keeper->foreign_told[i]), "%s", state.foreign);
        if (told || !*state.foreign)
                return;
        log_write(LOG_WARN, "another consumer group reads this stream; trimming waits for it too", "stream=%s group=%s", stream,
                state.foreign);
}

static int trim(struct keeper *keeper)
{
        const struct service *service = keeper->service;
        const char *const *streams = service->program->inputs(service->config);
        if (!trims_inputs(service))
                return 0;
        for (size_t i = 0; streams[i]; i++) {
                int64_t trimmed = 1;
                tell_foreign(keeper, streams[i], i);
                for (int round = 0; trimmed && round < TRIM_ROUNDS && !service_stopping(); round++) {
                        if (stream_trim(
                                    keeper->work.redis, streams[i], service->shared->group, service->shared->retention, &trimmed))
                                return -1;
                        if (trimmed)
                                metrics_add(service->metrics, &stage_trimmed, (double)trimmed, streams[i], NULL, NULL);
                }
        }
        return 0;
}

static int tidy(struct keeper *keeper)
{
        const struct service *service = keeper->service;
        const char *const *streams = service->program->inputs(service->config);
        for (size_t i = 0; streams[i]; i++) {
                int64_t removed = 0;
                int64_t idle_ms = service->shared->claim_idle_ms * 2 + service->shared->batch_timeout_ms;
                if (stream_consumers_tidy(keeper->work.redis, streams[i], service->shared->group, idle_ms, &removed))
                        return -1;
                if (removed)
                        log_write(LOG_INFO, "removed names of dead consumers", "stream=%s removed=%" PRId64, streams[i], removed);
        }
        return 0;
}

/* What was queued again is waiting still: the oldest waiting entry is older than that. */
static bool still_queued(const struct keeper *keeper, const struct stream_state *state)
{
        return keeper->backfilled_ms && state->waiting_ms >= clock_ms() - keeper->backfilled_ms;
}

static int publish_rows(struct keeper *keeper, const char *stream, const struct db_rows *rows)
{
        size_t count = db_rows_count(rows);
        struct stream_key *keys = memory_new(count, sizeof(*keys));
        for (size_t i = 0; i < count; i++)
                keys[i] = (struct stream_key){.term_id = db_rows_text(rows, i, 0),
                        .curve_id = db_rows_text(rows, i, 1),
                        .reason = "backfill",
                        .block_number = db_rows_number(rows, i, 2)};
        int r = stream_publish(keeper->work.redis, stream, keys, count);
        free(keys);
        if (r)
                return r;
        keeper->backfilled_ms = clock_ms();
        metrics_add(keeper->service->metrics, &stage_backfilled_keys, (double)count, NULL, NULL, NULL);
        log_write(LOG_WARN, "queued keys again that stayed behind in the outbox", "stream=%s keys=%zu", stream, count);
        return 0;
}

/*
 * An outbox row that is older than the oldest entry that waits, by an interval, was published before it and lost since, or never
 * published: queue its key again. The advisory lock is held until that is done, so that replicas take turns.
 */
static int backfill(struct keeper *keeper)
{
        const struct program *program = keeper->service->program;
        const char *stream = program->inputs(keeper->service->config)[0];
        struct stream_state state;
        AUTO(db_rows) struct db_rows *locked = NULL;
        AUTO(db_rows) struct db_rows *rows = NULL;
        char age[24];
        if (stream_state_read(keeper->work.redis, stream, keeper->service->shared->group, &state))
                return -1;
        if (still_queued(keeper, &state))
                return 0;
        int64_t interval = keeper->service->shared->backfill_interval_ms;
        snprintf(age, sizeof(age), "%" PRId64, interval + (state.waiting_ms > 0 ? state.waiting_ms : 0));
        const struct db_param name = db_text(program->name), limit = db_text(age);
        const struct db_call calls[] = {
                {.sql = &sql_00_backfill_lock, .params = &name, .param_count = 1, .rows = &locked},
                {.sql = program->outbox_stale, .params = &limit, .param_count = 1, .rows = &rows},
        };
        if (db_run(keeper->work.db, calls, ARRAY_LENGTH(calls), DB_BEGIN, QUERY_TIMEOUT_MS))
                return -1;
        int r = db_rows_count(locked) && db_rows_count(rows) ? publish_rows(keeper, stream, rows) : 0;
        int ended = db_run(keeper->work.db, NULL, 0, DB_ROLLBACK, QUERY_TIMEOUT_MS);
        return r ? r : ended ? -1 : 0;
}

static int ask_gauge(struct keeper *keeper)
{
        const struct program *program = keeper->service->program;
        AUTO(db_rows) struct db_rows *rows = NULL;
        const struct db_call call = {.sql = program->gauge_sql, .rows = &rows};
        if (db_run(keeper->work.db, &call, 1, DB_AUTOCOMMIT, QUERY_TIMEOUT_MS))
                return -1;
        metrics_set(keeper->service->metrics, program->gauge, (double)db_rows_number(rows, 0, 0), NULL, NULL, NULL);
        return 0;
}

/* Where INFO is forbidden the gauges are not there. */
static void ask_memory(struct keeper *keeper)
{
        struct metrics *metrics = keeper->service->metrics;
        AUTO(redis_reply) struct redis_reply *reply = NULL;
        if (redis_call(keeper->work.redis, &reply, "INFO", "memory", NULL))
                return;
        char used[64], max[64], policy[64];
        redis_info_value(reply, "used_memory", used);
        redis_info_value(reply, "maxmemory", max);
        redis_info_value(reply, "maxmemory_policy", policy);
        if (!*used || !*max || !*policy)
                return;
        metrics_set(metrics, &stage_redis_memory, strtod(used, NULL), NULL, NULL, NULL);
        metrics_set(metrics, &stage_redis_memory_max, strtod(max, NULL), NULL, NULL, NULL);
        metrics_set(metrics, &stage_redis_may_evict, strcmp(policy, "noeviction") != 0, NULL, NULL, NULL);
}

/* *last: when it was due the last time, 0: never. The interval may change from one question to the next. */
static bool due(int64_t *last, int64_t interval_ms)
{
        if (*last && clock_ms() < *last + interval_ms)
                return false;
        *last = clock_ms();
        return true;
}

static int ask_overview(struct keeper *keeper)
{
        struct service *service = keeper->service;
        int r = overview_ask_redis(service->overview, service, keeper->work.redis);
        if (!r)
                r = overview_ask_database(service->overview, service, keeper->work.db);
        if (!r)
                keeper->troubled = false; /* this has needed both servers */
        return r;
}

/* For every program's status page. Also while this one waits for its start, for Redis or for the breaker. */
static int note(struct keeper *keeper)
{
        struct service *service = keeper->service;
        enum breaker_state breaker = breaker_get(&service->breaker);
        bool ready = status_ready(service), redis, postgres;
        bool changed = breaker != keeper->noted_breaker || ready != keeper->noted_ready;
        int64_t version;
        status_servers(service, &redis, &postgres);
        if (!postgres || (!due(&keeper->note_last, NOTE_INTERVAL_MS) && !changed))
                return 0;
        keeper->noted_breaker = breaker;
        keeper->noted_ready = ready;
        if (!link_open_db(keeper, &keeper->work, 5000))
                return -1;
        if (!atomic_load(&service->ready) && schema_check(keeper->work.db, &version))
                return 0; /* the start says so */
        return overview_note(service, keeper->work.db, ready);
}

static int keep_once(struct keeper *keeper)
{
        const struct program *program = keeper->service->program;
        int r = note(keeper);
        if (r || !atomic_load(&keeper->service->ready))
                return r;
        if (!link_open_redis(keeper, &keeper->work, 5000))
                return -1;
        if (due(&keeper->trim_last, TRIM_INTERVAL_MS))
                r = trim(keeper);
        if (!r && due(&keeper->tidy_last, TIDY_INTERVAL_MS))
                r = tidy(keeper);
        if (!r && program->outbox_stale && due(&keeper->backfill_last, keeper->service->shared->backfill_interval_ms))
                r = link_open_db(keeper, &keeper->work, 5000) ? backfill(keeper) : -1;
        if (!r && due(&keeper->gauge_last, GAUGE_INTERVAL_MS)) {
                ask_memory(keeper);
                r = link_open_db(keeper, &keeper->work, 5000) ? ask_gauge(keeper) : -1;
        }
        const bool watched = overview_is_watched(keeper->service->overview);
        if (!r && due(&keeper->overview_last, watched ? WATCHED_INTERVAL_MS : OVERVIEW_INTERVAL_MS))
                r = link_open_db(keeper, &keeper->work, 5000) ? ask_overview(keeper) : -1;
        return r;
}

static const char *error_or_fine(const char *error)
{
        return *error ? error : "fine";
}

static void say_trouble(const struct link *link)
{
        log_write(LOG_WARN, "housekeeping failed; it is tried again", "redis=%s postgresql=%s",
                link->redis ? error_or_fine(redis_error(link->redis)) : "not reached",
                link->db ? error_or_fine(db_error(link->db)) : "not reached");
}

static void *keeper_run(void *argument)
{
        struct keeper *keeper = argument;
        do {
                if (!keep_once(keeper))
                        continue;
                if (!keeper->troubled)
                        say_trouble(&keeper->work);
                link_close(&keeper->work);
                keeper->troubled = true;
        } while (!service_wait(100));
        return NULL;
}

/* ---- lifetime ---- */

int keeper_start(struct keeper **out, struct service *service)
{
        struct keeper *keeper = memory_new(1, sizeof(*keeper));
        keeper->service = service;
        if (pthread_create(&keeper->monitor, NULL, monitor_run, keeper) ||
                pthread_create(&keeper->looker, NULL, looker_run, keeper) ||
                pthread_create(&keeper->keeper, NULL, keeper_run, keeper))
                return -1;
        *out = keeper;
        return 0;
}

void keeper_join(struct keeper *keeper)
{
        pthread_join(keeper->monitor, NULL);
        pthread_join(keeper->looker, NULL);
        pthread_join(keeper->keeper, NULL);
        link_close(&keeper->watch);
        link_close(&keeper->look);
        link_close(&keeper->work);
        free(keeper);
}
