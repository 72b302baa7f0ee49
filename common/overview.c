#include "overview.h"

#include <cjson/cJSON.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "clock.h"
#include "common_sql.h"
#include "lua.h"
#include "stage.h"

#define SAMPLE_INTERVAL_MS 10000
#define WATCHED_MS         30000
#define SAMPLES            90 /* 15 minutes */
#define ASK_TIMEOUT_MS     5000
#define DATABASE_FRESH_MS  30000

struct history {
        const char *stream;
        double rate[SAMPLES]; /* entries acked a second; -1: not known */
        double lag[SAMPLES];
};

struct overview {
        pthread_mutex_t lock;
        atomic_llong watched_ms;                     /* when somebody last asked for it, monotonic */
        char *letters, *letters_version, *database;  /* JSON texts, NULL: not asked yet */
        int64_t database_ms;                         /* when it was asked, monotonic */
        struct history *streams[STATUS_STREAMS_MAX]; /* rings */
        size_t count, next;
        struct status latest, sampled;   /* looks at the streams: the last, the last that history took */
        char *known[STATUS_STREAMS_MAX]; /* streams of the pipeline; only ever grows */
        size_t known_count;
        uint64_t delays[32]; /* entry_to_commit_seconds as it was at the last note */
};

struct overview *overview_new(void)
{
        struct overview *overview = memory_new(1, sizeof(*overview));
        pthread_mutex_init(&overview->lock, NULL);
        atomic_init(&overview->watched_ms, -WATCHED_MS);
        return overview;
}

struct overview *overview_free(struct overview *overview)
{
        if (!overview)
                return NULL;
        for (size_t i = 0; i < STATUS_STREAMS_MAX; i++)
                free(overview->streams[i]), free(overview->known[i]);
        free(overview->letters);
        free(overview->letters_version);
        free(overview->database);
        pthread_mutex_destroy(&overview->lock);
        free(overview);
        return NULL;
}

/* ---- the last 15 minutes ---- */

static struct history *history_of(struct overview *overview, const char *stream)
{
        size_t i = 0;
        while (i < STATUS_STREAMS_MAX && overview->streams[i] && strcmp(overview->streams[i]->stream, stream))
                i++;
        if (i == STATUS_STREAMS_MAX)
                return NULL;
        if (!overview->streams[i]) {
                overview->streams[i] = memory_new(1, sizeof(struct history));
                overview->streams[i]->stream = stream;
                for (size_t j = 0; j < SAMPLES; j++)
                        overview->streams[i]->rate[j] = -1;
        }
        return overview->streams[i];
}

/* A stream that is seen for the first time has no rate yet. */
void overview_sample(struct overview *overview, const struct status *now)
{
        const struct status *before = &overview->sampled; /* only this thread looks at it */
        pthread_mutex_lock(&overview->lock);
        overview->latest = *now;
        if (before->looked_ms && now->looked_ms - before->looked_ms < SAMPLE_INTERVAL_MS) {
                pthread_mutex_unlock(&overview->lock);
                return;
        }
        for (size_t i = 0; before->looked_ms && i < now->count; i++) {
                struct history *history = history_of(overview, now->rows[i].stream);
                if (!history)
                        continue;
                history->rate[overview->next] = status_rate(before, now, &now->rows[i]);
                history->lag[overview->next] = (double)now->rows[i].state.lag;
        }
        if (before->looked_ms) {
                overview->next = (overview->next + 1) % SAMPLES;
                overview->count += overview->count < SAMPLES;
        }
        pthread_mutex_unlock(&overview->lock);
        overview->sampled = *now;
}

/* ---- what is asked now and then ---- */

static void replace(char **text, const char *new)
{
        char *copy = strdup(new ? new : "");
        if (!copy)
                abort();
        free(*text);
        *text = copy;
}

void overview_streams(struct overview *overview, const char *out[STATUS_STREAMS_MAX + 1])
{
        pthread_mutex_lock(&overview->lock);
        memcpy(out, overview->known, overview->known_count * sizeof(*out));
        out[overview->known_count] = NULL;
        pthread_mutex_unlock(&overview->lock);
}

static void learn_stream(struct overview *overview, const char *stream)
{
        for (size_t i = 0; i < overview->known_count; i++)
                if (!strcmp(overview->known[i], stream))
                        return;
        if (overview->known_count == STATUS_STREAMS_MAX)
                return;
        overview->known[overview->known_count] = strdup(stream);
        if (!overview->known[overview->known_count++])
                abort();
}

int overview_ask_redis(struct overview *overview, const struct service *service, struct redis *redis)
{
        AUTO(redis_reply) struct redis_reply *reply = NULL;
        const char *version = overview->letters_version ? overview->letters_version : "";
        if (redis_call(redis, &reply, "EVAL", text_overview, "1", service->shared->letter_stream, version, NULL))
                return -1;
        const char *letters = redis_reply_text(redis_reply_item(reply, 1), NULL);
        pthread_mutex_lock(&overview->lock);
        replace(&overview->letters_version, redis_reply_text(redis_reply_item(reply, 0), NULL));
        if (letters && *letters)
                replace(&overview->letters, letters);
        pthread_mutex_unlock(&overview->lock);
        return 0;
}

