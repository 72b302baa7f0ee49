#include "common/view/watch.h"

#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/stop.h"
#include "common/stage/health.h"
#include "common/stage/link.h"
#include "common/stage/stage.h"

#define LOOK_INTERVAL_MS    1000
#define COUNT_INTERVAL_MS   5000 /* between looks that had to count a lag */
#define RATE_SPAN_MS        5000
#define ROUND_MS            100
#define GAUGE_INTERVAL_MS   15000
#define ASK_INTERVAL_MS     15000 /* it reads both outboxes */
#define WATCHED_INTERVAL_MS 3000  /* while somebody looks at it */
#define NOTE_INTERVAL_MS    10000
#define DELAYS_INTERVAL_MS  120000
#define QUERY_TIMEOUT_MS    5000

/* The thread of streams. */
struct stream_watch {
        struct service *service;
        struct model *model;
        struct link link;
        struct view_streams before, later; /* the look that rates are counted from, and the next one to be it */
        int64_t memory_ms, letters_ms;
        char foreign[VIEW_STREAMS_MAX][64]; /* by row: the group that the log has named */
        bool failed;                        /* told once, not every round */
};

/* The thread that asks PostgreSQL. */
struct database_watch {
        struct service *service;
        struct model *model;
        struct link link;
        uint64_t delays[2][METRIC_BUCKETS_MAX]; /* entry_to_commit_seconds as it was up to four, and up to two minutes ago */
        int64_t delays_ms, gauged_ms, noted_ms, asked_ms;
        enum breaker_state noted_breaker; /* as last noted */
        bool noted_ready, failed;
};

/* ---- streams ---- */

static void tell_foreign_group(const char *stream, const char *foreign, char told[64])
{
        if (*foreign && strcmp(told, foreign))
                log_write(LOG_WARN, "another consumer group reads this stream; trimming waits for it too", "stream=%s group=%s",
                        stream, foreign);
        snprintf(told, 64, "%s", foreign);
}

static void set_stream_gauges(struct stream_watch *watch, const struct view_streams *streams)
{
        struct metrics *metrics = watch->service->metrics;
        const char *group = watch->service->shared->group;
        bool trims = watch->service->shared->trims_inputs;
        for (size_t i = 0; i < streams->count; i++) {
                const char *stream = streams->rows[i].stream;
                const struct stream_state *state = &streams->rows[i].state;
                if (!streams->rows[i].own)
                        continue; /* the program that reads it sets them */
                metrics_set(metrics, &stage_stream_length, (double)state->length, stream, group, NULL);
                metrics_set(metrics, &stage_stream_lag, (double)state->lag, stream, group, NULL);
                metrics_set(metrics, &stage_stream_lag_known, state->lag_known, stream, group, NULL);
                metrics_set(metrics, &stage_stream_pending, (double)state->pending, stream, group, NULL);
                metrics_set(
                        metrics, &stage_stream_oldest_pending, (double)state->oldest_pending_ms / 1000.0, stream, group, NULL);
                metrics_set(metrics, &stage_trims, trims, stream, NULL, NULL);
                metrics_set(metrics, &stage_foreign_group, trims && *state->foreign, stream, group, NULL);
                if (trims)
                        tell_foreign_group(stream, state->foreign, watch->foreign[i]);
        }
        metrics_set(metrics, &stage_stream_length, (double)streams->dead_letters, watch->service->shared->dead_letter_stream,
                group, NULL);
}

/* What was seen is not known any more: not even that the lag was known. */
static void forget_lags(struct stream_watch *watch, const struct view_streams *streams)
{
        for (size_t i = 0; i < streams->count; i++)
                if (streams->rows[i].own)
                        metrics_set(watch->service->metrics, &stage_stream_lag_known, 0, streams->rows[i].stream,
                                watch->service->shared->group, NULL);
}

