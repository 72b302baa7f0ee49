#include "audit.h"

#include <cjson/cJSON.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../common/command.h"
#include "decode.h"
#include "ingest_sql.h"
#include "number.h"
#include "writer.h"

#define TIMEOUT_MS 3600000
#define READ_COUNT 100
#define COLUMNS    14

struct sighting {
        const struct event *event;
        const struct stream_entry *entry;
        bool settled;
};

/* What is staged at a time: the events of a read. */
struct stage {
        struct sighting *sightings;
        size_t count, capacity;
};

/* ---- staging ---- */

static char *own_columns(const struct event *event, struct arena *arena)
{
        cJSON *object = cJSON_CreateObject();
        for (size_t i = 0; i < event->value_count; i++) {
                const char *column = event->type->columns[i];
                const struct event_value *value = &event->values[i];
                if (!value->data) {
                        cJSON_AddNullToObject(object, column);
                } else if (!strcmp(column, "raw_data")) {
                        char *hex = arena_alloc(arena, 2 * value->size + 3);
                        number_write_hex((const unsigned char *)value->data, value->size, hex);
                        hex[0] = '\\'; /* \x…, as PostgreSQL writes bytes */
                        cJSON_AddStringToObject(object, column, hex);
                } else if (!strcmp(column, "event_data")) {
                        cJSON_AddRawToObject(object, column, value->data);
                } else {
                        cJSON_AddStringToObject(object, column, value->data);
                }
        }
        char *printed = cJSON_PrintUnformatted(object), *text = arena_copy(arena, printed, strlen(printed));
        free(printed);
        cJSON_Delete(object);
        return text;
}

static void push_sighting(struct db_array *columns, const struct sighting *sighting, struct arena *arena)
{
        const struct event *event = sighting->event;
        db_array_push_text(&columns[0], event->type->table);
        db_array_push_text(&columns[1], event->transaction_hash);
        db_array_push_number(&columns[2], event->log_index);
        db_array_push_text(&columns[3], event->address);
        db_array_push_text(&columns[4], event->block_hash);
        db_array_push_number(&columns[5], event->block_number);
        db_array_push_text(&columns[6], event->network);
        db_array_push_number(&columns[7], event->transaction_index);
        if (event->block_timestamp < 0)
                db_array_push_null(&columns[8]);
        else
                db_array_push_number(&columns[8], event->block_timestamp);
        db_array_push_text(&columns[9], sighting->entry->stream);
        db_array_push_number(&columns[10], (int64_t)sighting->entry->ms);
        db_array_push_number(&columns[11], (int64_t)sighting->entry->seq);
        db_array_push_number(&columns[12], sighting->settled);
        db_array_push_text(&columns[13], own_columns(event, arena));
}

static int add_events(struct work *work, void *context, size_t from, size_t count)
{
        static const bool numbers[COLUMNS] = {
                [2] = true, [5] = true, [7] = true, [8] = true, [10] = true, [11] = true, [12] = true};
        struct stage *stage = context;
        struct db_array columns[COLUMNS];
        struct db_param params[COLUMNS];
        for (size_t i = 0; i < COLUMNS; i++)
                db_array_init(&columns[i], numbers[i] ? DB_BIGINT : DB_TEXT);
        for (size_t i = from; i < from + count; i++)
                push_sighting(columns, &stage->sightings[i], work->arena);
        for (size_t i = 0; i < COLUMNS; i++)
                params[i] = db_array_param(&columns[i]);
        const struct db_call call = {.sql = &sql_10_audit_add_events, .params = params, .param_count = COLUMNS};
        int r = db_run(work->db, &call, 1, DB_AUTOCOMMIT, TIMEOUT_MS);
        for (size_t i = 0; i < COLUMNS; i++)
                db_array_deinit(&columns[i]);
        return r;
}

/* What PostgreSQL refuses cannot be in the tables either: it is a dead letter. */
static void leave_out(struct work *work, void *context, size_t unit, const char *error, int64_t attempts)
{
        (void)work;
        (void)context;
        (void)unit;
        (void)error;
        (void)attempts;
}

static void take_entry(
        struct stage *stage, struct work *work, const struct stream_entry *entry, const char *network, const char *settled)
{
        size_t size;
        struct decode_message message;
        const char *payload = writer_payload(entry, &size);
        if (!payload)
                return;
        (void)!decode_message(payload, size, network, work->arena, &message);
        for (size_t i = 0; i < message.event_count; i++) {
                if (stage->count == stage->capacity) {
                        stage->capacity = stage->capacity ? stage->capacity * 2 : 1024;
                        stage->sightings = realloc(stage->sightings, stage->capacity * sizeof(*stage->sightings));
                        if (!stage->sightings)
                                abort();
                }
                stage->sightings[stage->count++] = (struct sighting){
                        .event = &message.events[i],
                        .entry = entry,
                        .settled = stream_id_compare(entry->id, settled) < 0,
                };
        }
}

