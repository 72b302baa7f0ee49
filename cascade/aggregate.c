#include "aggregate.h"

#include <stdio.h>
#include <string.h>
#include "../common/progress.h"
#include "cascade_sql.h"

#define REBUILD_TIMEOUT_MS 3600000
#define REBUILD_CHUNK      1000 /* keys a transaction: locks are held for a moment only */

/* *rows: those of the keys' terms for which something waits, in byte order. */
static int find_waiting(struct db *db, const struct stream_key *keys, size_t count, struct db_rows **rows, int64_t deadline_ms)
{
        AUTO_ARRAY struct db_array terms = {0};
        db_array_init(&terms, DB_TEXT);
        for (size_t i = 0; i < count; i++)
                db_array_push_text(&terms, keys[i].term_id);
        const struct db_param param = db_array_param(&terms);
        const struct db_call call = {.sql = &sql_30_outbox_waiting, .params = &param, .param_count = 1, .rows = rows};
        return db_run(db, &call, 1, DB_BEGIN | DB_BY_KEY | DB_COMMIT, deadline_ms);
}

static bool is_among(const struct db_rows *rows, const char *term)
{
        size_t from = 0, to = db_rows_count(rows);
        while (from < to) {
                size_t middle = from + (to - from) / 2;
                int order = strcmp(term, db_rows_text(rows, middle, 0));
                if (!order)
                        return true;
                if (order < 0)
                        to = middle;
                else
                        from = middle + 1;
        }
        return false;
}

/* Of some of the rows. count_holders: what makes position_count right, by what waits or anew. */
static int aggregate(struct db *db, const struct sql *count_holders, const struct db_rows *rows, size_t from, size_t count,
        int64_t deadline_ms)
{
        AUTO_ARRAY struct db_array terms = {0};
        db_array_init(&terms, DB_TEXT);
        for (size_t i = from; i < from + count; i++)
                db_array_push_text(&terms, db_rows_text(rows, i, 0));
        const struct db_param param = db_array_param(&terms);
        const struct db_call calls[] = {
                {.sql = &sql_30_term_lock, .params = &param, .param_count = 1},
                {.sql = count_holders, .params = &param, .param_count = 1},
                {.sql = &sql_30_vault_bury, .params = &param, .param_count = 1},
                {.sql = &sql_31_term_recompute, .params = &param, .param_count = 1},
        };
        return db_run(db, calls, ARRAY_LENGTH(calls), DB_BEGIN | DB_BY_KEY | DB_COMMIT, deadline_ms);
}

static int run(struct work *work, void *context, size_t from, size_t count)
{
        AUTO(db_rows) struct db_rows *waiting = NULL;
        struct stream_key *keys = work->keys + from;
        (void)context;
        int r = find_waiting(work->db, keys, count, &waiting, work->deadline_ms);
        if (!r && db_rows_count(waiting))
                r = aggregate(work->db, &sql_30_vault_fold, waiting, 0, db_rows_count(waiting), work->deadline_ms);
        if (r)
                return r;
        for (size_t i = 0; i < count && !work->batch->redelivered; i++)
                keys[i].done = !is_among(waiting, keys[i].term_id);
        work->units += count;
        return 0;
}

int aggregate_process(struct work *work)
{
        return work_run_keys(work, run);
}

/* ---- rebuild ---- */

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
                r = aggregate(db, &sql_30_vault_recount, rows, from, count, REBUILD_TIMEOUT_MS);
                progress_add(&progress, (int64_t)count);
        }
        if (r)
                return r;
        progress_end(&progress);
        printf("%-24s %zu terms made anew, with their vaults' numbers of holders and market caps\n", "term, vault", total);
        return 0;
}