/* Where INFO is forbidden the gauges are not there. */
static void set_memory_gauges(struct stream_watch *watch)
{
        struct metrics *metrics = watch->service->metrics;
        AUTO(redis_reply) struct redis_reply *reply = NULL;
        if (redis_call(watch->link.redis, &reply, "INFO", "memory", NULL))
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

static int64_t ask_interval(const struct model *model)
{
        return model_is_watched(model) ? WATCHED_INTERVAL_MS : ASK_INTERVAL_MS;
}

/* All that is asked of Redis, on a thread of its own: where it hangs, what PostgreSQL says stays fresh. */
static int ask_redis(struct stream_watch *watch, struct view_streams *now)
{
        const char *others[VIEW_STREAMS_MAX + 1];
        model_get_streams(watch->model, others);
        if (!link_open_redis(&watch->link, watch->service) ||
                view_streams_read(watch->service, watch->link.redis, others, &watch->before, now)) {
                forget_lags(watch, &watch->later);
                return -1;
        }
        set_stream_gauges(watch, now);
        model_note_streams(watch->model, now);
        if (!watch->later.looked_ms || now->looked_ms - watch->later.looked_ms >= RATE_SPAN_MS) {
                watch->before = watch->later.looked_ms ? watch->later : *now;
                watch->later = *now;
        }
        if (clock_is_due(&watch->memory_ms, GAUGE_INTERVAL_MS))
                set_memory_gauges(watch);
        return clock_is_due(&watch->letters_ms, ask_interval(watch->model))
                       ? model_ask_dead_letters(watch->model, watch->service, watch->link.redis)
                       : 0;
}

static void tell_failure(const struct service *service, const char *server, const char *error, bool *told)
{
        if (!*told && atomic_load(&service->ready))
                log_write(LOG_WARN, "the status view cannot be kept up to date; it is tried again", "server=%s error=%s", server,
                        error);
        *told = true;
}

/* Returns the time until the next look. */
static int64_t look_at_streams(struct stream_watch *watch)
{
        struct view_streams now;
        if (ask_redis(watch, &now)) {
                tell_failure(watch->service, "redis", link_redis_error(&watch->link), &watch->failed);
                return LOOK_INTERVAL_MS;
        }
        watch->failed = false;
        for (size_t i = 0; i < now.count; i++)
                if (!now.rows[i].state.lag_known)
                        return COUNT_INTERVAL_MS;
        return LOOK_INTERVAL_MS;
}

void *watch_streams(void *context)
{
        const struct view *view = context;
        struct stream_watch watch = {.service = view->service, .model = view->model};
        while (!stop_wait(look_at_streams(&watch)))
                ;
        link_close(&watch.link);
        return NULL;
}

/* ---- the replica ---- */

/* Since the start. */
static void add_counts(cJSON *object, const struct service *service)
{
        cJSON_AddNumberToObject(object, "processed", metrics_get(service->metrics, &stage_events_processed, NULL, NULL, NULL));
        cJSON_AddNumberToObject(object, "failed", metrics_get(service->metrics, &stage_events_failed, NULL, NULL, NULL));
        cJSON_AddNumberToObject(object, "retries", metrics_get(service->metrics, &stage_retries, NULL, NULL, NULL));
        cJSON_AddNumberToObject(object, "backfilled", metrics_get(service->metrics, &stage_backfilled_keys, NULL, NULL, NULL));
}

/* The row of pipeline_replica. malloc'd. */
static char *print_replica(struct database_watch *watch, bool ready)
{
        struct service *service = watch->service;
        double half, most;
        cJSON *replica = cJSON_CreateObject();
        cJSON_AddStringToObject(replica, "program", service->program->name);
        cJSON_AddStringToObject(replica, "name", service->shared->consumer_name);
        cJSON_AddStringToObject(replica, "version", PROJECT_VERSION);
        cJSON_AddStringToObject(replica, "breaker", health_breaker_name(watch->noted_breaker));
        cJSON_AddBoolToObject(replica, "ready", ready);
        add_counts(replica, service);
        if (clock_is_due(&watch->delays_ms, DELAYS_INTERVAL_MS)) {
                memcpy(watch->delays[0], watch->delays[1], sizeof(watch->delays[0]));
                metrics_counts(service->metrics, &stage_entry_delay, watch->delays[1]);
        }
        if (metrics_quantiles(service->metrics, &stage_entry_delay, watch->delays[0], &half, &most)) {
                cJSON_AddNumberToObject(replica, "delay_p50", half);
                cJSON_AddNumberToObject(replica, "delay_p99", most);
        }
        char *text = cJSON_PrintUnformatted(replica);
        cJSON_Delete(replica);
        return text;
}

static int write_replica(struct database_watch *watch, bool ready)
{
        const char *const *inputs = watch->service->shared->inputs;
        AUTO_ARRAY struct db_array streams;
        AUTO(text) char *row = print_replica(watch, ready);
        db_array_init(&streams, DB_TEXT);
        for (size_t i = 0; inputs[i]; i++)
                db_array_push_text(&streams, inputs[i]);
        const struct db_param params[] = {db_text(row), db_array_param(&streams)};
        return db_query(watch->link.db, watch->service->program->database->replica_note, params, ARRAY_LENGTH(params), NULL,
                QUERY_TIMEOUT_MS);
}

/* Also while this program waits for its start, for Redis or for the breaker. */
static int note_replica(struct database_watch *watch)
{
        struct service *service = watch->service;
        enum breaker_state breaker = breaker_get(&service->breaker);
        bool ready = health_is_ready(service), redis, postgres;
        bool changed = breaker != watch->noted_breaker || ready != watch->noted_ready;
        int64_t version;
        health_get_servers(service, &redis, &postgres);
        if (!postgres || (!clock_is_due(&watch->noted_ms, NOTE_INTERVAL_MS) && !changed))
                return 0;
        watch->noted_breaker = breaker;
        watch->noted_ready = ready;
        if (!link_open_db(&watch->link, service))
                return -1;
        if (!atomic_load(&service->ready) && service->program->database->check(watch->link.db, &version))
                return 0; /* the start says so */
        return write_replica(watch, ready);
}

/* ---- gauges and the rest of the model ---- */

static int set_program_gauges(struct database_watch *watch)
{
        const struct program *program = watch->service->program;
        AUTO(db_rows) struct db_rows *rows = NULL;
        if (db_query(watch->link.db, program->gauge_sql, NULL, 0, &rows, QUERY_TIMEOUT_MS))
                return -1;
        for (int i = 0; program->gauges[i]; i++)
                metrics_set(watch->service->metrics, program->gauges[i], (double)db_rows_number(rows, 0, i), NULL, NULL, NULL);
        return 0;
}

static int ask_once(struct database_watch *watch)
{
        struct service *service = watch->service;
        int r = note_replica(watch);
        if (r || !atomic_load(&service->ready))
                return r;
        if (!link_open_db(&watch->link, service))
                return -1;
        if (clock_is_due(&watch->gauged_ms, GAUGE_INTERVAL_MS))
                r = set_program_gauges(watch);
        if (!r && clock_is_due(&watch->asked_ms, ask_interval(watch->model))) {
                r = model_ask_database(watch->model, service, watch->link.db);
                watch->failed = watch->failed && r;
        }
        return r;
}

void *watch_database(void *context)
{
        const struct view *view = context;
        struct database_watch watch = {.service = view->service, .model = view->model};
        do {
                if (!ask_once(&watch))
                        continue;
                tell_failure(watch.service, "postgresql", link_db_error(&watch.link), &watch.failed);
                link_close(&watch.link);
        } while (!stop_wait(ROUND_MS));
        link_close(&watch.link);
        return NULL;
}
