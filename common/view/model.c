#include "common/view/model.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "common/base/clean.h"
#include "common/base/clock.h"
#include "lua.h"
#include "common/stage/health.h"
#include "common/stage/stage.h"
#include "common/view/pipeline.h"

#define SAMPLE_INTERVAL_MS 10000
#define WATCHED_MS         30000
#define SAMPLES            90 /* 15 minutes */
#define PRINTED_MS         500
#define ASK_TIMEOUT_MS     5000
#define DATABASE_FRESH_MS  30000
#define OUTBOXES_MAX       4
#define STREAMS_FRESH_MS   15000
#define FAILING_MS         5000  /* what a retry or two mend is no news */
#define RETRIED_MS         30000 /* longer than any pause before a batch is tried again */
#define AWAY_FRESH_MS      2000  /* of a server that does not answer now */

struct history {
        const char *stream;
        double rate[SAMPLES]; /* entries acked a second; -1: not known */
        double top;           /* the most that waited since little did */
        int64_t pending_ms;   /* since when something is pending, monotonic; 0: nothing is */
};

/* Rows that wait in a stage's outbox, as PostgreSQL said last: an entry that names a bucket does not tell how much waits. */
struct outbox {
        char program[32];
        double rows, fewer_per_second; /* since the answer before; 0: not known */
        double top;                    /* the most since there were few */
        int64_t asked_ms;              /* monotonic */
};

struct model {
        pthread_mutex_t lock;
        atomic_llong watched_ms;                              /* when somebody last asked for it, monotonic */
        char *dead_letters, *dead_letters_version, *database; /* JSON texts, NULL: not asked yet */
        int64_t database_ms;                                  /* when it was asked, monotonic */
        struct history *streams[VIEW_STREAMS_MAX];            /* rings */
        size_t count, next;
        struct view_streams latest, sampled; /* looks at the streams: the last, the last that history took */
        char *known[VIEW_STREAMS_MAX];       /* streams of the pipeline; only ever grows */
        size_t known_count;
        struct outbox outboxes[OUTBOXES_MAX];
        char *printed; /* for all who look at about the same time; the HTTP thread's alone */
        int64_t printed_ms;
};

struct model *model_new(void)
{
        struct model *model = memory_new(1, sizeof(*model));
        pthread_mutex_init(&model->lock, NULL);
        atomic_init(&model->watched_ms, -WATCHED_MS);
        return model;
}

struct model *model_free(struct model *model)
{
        if (!model)
                return NULL;
        for (size_t i = 0; i < VIEW_STREAMS_MAX; i++)
                free(model->streams[i]), free(model->known[i]);
        free(model->dead_letters);
        free(model->dead_letters_version);
        free(model->database);
        free(model->printed);
        pthread_mutex_destroy(&model->lock);
        free(model);
        return NULL;
}

/* ---- the last 15 minutes ---- */

static struct history *history_of(struct model *model, const char *stream)
{
        size_t i = 0;
        while (i < VIEW_STREAMS_MAX && model->streams[i] && strcmp(model->streams[i]->stream, stream))
                i++;
        if (i == VIEW_STREAMS_MAX)
                return NULL;
        if (!model->streams[i]) {
                model->streams[i] = memory_new(1, sizeof(struct history));
                model->streams[i]->stream = stream;
                for (size_t j = 0; j < SAMPLES; j++)
                        model->streams[i]->rate[j] = -1;
        }
        return model->streams[i];
}

/* A backlog ends when a hundredth of it is left. */
static void note_top(double *top, double waiting)
{
        if (waiting > *top || waiting < *top / 100)
                *top = waiting;
}

/* A stream that is seen for the first time has no rate yet. */
void model_note_streams(struct model *model, const struct view_streams *now)
{
        const struct view_streams *before = &model->sampled; /* only this thread looks at it */
        bool first = !before->looked_ms, sample = !first && now->looked_ms - before->looked_ms >= SAMPLE_INTERVAL_MS;
        pthread_mutex_lock(&model->lock);
        model->latest = *now;
        for (size_t i = 0; i < now->count; i++) {
                const struct stream_state *state = &now->rows[i].state;
                struct history *history = history_of(model, now->rows[i].stream);
                if (!history)
                        continue;
                note_top(&history->top, (double)(state->lag + state->pending));
                history->pending_ms = !state->pending ? 0 : history->pending_ms ? history->pending_ms : now->looked_ms;
                if (sample)
                        history->rate[model->next] = view_streams_rate(before, now, &now->rows[i]);
        }
        if (sample) {
                model->next = (model->next + 1) % SAMPLES;
                model->count += model->count < SAMPLES;
        }
        pthread_mutex_unlock(&model->lock);
        if (first || sample)
                model->sampled = *now;
}