static void add_counts(cJSON *object, struct service *service)
{
        cJSON_AddNumberToObject(object, "processed", metrics_get(service->metrics, &stage_events_processed, NULL, NULL, NULL));
        cJSON_AddNumberToObject(object, "failed", metrics_get(service->metrics, &stage_events_failed, NULL, NULL, NULL));
        cJSON_AddNumberToObject(object, "retries", metrics_get(service->metrics, &stage_retries, NULL, NULL, NULL));
        cJSON_AddNumberToObject(object, "backfilled", metrics_get(service->metrics, &stage_backfilled_keys, NULL, NULL, NULL));
}

int overview_note(struct service *service, struct db *db, bool ready)
{
        const char *const *inputs = service->program->inputs(service->config);
        struct db_array streams;
        db_array_init(&streams, DB_TEXT);
        for (size_t i = 0; inputs[i]; i++)
                db_array_push_text(&streams, inputs[i]);
        cJSON *replica = cJSON_CreateObject();
        cJSON_AddStringToObject(replica, "program", service->program->name);
        cJSON_AddStringToObject(replica, "name", service->shared->consumer_name);
        cJSON_AddStringToObject(replica, "version", PROJECT_VERSION);
        cJSON_AddStringToObject(replica, "breaker", status_breaker_name(breaker_get(&service->breaker)));
        cJSON_AddBoolToObject(replica, "ready", ready);
        add_counts(replica, service);
        double half, most;
        pthread_mutex_lock(&service->overview->lock); /* the start notes as well as the keeper */
        bool delayed = metrics_quantiles(service->metrics, &stage_entry_delay, service->overview->delays, &half, &most);
        pthread_mutex_unlock(&service->overview->lock);
        if (delayed) {
                cJSON_AddNumberToObject(replica, "delay_p50", half);
                cJSON_AddNumberToObject(replica, "delay_p99", most);
        }
        char *row = cJSON_PrintUnformatted(replica);
        const struct db_param params[] = {db_text(row), db_array_param(&streams)};
        const struct db_call call = {.sql = &sql_60_overview_note, .params = params, .param_count = ARRAY_LENGTH(params)};
        int r = db_run(db, &call, 1, DB_AUTOCOMMIT, ASK_TIMEOUT_MS);
        db_array_deinit(&streams);
        free(row);
        cJSON_Delete(replica);
        return r;
}

int overview_ask_database(struct overview *overview, struct service *service, struct db *db)
{
        AUTO(db_rows) struct db_rows *rows = NULL;
        const struct db_param program = db_text(service->program->name);
        const struct db_call call = {.sql = &sql_60_overview, .params = &program, .param_count = 1, .rows = &rows};
        int r = db_run(db, &call, 1, DB_AUTOCOMMIT, ASK_TIMEOUT_MS);
        if (r)
                return r;
        if (db_rows_text(rows, 0, 1)) {
                metrics_set(service->metrics, &stage_verify_differences, (double)db_rows_number(rows, 0, 1), NULL, NULL, NULL);
                metrics_set(service->metrics, &stage_verify_age, (double)db_rows_number(rows, 0, 2), NULL, NULL, NULL);
        }
        pthread_mutex_lock(&overview->lock);
        for (size_t i = 0; i < db_rows_count(rows); i++)
                if (db_rows_text(rows, i, 3))
                        learn_stream(overview, db_rows_text(rows, i, 3));
        replace(&overview->database, db_rows_text(rows, 0, 0));
        overview->database_ms = clock_ms();
        pthread_mutex_unlock(&overview->lock);
        return 0;
}

/* ---- JSON ---- */

static void add_ring(cJSON *object, const char *name, const struct overview *overview, const double *ring)
{
        cJSON *list = cJSON_AddArrayToObject(object, name);
        for (size_t i = 0; ring && i < overview->count; i++) {
                double value = ring[(overview->next + SAMPLES - overview->count + i) % SAMPLES];
                cJSON_AddItemToArray(
                        list, value < 0 ? cJSON_CreateNull() : cJSON_CreateNumber(value < 10 ? value : (double)(int64_t)value));
        }
}

static void add_server(cJSON *servers, const char *name, bool up, int64_t since_ms)
{
        char since[32];
        cJSON *server = cJSON_AddObjectToObject(servers, name);
        clock_format(since_ms, since);
        cJSON_AddBoolToObject(server, "up", up);
        cJSON_AddStringToObject(server, "since", since);
}

/* Its own servers, and what its start waits for ("": nothing). */
static void add_servers(cJSON *root, struct service *service)
{
        bool redis, postgres;
        status_servers(service, &redis, &postgres);
        cJSON *servers = cJSON_AddObjectToObject(root, "servers");
        pthread_mutex_lock(&service->health.lock);
        add_server(servers, "redis", redis, service->health.redis.since_ms);
        add_server(servers, "postgresql", postgres, service->health.postgres.since_ms);
        cJSON_AddStringToObject(root, "waiting_for", service->health.waiting);
        pthread_mutex_unlock(&service->health.lock);
}

