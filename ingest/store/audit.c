#include "ingest/store/audit.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "common/cli/tell.h"
#include "common/cli/connect.h"
#include "common/base/progress.h"
#include "ingest/store/network.h"
#include "ingest/decode/decode.h"
#include "ingest/ingest.h"
#include "ingest_sql.h"
#include "ingest/store/sighting.h"
#include "ingest/store/writer.h"

#define TIMEOUT_MS 3600000
#define READ_COUNT 100

static const struct sql *const copies[EVENT_KINDS] = {
        [EVENT_ATOM_CREATED] = &sql_10_audit_atom_created_copy,
        [EVENT_TRIPLE_CREATED] = &sql_10_audit_triple_created_copy,
        [EVENT_DEPOSITED] = &sql_10_audit_deposited_copy,
        [EVENT_REDEEMED] = &sql_10_audit_redeemed_copy,
        [EVENT_SHARE_PRICE_CHANGED] = &sql_10_audit_share_price_changed_copy,
        [EVENT_GENERIC] = &sql_10_audit_generic_copy,
};

/* What is staged at a time: the events of a read, by kind. */
struct stage {
        struct sightings kinds[EVENT_KINDS];
        enum event_kind kind; /* that is being copied */
        struct stream_position settled;
        struct arena scratch; /* the decoder's */
};

/* ---- staging ---- */

/* Acked before the tables are looked at. */
static bool is_settled(const struct stage *stage, const struct stream_entry *entry)
{
        return stream_position_compare((struct stream_position){entry->ms, entry->seq}, stage->settled) < 0;
}

static int copy_events(struct work *work, void *context, size_t from, size_t count)
{
        const struct stage *stage = context;
        AUTO_ARRAY struct db_array rows;
        db_copy_init(&rows);
        for (size_t i = from; i < from + count; i++) {
                const struct sighting *sighting = &stage->kinds[stage->kind].list[i];
                writer_push_row(&rows, sighting->event, sighting->entry, 2);
                db_array_push(&rows, is_settled(stage, sighting->entry) ? "\1" : "", 1);
                if (sighting->place < 0)
                        db_array_push(&rows, NULL, 0);
                else
                        db_array_push_number(&rows, sighting->place);
        }
        return db_copy(work->db, NULL, 0, copies[stage->kind], &rows, TIMEOUT_MS);
}

static int add_notice(struct work *work, const struct stream_entry *entry, const struct decode_notice *notice, bool settled)
{
        struct db_param params[SIGHTING_NOTICE + 1] = {[SIGHTING_NOTICE] = db_text(settled ? "true" : "false")};
        sighting_notice(params, entry, notice);
        int r = db_query(work->db, &sql_10_audit_add_notice, params, ARRAY_LENGTH(params), NULL, TIMEOUT_MS);
        return r == DB_BAD_DATA ? 0 : r; /* it is a dead letter */
}

static int take_entry(struct stage *stage, struct work *work, struct stream_entry *entry, const char *network)
{
        size_t size;
        struct decode_message message;
        const char *payload = writer_can_hold(entry) ? stream_entry_payload(entry, &size) : NULL;
        if (!payload)
                return 0;
        (void)!decode_message(payload, size, network, work->arena, &stage->scratch, &message);
        for (size_t i = 0; i < message.event_count; i++)
                sightings_push(&stage->kinds[message.events[i].type->kind],
                        (struct sighting){.event = &message.events[i], .entry = entry, .place = -1});
        return message.notice ? add_notice(work, entry, message.notice, is_settled(stage, entry)) : 0;
}

static int stage_batch(struct work *work, const struct stream_batch *batch, const char *network, struct stream_position settled)
{
        struct stage stage = {.settled = settled};
        /* no blame: what PostgreSQL refuses cannot be in the tables either, it is a dead letter */
        const struct work_bisect bisect = {.run = copy_events, .context = &stage};
        int r = 0;
        for (size_t i = 0; !r && i < batch->count; i++)
                r = take_entry(&stage, work, &batch->entries[i], network);
        for (stage.kind = 0; stage.kind < EVENT_KINDS; stage.kind++) {
                sightings_sort(&stage.kinds[stage.kind]);
                if (!r)
                        r = work_run(work, &bisect, 0, stage.kinds[stage.kind].count);
                free(stage.kinds[stage.kind].list);
        }
        arena_deinit(&stage.scratch);
        return r;
}