static int stage_batch(struct work *work, const struct stream_batch *batch, const char *network, const char *settled)
{
        struct stage stage = {0};
        const struct work_bisect bisect = {.run = add_events, .blame = leave_out, .context = &stage};
        for (size_t i = 0; i < batch->count; i++)
                take_entry(&stage, work, &batch->entries[i], network, settled);
        int r = work_run(work, &bisect, 0, stage.count);
        free(stage.sightings);
        return r;
}

static int note_range(struct work *work, const char *stream, const struct stream_entry *first, const struct stream_entry *last)
{
        char numbers[4][24];
        snprintf(numbers[0], 24, "%" PRIu64, first->ms);
        snprintf(numbers[1], 24, "%" PRIu64, first->seq);
        snprintf(numbers[2], 24, "%" PRIu64, last->ms);
        snprintf(numbers[3], 24, "%" PRIu64, last->seq);
        const struct db_param params[] = {
                db_text(stream), db_text(numbers[0]), db_text(numbers[1]), db_text(numbers[2]), db_text(numbers[3])};
        const struct db_call call = {.sql = &sql_10_audit_add_range, .params = params, .param_count = ARRAY_LENGTH(params)};
        return db_run(work->db, &call, 1, DB_AUTOCOMMIT, TIMEOUT_MS);
}

static int stage_stream(
        struct work *work, struct redis *redis, const char *stream, const struct stream_bounds *bounds, const char *network)
{
        struct stream_batch batch = {0};
        char from[80] = "-";
        size_t read = 0;
        int r = 0;
        do {
                stream_batch_reset(&batch);
                arena_reset(work->arena);
                r = stream_range(redis, stream, from, bounds->delivered, READ_COUNT, &batch, &read);
                if (!r && read) {
                        snprintf(from, sizeof(from), "(%s", batch.entries[read - 1].id);
                        r = stage_batch(work, &batch, network, bounds->settled);
                }
                if (!r && read)
                        r = note_range(work, stream, &batch.entries[0], &batch.entries[read - 1]);
        } while (!r && read);
        stream_batch_deinit(&batch);
        return r;
}

int audit_begin(struct service *service, struct db *db)
{
        const struct db_call create[] = {{.sql = &sql_10_audit_create_event}, {.sql = &sql_10_audit_create_range}};
        const char *const *streams = service->program->inputs(service->config);
        struct arena arena = ARENA_NULL;
        struct work work = {.db = db, .arena = &arena, .deadline_ms = TIMEOUT_MS, .max_retries = 1};
        AUTO(redis) struct redis *redis = command_open_redis(service);
        char *network = NULL;
        if (!redis)
                return -1;
        int r = db_run(db, create, ARRAY_LENGTH(create), DB_AUTOCOMMIT, TIMEOUT_MS);
        if (!r)
                r = writer_get_network(db, TIMEOUT_MS, &network);
        for (size_t i = 0; !r && network && streams[i]; i++) {
                struct stream_bounds bounds;
                r = stream_bounds_read(redis, streams[i], service->shared->group, &bounds);
                if (!r && strcmp(bounds.delivered, "0-0"))
                        r = stage_stream(&work, redis, streams[i], &bounds, network);
        }
        free(network);
        arena_deinit(&arena);
        return r;
}

/* ---- comparing ---- */

int audit_verify(struct db *db, int64_t *differences, service_print *print, const void *options)
{
        for (size_t i = 0; i < EVENT_KINDS; i++) {
                AUTO(db_rows) struct db_rows *rows = NULL;
                const struct db_param table = db_text(event_types[i].table);
                const struct db_call call = {.sql = &sql_10_audit_verify, .params = &table, .param_count = 1, .rows = &rows};
                int r = db_run(db, &call, 1, DB_AUTOCOMMIT, TIMEOUT_MS);
                if (r)
                        return r;
                for (size_t k = 0; k < db_rows_count(rows); k++)
                        print(options, db_rows_text(rows, k, 0), db_rows_text(rows, k, 1), db_rows_text(rows, k, 2));
                fprintf(stderr, "%-28s %zu differences\n", event_types[i].table, db_rows_count(rows));
                *differences += (int64_t)db_rows_count(rows);
        }
        return 0;
}

static int mend(struct db *db, const char *table, const char *verdict, int64_t *mended)
{
        AUTO(db_rows) struct db_rows *rows = NULL;
        const struct db_param params[] = {db_text(table), db_text(verdict)};
        const struct db_call call = {.sql = &sql_10_audit_mend, .params = params, .param_count = 2, .rows = &rows};
        int r = db_run(db, &call, 1, DB_BEGIN | DB_COMMIT, TIMEOUT_MS);
        *mended += r ? 0 : db_rows_number(rows, 0, 0);
        return r;
}

int audit_rebuild(struct service *service, struct db *db)
{
        static const char *const verdicts[] = {"wrong", "extra", "missing"};
        int r = audit_begin(service, db);
        for (size_t i = 0; !r && i < EVENT_KINDS; i++) {
                int64_t mended = 0;
                for (size_t v = 0; !r && v < ARRAY_LENGTH(verdicts); v++)
                        r = mend(db, event_types[i].table, verdicts[v], &mended);
                if (!r)
                        printf("%-28s %" PRId64 " rows mended from the streams\n", event_types[i].table, mended);
        }
        return r;
}
