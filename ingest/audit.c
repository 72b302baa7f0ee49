#include "audit.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "common/cli/connect.h"
#include "common/base/progress.h"
#include "decode.h"
#include "ingest_sql.h"
#include "sighting.h"
#include "writer.h"

#define TIMEOUT_MS 3600000
#define READ_COUNT 100

struct sighting {
        const struct event *event;
        const struct stream_entry *entry;
        bool settled;
};

/* What is staged at a time: the events of a read. */
struct stage {
        struct sighting *sightings;
        size_t count, capacity;
        struct arena scratch; /* the decoder's */
};

/* ---- staging ---- */

static int add_events(struct work *work, void *context, size_t from, size_t count)
{
        const struct stage *stage = context;
        AUTO_COLUMNS struct db_columns sightings;
        db_columns_init(&sightings, SIGHTING_ELEMENTS);
        for (size_t i = from; i < from + count; i++)
                sighting_push(&sightings, stage->sightings[i].event, stage->sightings[i].entry, stage->sightings[i].event->index,
                        stage->sightings[i].settled, work->arena);
        const struct db_call call = {
                .sql = &sql_10_audit_add_events, .params = db_columns_params(&sightings), .param_count = SIGHTING_PLACED};
        return db_run(work->db, &call, 1, DB_AUTOCOMMIT, TIMEOUT_MS);
}

static void take_entry(struct stage *stage, struct work *work, const struct stream_entry *entry, const char *network,
        struct stream_position settled)
{
        size_t size;
        struct decode_message message;
        const char *payload = writer_can_hold(entry) ? stream_entry_payload(entry, &size) : NULL;
        if (!payload)
                return;
        (void)!decode_message(payload, size, network, work->arena, &stage->scratch, &message);
        for (size_t i = 0; i < message.event_count; i++) {
                stage->sightings = memory_grow(stage->sightings, &stage->capacity, stage->count + 1, sizeof(*stage->sightings));
                stage->sightings[stage->count++] = (struct sighting){
                        .event = &message.events[i],
                        .entry = entry,
                        .settled = stream_position_compare((struct stream_position){entry->ms, entry->seq}, settled) < 0,
                };
        }
}

static int stage_batch(struct work *work, const struct stream_batch *batch, const char *network, struct stream_position settled)
{
        struct stage stage = {0};
        /* no blame: what PostgreSQL refuses cannot be in the tables either, it is a dead letter */
        const struct work_bisect bisect = {.run = add_events, .context = &stage};
        for (size_t i = 0; i < batch->count; i++)
                take_entry(&stage, work, &batch->entries[i], network, settled);
        int r = work_run(work, &bisect, 0, stage.count);
        free(stage.sightings);
        arena_deinit(&stage.scratch);
        return r;
}

int audit_note_entries(struct db *db, const struct stream_batch *batch)
{
        AUTO_ARRAY struct db_array ms = {0};
        AUTO_ARRAY struct db_array seq = {0};
        db_array_init(&ms, DB_BIGINT);
        db_array_init(&seq, DB_BIGINT);
        for (size_t i = 0; i < batch->count; i++) {
                if (!writer_can_hold(&batch->entries[i]))
                        continue;
                db_array_push_number(&ms, (int64_t)batch->entries[i].ms);
                db_array_push_number(&seq, (int64_t)batch->entries[i].seq);
        }
        const struct db_param params[] = {db_text(batch->entries[0].stream), db_array_param(&ms), db_array_param(&seq)};
        const struct db_call call = {.sql = &sql_10_audit_add_entries, .params = params, .param_count = ARRAY_LENGTH(params)};
        return db_run(db, &call, 1, DB_AUTOCOMMIT, TIMEOUT_MS);
}

static int stage_stream(struct work *work, struct redis *redis, const char *stream, const struct stream_bounds *bounds,
        const char *network, struct progress *progress)
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
                        r = audit_note_entries(work->db, &batch);
                progress_add(progress, (int64_t)read);
        } while (!r && read);
        stream_batch_deinit(&batch);
        return r;
}