int audit_note_entries(struct db *db, const struct stream_batch *batch)
{
        AUTO_COLUMNS struct db_columns ids;
        db_columns_init(&ids, "nn");
        for (size_t i = 0; i < batch->count; i++) {
                if (!writer_can_hold(&batch->entries[i]))
                        continue;
                db_array_push_number(&ids.arrays[0], (int64_t)batch->entries[i].ms);
                db_array_push_number(&ids.arrays[1], (int64_t)batch->entries[i].seq);
        }
        const struct db_param *columns = db_columns_params(&ids);
        const struct db_param params[] = {db_text(batch->entries[0].stream), columns[0], columns[1]};
        return db_query(db, &sql_10_audit_add_entries, params, ARRAY_LENGTH(params), NULL, TIMEOUT_MS);
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

int audit_create(struct db *db, int64_t copy_window_ms)
{
        const struct db_param param = db_number(copy_window_ms);
        return db_query(db, &sql_10_audit_begin, &param, 1, NULL, TIMEOUT_MS);
}

int audit_begin(struct service *service, struct db *db)
{
        const struct ingest_config *config = service->config;
        const char *const *streams = service->shared->inputs;
        struct arena arena = ARENA_NULL;
        struct work work = {.db = db, .arena = &arena, .deadline_ms = TIMEOUT_MS, .max_retries = 1};
        AUTO(redis) struct redis *redis = connect_redis(service);
        struct progress progress;
        int64_t total = 0;
        char *network = NULL;
        if (!redis)
                return -1;
        int r = audit_create(db, config->copy_window_ms);
        if (!r)
                r = network_read(db, TIMEOUT_MS, &network);
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
        if (!r)
                r = db_query(db, &sql_10_audit_analyze, NULL, 0, NULL, TIMEOUT_MS);
        if (r && *redis_error(redis))
                fprintf(stderr, "ingest: reading the streams: Redis: %s\n", redis_error(redis));
        free(network);
        arena_deinit(&arena);
        return r;
}

/* ---- comparing ---- */

/* table: the statement's parameter, NULL: it has none. */
static int report(struct db *db, const struct sql *sql, const char *table, const char *what, int64_t *differences,
        program_print *print, const void *options)
{
        const struct db_param param = db_text(table);
        AUTO(db_rows) struct db_rows *rows = NULL;
        int r = db_query(db, sql, &param, table ? 1 : 0, &rows, TIMEOUT_MS);
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
        int r = db_query(db, &sql_12_conflicting_blocks, NULL, 0, &rows, TIMEOUT_MS);
        for (size_t i = 0; !r && i < db_rows_count(rows); i++)
                fprintf(stderr, "warning: block %s is live with two hashes (a reorg without notice?): %s\n",
                        db_rows_text(rows, i, 0), db_rows_text(rows, i, 1));
        return r;
}

int audit_verify(struct db *db, int64_t *differences, program_print *print, const void *options)
{
        int r = 0;
        for (size_t i = 0; !r && i < EVENT_KINDS; i++)
                r = report(db, &sql_10_audit_verify, event_types[i].table, event_types[i].table, differences, print, options);
        if (!r)
                r = report(db, &sql_12_sighting_verify, NULL, "notices and sightings", differences, print, options);
        if (!r)
                r = report(db, &sql_12_reorg_verify, NULL, "orphaned_events", differences, print, options);
        return r ? r : warn_of_conflicts(db);
}

/* ---- rebuilding ---- */

/* A statement that returns one number; under the exclusive lock, in a transaction of its own, or without it. */
static int run_number(struct db *db, const struct sql *sql, bool alone, const struct db_param *params, int count, int64_t *number)
{
        AUTO(db_rows) struct db_rows *rows = NULL;
        const struct db_call calls[] = {
                {.sql = &sql_10_event_lock_alone}, {.sql = sql, .params = params, .param_count = count, .rows = &rows}};
        int r = db_run(db, calls + !alone, alone ? 2 : 1, DB_BEGIN | DB_COMMIT, TIMEOUT_MS);
        if (!r)
                *number = db_rows_number(rows, 0, 0);
        return r;
}

int audit_mend_parts(struct db *db, const char *name, const struct sql *find, const struct sql *mend, bool alone, int64_t *mended)
{
        int64_t parts = 0, rows = 0;
        struct db_param params[2] = {db_text(name)};
        int named = name ? 1 : 0, r = run_number(db, find, false, params, named, &parts);
        for (int64_t part = 0; !r && part < parts; part++) {
                params[named] = db_number(part);
                r = run_number(db, mend, alone, params, named + 1, &rows);
                *mended += rows;
        }
        return r;
}

int audit_rebuild(struct service *service, struct db *db)
{
        int64_t mended = 0, moved = 0;
        int r = audit_begin(service, db);
        if (!r)
                r = audit_mend_parts(db, NULL, &sql_12_sighting_find, &sql_12_sighting_mend, true, &mended);
        if (!r)
                tell_rows(service, "notices and sightings", mended, "rows mended from the streams");
        for (size_t i = 0; !r && i < EVENT_KINDS; i++) {
                mended = 0;
                r = audit_mend_parts(db, event_types[i].table, &sql_10_audit_find, &sql_10_audit_mend, true, &mended);
                if (!r)
                        tell_rows(service, event_types[i].table, mended, "rows mended from the streams");
        }
        if (!r)
                r = audit_mend_parts(db, NULL, &sql_12_reorg_find, &sql_12_reorg_mend, true, &moved);
        if (!r)
                tell_rows(service, "orphaned_events", moved, "rows moved");
        return r;
}