/* ---- what is asked now and then ---- */

static void replace(char **text, const char *new)
{
        char *copy = memory_copy(new ? new : "");
        free(*text);
        *text = copy;
}

void model_get_streams(struct model *model, const char *out[VIEW_STREAMS_MAX + 1])
{
        pthread_mutex_lock(&model->lock);
        memcpy(out, model->known, model->known_count * sizeof(*out));
        out[model->known_count] = NULL;
        pthread_mutex_unlock(&model->lock);
}

static void learn_stream(struct model *model, const char *stream)
{
        for (size_t i = 0; i < model->known_count; i++)
                if (!strcmp(model->known[i], stream))
                        return;
        if (model->known_count == VIEW_STREAMS_MAX)
                return;
        model->known[model->known_count++] = memory_copy(stream);
}

int model_ask_dead_letters(struct model *model, const struct service *service, struct redis *redis)
{
        AUTO(redis_reply) struct redis_reply *reply = NULL;
        const char *version = model->dead_letters_version ? model->dead_letters_version : "";
        if (redis_call(redis, &reply, "EVAL", text_newest_dead_letters, "1", service->shared->dead_letter_stream, version, NULL))
                return -1;
        const char *groups = redis_reply_text(redis_reply_item(reply, 1), NULL);
        pthread_mutex_lock(&model->lock);
        replace(&model->dead_letters_version, redis_reply_text(redis_reply_item(reply, 0), NULL));
        if (groups && *groups)
                replace(&model->dead_letters, groups);
        pthread_mutex_unlock(&model->lock);
        return 0;
}

static struct outbox *outbox_of(struct model *model, const char *program)
{
        for (size_t i = 0; i < OUTBOXES_MAX; i++) {
                struct outbox *outbox = &model->outboxes[i];
                if (!*outbox->program)
                        snprintf(outbox->program, sizeof(outbox->program), "%s", program);
                if (!strcmp(outbox->program, program))
                        return outbox;
        }
        return NULL;
}

static void note_outboxes(struct model *model, const char *database)
{
        cJSON *root = cJSON_Parse(database ? database : ""), *rows;
        cJSON_ArrayForEach(rows, cJSON_GetObjectItemCaseSensitive(root, "outbox_rows"))
        {
                struct outbox *outbox = outbox_of(model, rows->string);
                if (!outbox)
                        continue;
                double seconds = (double)(clock_ms() - outbox->asked_ms) / 1000.0;
                outbox->fewer_per_second = outbox->asked_ms && seconds > 0 ? (outbox->rows - rows->valuedouble) / seconds : 0;
                outbox->rows = rows->valuedouble;
                note_top(&outbox->top, outbox->rows);
                outbox->asked_ms = clock_ms();
        }
        cJSON_Delete(root);
}

int model_ask_database(struct model *model, const struct service *service, struct db *db)
{
        AUTO(db_rows) struct db_rows *rows = NULL;
        const struct db_param program = db_text(service->program->name);
        int r = db_query(db, service->program->database->overview, &program, 1, &rows, ASK_TIMEOUT_MS);
        if (r)
                return r;
        if (db_rows_text(rows, 0, 1)) {
                metrics_set(service->metrics, &stage_verify_differences, (double)db_rows_number(rows, 0, 1), NULL, NULL, NULL);
                metrics_set(service->metrics, &stage_verify_age, (double)db_rows_number(rows, 0, 2), NULL, NULL, NULL);
        }
        if (db_rows_text(rows, 0, 3)) {
                metrics_set(service->metrics, &stage_last_block, (double)db_rows_number(rows, 0, 3), NULL, NULL, NULL);
                metrics_set(service->metrics, &stage_last_block_time, (double)db_rows_number(rows, 0, 4), NULL, NULL, NULL);
        }
        pthread_mutex_lock(&model->lock);
        for (size_t i = 0; i < db_rows_count(rows); i++)
                if (db_rows_text(rows, i, 5))
                        learn_stream(model, db_rows_text(rows, i, 5));
        replace(&model->database, db_rows_text(rows, 0, 0));
        note_outboxes(model, model->database);
        model->database_ms = clock_ms();
        pthread_mutex_unlock(&model->lock);
        return 0;
}

/* ---- JSON ---- */

static double seconds_left(const struct view_stream *row)
{
        double left = (double)(row->state.lag + row->state.pending);
        return left <= 0 ? 0 : row->rate > 0 ? left / row->rate : -1;
}

static void add_number(cJSON *object, const char *name, double value)
{
        if (value < 0)
                cJSON_AddNullToObject(object, name);
        else
                cJSON_AddNumberToObject(object, name, value);
}

