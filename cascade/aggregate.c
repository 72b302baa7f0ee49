#include "aggregate.h"

#include <stdio.h>
#include <string.h>
#include "../common/progress.h"
#include "cascade_sql.h"

#define REBUILD_TIMEOUT_MS 3600000
#define REBUILD_CHUNK      1000 /* keys a transaction: locks are held for a moment only */

static int waiting_terms(struct db *db, struct db_array *keys, struct db_array *terms, int64_t deadline_ms)
{
        AUTO(db_rows) struct db_rows *rows = NULL;
        const struct db_param param = db_array_param(keys);
        const struct db_call call = {.sql = &sql_30_outbox_waiting, .params = &param, .param_count = 1, .rows = &rows};
        int r = db_run(db, &call, 1, DB_BEGIN | DB_BY_KEY | DB_COMMIT, deadline_ms);
        for (size_t i = 0; !r && i < db_rows_count(rows); i++)
                db_array_push_text(terms, db_rows_text(rows, i, 0));
        return r;
}

static int aggregate(struct db *db, struct db_array *terms, int64_t deadline_ms)
{
        const struct db_param param = db_array_param(terms);
        const struct db_call calls[] = {
                {.sql = &sql_30_term_lock, .params = &param, .param_count = 1},
                {.sql = &sql_30_vault_fold, .params = &param, .param_count = 1},
                {.sql = &sql_30_vault_bury, .params = &param, .param_count = 1},
                {.sql = &sql_31_term_recompute, .params = &param, .param_count = 1},
        };
        return db_run(db, calls, ARRAY_LENGTH(calls), DB_BEGIN | DB_BY_KEY | DB_COMMIT, deadline_ms);
}

static int run(struct work *work, void *context, size_t from, size_t count)
{
        AUTO_ARRAY struct db_array keys = {0};
        AUTO_ARRAY struct db_array terms = {0};
        (void)context;
        db_array_init(&keys, DB_TEXT);
        db_array_init(&terms, DB_TEXT);
        for (size_t i = from; i < from + count; i++)
                db_array_push_text(&keys, work->keys[i].term_id);
        int r = waiting_terms(work->db, &keys, &terms, work->deadline_ms);
        if (!r && terms.count)
                r = aggregate(work->db, &terms, work->deadline_ms);
        if (!r)
                work->units += count;
        return r;
}

int aggregate_process(struct work *work)
{
        return work_run_keys(work, run);
}

/* ---- rebuild ---- */

static int rebuild_some(struct db *db, const struct db_rows *rows, size_t from, size_t count)
{
        AUTO_ARRAY struct db_array terms = {0};
        db_array_init(&terms, DB_TEXT);
        for (size_t i = from; i < from + count; i++)
                db_array_push_text(&terms, db_rows_text(rows, i, 0));
        const struct db_param param = db_array_param(&terms);
        const struct db_call calls[] = {
                {.sql = &sql_30_term_lock, .params = &param, .param_count = 1},
                {.sql = &sql_30_vault_recount, .params = &param, .param_count = 1},
                {.sql = &sql_30_vault_bury, .params = &param, .param_count = 1},
                {.sql = &sql_31_term_recompute, .params = &param, .param_count = 1},
        };
        return db_run(db, calls, ARRAY_LENGTH(calls), DB_BEGIN | DB_BY_KEY | DB_COMMIT, REBUILD_TIMEOUT_MS);
}

int aggregate_rebuild(struct db *db)
{
        AUTO(db_rows) struct db_rows *rows = NULL;
        struct progress progress;
        const struct db_call list = {.sql = &sql_30_rebuild_list, .rows = &rows};
        int r = db_run(db, &list, 1, DB_BEGIN | DB_COMMIT, REBUILD_TIMEOUT_MS);
        size_t total = r ? 0 : db_rows_count(rows);
        progress_begin(&progress, "making terms anew", "terms", (int64_t)total);
        for (size_t from = 0; !r && from < total; from += REBUILD_CHUNK) {
                size_t count = total - from < REBUILD_CHUNK ? total - from : REBUILD_CHUNK;
                r = rebuild_some(db, rows, from, count);
                progress_add(&progress, (int64_t)count);
        }
        if (r)
                return r;
        progress_end(&progress);
        printf("%-24s %zu terms made anew, with their vaults' numbers of holders and market caps\n", "term, vault", total);
        return 0;
}
