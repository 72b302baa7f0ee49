#include "triples.h"

#include <stdio.h>
#include "../common/progress.h"
#include "analytics_sql.h"

#define REBUILD_TIMEOUT_MS 3600000
#define REBUILD_CHUNK      1000 /* keys a transaction: locks are held for a moment only */

/* Triples by both their terms, and the outbox rows that name them. */
struct triples {
        struct db_array terms, counters, outbox_ids;
};

static void triples_init(struct triples *triples)
{
        db_array_init(&triples->terms, DB_TEXT);
        db_array_init(&triples->counters, DB_TEXT);
        db_array_init(&triples->outbox_ids, DB_BIGINT);
}

static void triples_deinit(struct triples *triples)
{
        db_array_deinit(&triples->terms);
        db_array_deinit(&triples->counters);
        db_array_deinit(&triples->outbox_ids);
}
#define AUTO_TRIPLES __attribute__((cleanup(triples_deinit)))

/* settled: after all who are writing triples. *strays: outbox rows that mean no triple. */
static int find_waiting(
        struct db *db, struct db_array *keys, bool settled, struct triples *triples, size_t *strays, int64_t deadline_ms)
{
        AUTO(db_rows) struct db_rows *rows = NULL;
        const struct db_param param = db_array_param(keys);
        const struct db_call calls[] = {
                {.sql = &sql_40_triple_settle},
                {.sql = &sql_40_outbox_waiting, .params = &param, .param_count = 1, .rows = &rows},
        };
        const size_t skipped = settled ? 0 : 1;
        int r = db_run(db, calls + skipped, ARRAY_LENGTH(calls) - skipped, DB_BEGIN | DB_BY_KEY | DB_COMMIT, deadline_ms);
        *strays = 0;
        for (size_t i = 0; !r && i < db_rows_count(rows); i++) {
                db_array_push_number(&triples->outbox_ids, db_rows_number(rows, i, 0));
                if (!db_rows_text(rows, i, 1)) {
                        ++*strays;
                        continue;
                }
                db_array_push_text(&triples->terms, db_rows_text(rows, i, 1));
                db_array_push_text(&triples->counters, db_rows_text(rows, i, 2));
        }
        return r;
}

static int recompute(struct db *db, struct triples *triples, int64_t deadline_ms)
{
        const struct db_param pair[] = {db_array_param(&triples->terms), db_array_param(&triples->counters)};
        const struct db_param ids = db_array_param(&triples->outbox_ids);
        const struct db_call calls[] = {
                {.sql = &sql_40_triple_lock, .params = pair, .param_count = 2},
                {.sql = &sql_40_outbox_take, .params = &ids, .param_count = 1},
                {.sql = &sql_40_triple_vault_recompute, .params = pair, .param_count = 2},
                {.sql = &sql_41_triple_term_recompute, .params = pair, .param_count = 2},
                {.sql = &sql_42_predicate_object_clear},
                {.sql = &sql_42_subject_predicate_clear},
        };
        return db_run(db, calls, ARRAY_LENGTH(calls), DB_BEGIN | DB_BY_KEY | DB_COMMIT, deadline_ms);
}

static int run(struct work *work, void *context, size_t from, size_t count)
{
        AUTO_ARRAY struct db_array keys = {0};
        AUTO_TRIPLES struct triples triples;
        size_t strays;
        (void)context;
        db_array_init(&keys, DB_TEXT);
        triples_init(&triples);
        for (size_t i = from; i < from + count; i++)
                db_array_push_text(&keys, work->keys[i].term_id);
        int r = find_waiting(work->db, &keys, false, &triples, &strays, work->deadline_ms);
        if (!r && strays) {
                triples_deinit(&triples);
                triples_init(&triples);
                r = find_waiting(work->db, &keys, true, &triples, &strays, work->deadline_ms);
        }
        if (!r && triples.outbox_ids.count)
                r = recompute(work->db, &triples, work->deadline_ms);
        if (!r)
                work->units += count;
        return r;
}

int triples_process(struct work *work)
{
        return work_run_keys(work, run);
}

/* ---- rebuild ---- */

static int rebuild_some(struct db *db, const struct db_rows *rows, size_t from, size_t count)
{
        AUTO_TRIPLES struct triples triples;
        triples_init(&triples);
        for (size_t i = from; i < from + count; i++) {
                db_array_push_text(&triples.terms, db_rows_text(rows, i, 0));
                db_array_push_text(&triples.counters, db_rows_text(rows, i, 1));
        }
        return recompute(db, &triples, REBUILD_TIMEOUT_MS);
}

int triples_rebuild(struct db *db)
{
        AUTO(db_rows) struct db_rows *rows = NULL;
        struct progress progress;
        const struct db_call list = {.sql = &sql_40_rebuild_list, .rows = &rows};
        const struct db_call pairs[][2] = {
                {{.sql = &sql_42_predicate_object_lock}, {.sql = &sql_42_predicate_object_rebuild}},
                {{.sql = &sql_42_subject_predicate_lock}, {.sql = &sql_42_subject_predicate_rebuild}},
        };
        int r = db_run(db, &list, 1, DB_BEGIN | DB_COMMIT, REBUILD_TIMEOUT_MS);
        size_t total = r ? 0 : db_rows_count(rows);
        progress_begin(&progress, "making triples anew", "triples", (int64_t)total);
        for (size_t from = 0; !r && from < total; from += REBUILD_CHUNK) {
                size_t count = total - from < REBUILD_CHUNK ? total - from : REBUILD_CHUNK;
                r = rebuild_some(db, rows, from, count);
                progress_add(&progress, (int64_t)count);
        }
        if (r)
                return r;
        progress_end(&progress);
        printf("%-24s %zu triples made anew\n", "triple_vault, triple_term", total);
        for (size_t i = 0; i < ARRAY_LENGTH(pairs); i++) {
                r = db_run(db, pairs[i], 2, DB_BEGIN | DB_COMMIT, REBUILD_TIMEOUT_MS);
                if (r)
                        return r;
        }
        printf("%-24s made anew\n", "predicate_object, subject_predicate");
        return 0;
}
