#include "overview.h"

#include <cjson/cJSON.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "clock.h"
#include "common_sql.h"
#include "lua.h"
#include "stage.h"

#define SAMPLE_INTERVAL_MS 10000
#define SAMPLES            90 /* 15 minutes */
#define ASK_TIMEOUT_MS     5000

struct history {
        const char *stream;
        double rate[SAMPLES]; /* entries acked a second; -1: not known */
        double lag[SAMPLES];
};

struct overview {
        pthread_mutex_t lock;
        char *letters, *letters_version, *database;  /* JSON texts, NULL: not asked yet */
        struct history *streams[STATUS_STREAMS_MAX]; /* rings */
        size_t count, next;
        struct status latest, sampled;   /* looks at the streams: the last, the last that history took */
        char *known[STATUS_STREAMS_MAX]; /* streams of the pipeline; only ever grows */
        size_t known_count;
};

struct overview *overview_new(void)
{
        struct overview *overview = calloc(1, sizeof(*overview));
        if (!overview)
                abort();
        pthread_mutex_init(&overview->lock, NULL);
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
                overview->streams[i] = calloc(1, sizeof(struct history));
                if (!overview->streams[i])
                        abort();
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

int overview_note(struct service *service, struct db *db)
{
        const char *const *inputs = service->program->inputs(service->config);
        struct db_array streams;
        db_array_init(&streams, DB_TEXT);
        for (size_t i = 0; inputs[i]; i++)
                db_array_push_text(&streams, inputs[i]);
        const struct db_param params[] = {db_text(service->program->name), db_array_param(&streams),
                db_text(service->shared->consumer_name), db_text(PROJECT_VERSION)};
        const struct db_call call = {.sql = &sql_60_overview_note, .params = params, .param_count = ARRAY_LENGTH(params)};
        int r = db_run(db, &call, 1, DB_AUTOCOMMIT, ASK_TIMEOUT_MS);
        db_array_deinit(&streams);
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

static void add_servers(cJSON *root, struct service *service)
{
        bool redis, postgres;
        status_servers(service, &redis, &postgres);
        cJSON *servers = cJSON_AddObjectToObject(root, "servers");
        pthread_mutex_lock(&service->health.lock);
        add_server(servers, "redis", redis, service->health.redis_since_ms);
        add_server(servers, "postgresql", postgres, service->health.postgres_since_ms);
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

char *overview_json(struct overview *overview, struct service *service)
{
        cJSON *root = overview_object(overview, service, status_breaker_name(breaker_get(&service->breaker)));
        add_servers(root, service);
        cJSON *counts = cJSON_AddObjectToObject(root, "counts");
        cJSON_AddNumberToObject(counts, "processed", metrics_get(service->metrics, &stage_events_processed, NULL, NULL, NULL));
        cJSON_AddNumberToObject(counts, "failed", metrics_get(service->metrics, &stage_events_failed, NULL, NULL, NULL));
        cJSON_AddNumberToObject(counts, "retries", metrics_get(service->metrics, &stage_retries, NULL, NULL, NULL));
        cJSON_AddNumberToObject(counts, "backfilled", metrics_get(service->metrics, &stage_backfilled_keys, NULL, NULL, NULL));
        char *text = cJSON_PrintUnformatted(root);
        cJSON_Delete(root);
        return text;
}