static cJSON *streams_object(const struct service *service, const struct view_streams *status, const char *breaker)
{
        char now[32];
        clock_format(clock_wall_ms(), now);
        cJSON *root = cJSON_CreateObject();
        cJSON_AddStringToObject(root, "program", service->program->name);
        cJSON_AddStringToObject(root, "version", PROJECT_VERSION);
        cJSON_AddStringToObject(root, "time", now);
        cJSON_AddStringToObject(root, "group", service->shared->group);
        cJSON_AddStringToObject(root, "circuit_breaker_state", breaker);
        cJSON_AddStringToObject(root, "runbooks", PROJECT_RUNBOOKS);
        cJSON *streams = cJSON_AddArrayToObject(root, "streams");
        for (size_t i = 0; i < status->count; i++) {
                const struct view_stream *row = &status->rows[i];
                cJSON *item = cJSON_CreateObject();
                cJSON_AddItemToArray(streams, item);
                cJSON_AddStringToObject(item, "stream", row->stream);
                if (row->own)
                        cJSON_AddStringToObject(item, "stage", service->program->name);
                cJSON_AddBoolToObject(item, "exists", row->state.exists);
                cJSON_AddNumberToObject(item, "length", (double)row->state.length);
                cJSON_AddNumberToObject(item, "lag", (double)row->state.lag);
                cJSON_AddBoolToObject(item, "lag_known", row->state.lag_known);
                cJSON_AddNumberToObject(item, "pending", (double)row->state.pending);
                cJSON_AddNumberToObject(item, "oldest_pending_ms", (double)row->state.oldest_pending_ms);
                add_number(item, "entries_per_second", row->rate);
                add_number(item, "seconds_left", seconds_left(row));
                cJSON_AddNumberToObject(item, "lost", /* seen by this process */
                        service->metrics ? metrics_get(service->metrics, &stage_lost_entries, row->stream, NULL, NULL) : 0);
        }
        return root;
}

static void add_rates(cJSON *object, const struct model *model, const double *ring)
{
        cJSON *list = cJSON_AddArrayToObject(object, "rate_history");
        for (size_t i = 0; ring && i < model->count; i++) {
                double value = ring[(model->next + SAMPLES - model->count + i) % SAMPLES];
                cJSON_AddItemToArray(
                        list, value < 0 ? cJSON_CreateNull() : cJSON_CreateNumber(value < 10 ? value : (double)(int64_t)value));
        }
}

static void add_server(cJSON *servers, const char *name, bool up, const struct service_server *as_is)
{
        char since[32];
        cJSON *server = cJSON_AddObjectToObject(servers, name);
        clock_format(as_is->since_ms, since);
        cJSON_AddBoolToObject(server, "up", up);
        cJSON_AddStringToObject(server, "since", since);
        if (!up && *as_is->why)
                cJSON_AddStringToObject(server, "error", as_is->why);
}

/* Why its batches have failed for some seconds, and still do: what nobody tries any more says nothing. */
static const char *failing(const struct service *service)
{
        const int64_t now = clock_ms(), probe_ms = service->shared->breaker_timeout_ms;
        const bool lasts = now - service->health.failure.since_ms >= FAILING_MS;
        return lasts && now - service->health.failure.last_ms < probe_ms + RETRIED_MS ? service->health.failure.why : "";
}

/* Its own servers, what its start waits for and why its batches fail ("": nothing). */
static void add_servers(cJSON *root, struct service *service, bool redis, bool postgres)
{
        cJSON *servers = cJSON_AddObjectToObject(root, "servers");
        pthread_mutex_lock(&service->health.lock);
        add_server(servers, "redis", redis, &service->health.redis);
        add_server(servers, "postgresql", postgres, &service->health.postgres);
        cJSON_AddStringToObject(root, "waiting_for", service->health.waiting);
        cJSON_AddStringToObject(root, "failing", failing(service));
        cJSON_AddStringToObject(root, "refused", service->health.refused);
        pthread_mutex_unlock(&service->health.lock);
}

/* From writing to commit of the oldest entry that is not through, in ms: what waits, or is pending. */
static double oldest_ms(const struct stream_state *state)
{
        int64_t pending = state->pending ? state->oldest_pending_ms : 0;
        return (double)(state->waiting_ms > pending ? state->waiting_ms : pending);
}

/* How long something has been pending for certain: an id may be older than its entry. */
static double stuck_ms(const struct stream_state *state, const struct history *history)
{
        if (!state->pending || !history || !history->pending_ms)
                return 0;
        int64_t seen = clock_ms() - history->pending_ms;
        return (double)(seen < state->oldest_pending_ms ? seen : state->oldest_pending_ms);
}