/* From writing to commit of the oldest entry that is not through, in ms: what waits, or is pending. */
static double oldest_ms(const struct stream_state *state)
{
        int64_t pending = state->pending ? state->oldest_pending_ms : 0;
        return (double)(state->waiting_ms > pending ? state->waiting_ms : pending);
}

/* What PostgreSQL and Redis wrote as JSON; null where it was not asked yet. */
static void add_parsed(cJSON *root, const char *name, const char *text)
{
        cJSON *value = text ? cJSON_Parse(text) : NULL;
        cJSON_AddItemToObject(root, name, value ? value : cJSON_CreateNull());
}

struct cJSON *overview_object(struct overview *overview, const struct service *service, const char *breaker)
{
        pthread_mutex_lock(&overview->lock);
        const struct status *status = &overview->latest;
        cJSON *root = status_object(service, status, breaker);
        cJSON *streams = cJSON_GetObjectItemCaseSensitive(root, "streams"), *item;
        size_t i = 0;
        cJSON_AddNumberToObject(root, "seen_ms_ago", status->looked_ms ? (double)(clock_ms() - status->looked_ms) : -1);
        cJSON_AddNumberToObject(
                root, "database_seen_ms_ago", overview->database ? (double)(clock_ms() - overview->database_ms) : -1);
        cJSON_AddNumberToObject(root, "history_interval_s", SAMPLE_INTERVAL_MS / 1000.0);
        cJSON_ArrayForEach(item, streams)
        {
                const struct history *ring = history_of(overview, status->rows[i].stream);
                cJSON_AddNumberToObject(item, "oldest_ms", oldest_ms(&status->rows[i].state));
                add_ring(item, "rate_history", overview, ring ? ring->rate : NULL);
                add_ring(item, "lag_history", overview, ring ? ring->lag : NULL);
                i++;
        }
        add_parsed(root, "letters", overview->letters);
        add_parsed(root, "database", overview->database);
        pthread_mutex_unlock(&overview->lock);
        return root;
}

static void PRINTF_LIKE(2, 3) tell(cJSON *problems, const char *format, ...)
{
        char text[700];
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(text, sizeof(text), format, arguments);
        va_end(arguments);
        cJSON_AddItemToArray(problems, cJSON_CreateString(text));
}

static const char *text_of(const cJSON *object, const char *name)
{
        const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, name));
        return text ? text : "";
}

static double number_of(const cJSON *object, const char *name)
{
        return cJSON_GetNumberValue(cJSON_GetObjectItemCaseSensitive(object, name));
}

static bool is_open(const char *breaker)
{
        return !strcmp(breaker, "Open") || !strcmp(breaker, "HalfOpen");
}

void overview_add_problems(cJSON *root)
{
        const cJSON *item, *database = cJSON_GetObjectItemCaseSensitive(root, "database");
        const char *own = text_of(root, "program"), *breaker = text_of(root, "circuit_breaker_state");
        const char *waiting = text_of(root, "waiting_for");
        cJSON *problems = cJSON_AddArrayToObject(root, "problems");
        cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(root, "servers"))
        {
                if (!cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(item, "up")))
                        tell(problems, "%s away", !strcmp(item->string, "redis") ? "Redis" : "PostgreSQL");
        }
        if (*waiting)
                tell(problems, "%s waits for %s", own, waiting);
        if (!cJSON_IsObject(database) || number_of(root, "database_seen_ms_ago") > DATABASE_FRESH_MS)
                tell(problems, "how the replicas are is not known");
        cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(database, "programs"))
        {
                double replicas = number_of(item, "replicas"), ready = number_of(item, "ready");
                const char *worst = !strcmp(item->string, own) && is_open(breaker) ? breaker : text_of(item, "breaker");
                if (replicas == 0)
                        tell(problems, "%s: no replica runs", item->string);
                else if (is_open(worst))
                        tell(problems, "%s: circuit breaker %s", item->string, worst);
                else if (ready < replicas)
                        tell(problems, "%s: %.0f of %.0f replicas not ready", item->string, replicas - ready, replicas);
        }
}

char *overview_json(struct overview *overview, struct service *service)
{
        atomic_store(&overview->watched_ms, clock_ms());
        cJSON *root = overview_object(overview, service, status_breaker_name(breaker_get(&service->breaker)));
        add_servers(root, service);
        add_counts(cJSON_AddObjectToObject(root, "counts"), service);
        overview_add_problems(root);
        char *text = cJSON_PrintUnformatted(root);
        cJSON_Delete(root);
        return text;
}

bool overview_is_watched(const struct overview *overview)
{
        return clock_ms() - atomic_load(&overview->watched_ms) < WATCHED_MS;
}