int audit_begin(struct service *service, struct db *db)
{
        const struct db_call create[] = {{.sql = &sql_10_audit_create_event}, {.sql = &sql_10_audit_create_entry}};
        const char *const *streams = service->program->inputs(service->config);
        struct arena arena = ARENA_NULL;
        struct work work = {.db = db, .arena = &arena, .deadline_ms = TIMEOUT_MS, .max_retries = 1};
        AUTO(redis) struct redis *redis = connect_redis(service);
        struct progress progress;
        int64_t total = 0;
        char *network = NULL;
        if (!redis)
                return -1;
        int r = db_run(db, create, ARRAY_LENGTH(create), DB_AUTOCOMMIT, TIMEOUT_MS);
        if (!r)
                r = writer_get_network(db, TIMEOUT_MS, &network);
        if (!r)
                r = stream_count(redis, streams, &total);
        progress_begin(&progress, "reading the streams", "entries", total);
        for (size_t i = 0; !r && network && streams[i]; i++) {
                struct stream_bounds bounds;
                r = stream_bounds_read(redis, streams[i], service->shared->group, &bounds);
                if (!r && strcmp(bounds.delivered, "0-0"))
                        r = stage_stream(&work, redis, streams[i], &bounds, network, &progress);
        }
        if (!r)
                progress_end(&progress);
        if (r && *redis_error(redis))
                fprintf(stderr, "ingest: reading the streams: Redis: %s\n", redis_error(redis));
        free(network);
        arena_deinit(&arena);
        return r;
}

/* ---- comparing ---- */

static int report(struct db *db, const struct db_call *call, const char *what, int64_t *differences, program_print *print,
        const void *options)
{
        struct db_call query = *call;
        AUTO(db_rows) struct db_rows *rows = NULL;
        query.rows = &rows;
        int r = db_run(db, &query, 1, DB_AUTOCOMMIT, TIMEOUT_MS);
        if (r)
                return r;
        for (size_t k = 0; k < db_rows_count(rows); k++)
                print(options, db_rows_text(rows, k, 0), db_rows_text(rows, k, 1), db_rows_text(rows, k, 2));
        fprintf(stderr, "%-28s %zu differences\n", what, db_rows_count(rows));
        *differences += (int64_t)db_rows_count(rows);
        return 0;
}

/* Two live blocks of one number are no difference: the streams say so. */
static int warn_of_conflicts(struct db *db)
{
        AUTO(db_rows) struct db_rows *rows = NULL;
        const struct db_call call = {.sql = &sql_12_conflicting_blocks, .rows = &rows};
        int r = db_run(db, &call, 1, DB_AUTOCOMMIT, TIMEOUT_MS);
        for (size_t i = 0; !r && i < db_rows_count(rows); i++)
                fprintf(stderr, "warning: block %s is live with two hashes (a reorg without notice?): %s\n",
                        db_rows_text(rows, i, 0), db_rows_text(rows, i, 1));
        return r;
}

int audit_verify(struct db *db, int64_t *differences, program_print *print, const void *options)
{
        for (size_t i = 0; i < EVENT_KINDS; i++) {
                const struct db_param table = db_text(event_types[i].table);
                const struct db_call call = {.sql = &sql_10_audit_verify, .params = &table, .param_count = 1};
                int r = report(db, &call, event_types[i].table, differences, print, options);
                if (r)
                        return r;
        }
        const struct db_call reorgs = {.sql = &sql_12_reorg_verify};
        int r = report(db, &reorgs, "orphaned_events", differences, print, options);
        return r ? r : warn_of_conflicts(db);
}

static int settle(struct db *db)
{
        AUTO(db_rows) struct db_rows *rows = NULL;
        const struct db_call calls[] = {
                {.sql = &sql_10_event_lock_alone},
                {.sql = &sql_12_reorg_rebuild, .rows = &rows},
        };
        int r = db_run(db, calls, ARRAY_LENGTH(calls), DB_BEGIN | DB_COMMIT, TIMEOUT_MS);
        if (!r)
                printf("%-28s %" PRId64 " rows moved\n", "orphaned_events", db_rows_count(rows) ? db_rows_number(rows, 0, 0) : 0);
        return r;
}

static int mend(struct db *db, const char *table, const char *verdict, int64_t *mended)
{
        AUTO(db_rows) struct db_rows *rows = NULL;
        const struct db_param params[] = {db_text(table), db_text(verdict)};
        const struct db_call calls[] = {
                {.sql = &sql_10_event_lock_alone},
                {.sql = &sql_10_audit_mend, .params = params, .param_count = 2, .rows = &rows},
        };
        int r = db_run(db, calls, ARRAY_LENGTH(calls), DB_BEGIN | DB_COMMIT, TIMEOUT_MS);
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
        return r ? r : settle(db);
}