/* What PostgreSQL and Redis wrote as JSON; null where it was not asked yet. */
static void add_parsed(cJSON *root, const char *name, const char *text)
{
        cJSON *value = text ? cJSON_Parse(text) : NULL;
        cJSON_AddItemToObject(root, name, value ? value : cJSON_CreateNull());
}

static void add_outboxes(cJSON *root, const struct model *model)
{
        cJSON *outboxes = cJSON_AddObjectToObject(root, "outboxes");
        for (size_t i = 0; i < OUTBOXES_MAX && *model->outboxes[i].program; i++) {
                const struct outbox *outbox = &model->outboxes[i];
                cJSON *item = cJSON_AddObjectToObject(outboxes, outbox->program);
                cJSON_AddNumberToObject(item, "rows", outbox->rows);
                add_number(item, "fewer_per_second", outbox->fewer_per_second > 0 ? outbox->fewer_per_second : -1);
                cJSON_AddNumberToObject(item, "most", outbox->top);
        }
}

static bool is_old(const cJSON *root, const char *age, bool up, double fresh_ms)
{
        return cJSON_GetNumberValue(cJSON_GetObjectItemCaseSensitive(root, age)) > (up ? fresh_ms : AWAY_FRESH_MS);
}

/* Names of streams, groups and consumers, and texts of servers. */
static void clean_strings(cJSON *value)
{
        if (cJSON_IsString(value))
                clean_text(value->valuestring);
        for (cJSON *child = value->child; child; child = child->next)
                clean_strings(child);
}

struct cJSON *model_object(
        struct model *model, const struct service *service, const char *breaker, bool redis_up, bool postgres_up)
{
        pthread_mutex_lock(&model->lock);
        const struct view_streams *status = &model->latest;
        cJSON *root = streams_object(service, status, breaker);
        cJSON *streams = cJSON_GetObjectItemCaseSensitive(root, "streams"), *item;
        size_t i = 0;
        cJSON_AddNumberToObject(root, "seen_ms_ago", status->looked_ms ? (double)(clock_ms() - status->looked_ms) : -1);
        cJSON_AddNumberToObject(root, "database_seen_ms_ago", model->database ? (double)(clock_ms() - model->database_ms) : -1);
        cJSON_AddNumberToObject(root, "history_interval_s", SAMPLE_INTERVAL_MS / 1000.0);
        cJSON_ArrayForEach(item, streams)
        {
                const struct history *ring = history_of(model, status->rows[i].stream);
                cJSON_AddNumberToObject(item, "oldest_ms", oldest_ms(&status->rows[i].state));
                cJSON_AddNumberToObject(item, "most", ring ? ring->top : 0);
                cJSON_AddNumberToObject(item, "stuck_ms", stuck_ms(&status->rows[i].state, ring));
                add_rates(item, model, ring ? ring->rate : NULL);
                i++;
        }
        cJSON *letters = cJSON_AddObjectToObject(root, "dead_letters");
        cJSON_AddNumberToObject(letters, "count", (double)status->dead_letters);
        add_parsed(letters, "groups", model->dead_letters);
        add_parsed(root, "database", model->database);
        add_outboxes(root, model);
        pthread_mutex_unlock(&model->lock);
        cJSON_AddBoolToObject(root, "database_old", is_old(root, "database_seen_ms_ago", postgres_up, DATABASE_FRESH_MS));
        if (cJSON_IsTrue(
                    cJSON_GetObjectItemCaseSensitive(root, "database_old"))) /* how replicas were says nothing of how they are */
                cJSON_DeleteItemFromObjectCaseSensitive(cJSON_GetObjectItemCaseSensitive(root, "database"), "programs");
        cJSON_AddBoolToObject(root, "streams_old", is_old(root, "seen_ms_ago", redis_up, STREAMS_FRESH_MS));
        clean_strings(root);
        pipeline_add_stages(root);
        return root;
}

char *model_json(struct model *model, struct service *service)
{
        atomic_store(&model->watched_ms, clock_ms());
        if (!clock_is_due(&model->printed_ms, PRINTED_MS))
                return memory_copy(model->printed);
        bool redis, postgres;
        health_get_servers(service, &redis, &postgres);
        cJSON *root = model_object(model, service, health_breaker_name(breaker_get(&service->breaker)), redis, postgres);
        add_servers(root, service, redis, postgres);
        pipeline_judge(root);
        free(model->printed);
        model->printed = cJSON_PrintUnformatted(root);
        cJSON_Delete(root);
        return memory_copy(model->printed);
}

bool model_is_watched(const struct model *model)
{
        return clock_ms() - atomic_load(&model->watched_ms) < WATCHED_MS;
}
