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

static void push_terms(struct db_array *terms, const struct db_rows *rows, size_t from, size_t count)
{
        for (size_t i = from; i < from + count; i++)
                db_array_push_text(terms, db_rows_text(rows, i, 0));
}

/*
 * Of some of the rows. count_holders: what makes position_count right, by what waits or anew. Terms that somebody else did
 * meanwhile, whom the lock waited for, are not made again; but those whose row the lock has made are: it may stand for nothing.
 */
static int aggregate(struct db *db, const struct sql *count_holders, const struct db_rows *rows, size_t from, size_t count,
        int64_t deadline_ms)
{
        AUTO_ARRAY struct db_array terms = {0}, counted_terms = {0};
        AUTO(db_rows) struct db_rows *made = NULL;
        AUTO(db_rows) struct db_rows *counted = NULL;
        db_array_init(&terms, DB_TEXT);
        push_terms(&terms, rows, from, count);
        const struct db_param param = db_array_param(&terms);
        const struct db_call lock[] = {
                {.sql = &sql_30_term_lock, .params = &param, .param_count = 1, .rows = &made},
                {.sql = count_holders, .params = &param, .param_count = 1, .rows = &counted},
        };
        int r = db_run(db, lock, ARRAY_LENGTH(lock), DB_BEGIN | DB_BY_KEY, deadline_ms);
        if (r)
                return r;
        db_array_init(&counted_terms, DB_TEXT);
        push_terms(&counted_terms, made, 0, db_rows_count(made));
        push_terms(&counted_terms, counted, 0, db_rows_count(counted));
        const struct db_param counted_param = db_array_param(&counted_terms);
        const struct db_call make[] = {
                {.sql = &sql_30_vault_bury, .params = &counted_param, .param_count = 1},
                {.sql = &sql_31_term_recompute, .params = &counted_param, .param_count = 1},
        };
        return db_run(db, make, counted_terms.count ? ARRAY_LENGTH(make) : 0, DB_COMMIT, deadline_ms);
}

static int fold(struct work *work, const struct db_rows *rows, size_t from, size_t count)
{
        return count ? aggregate(work->db, &sql_30_vault_fold, rows, from, count, work->deadline_ms) : 0;
}

static int fold_part(struct work *work, void *context, size_t part)
{
        const struct db_rows *rows = context;
        size_t from = 0, to, count = db_rows_count(rows);
        while (from < count && work_part(db_rows_text(rows, from, 0)) < part)
                from++;
        for (to = from; to < count && work_part(db_rows_text(rows, to, 0)) == part;)
                to++;
        return fold(work, rows, from, to - from);
}

static int run(struct work *work, void *context, size_t from, size_t count)
{
        AUTO(db_rows) struct db_rows *waiting = NULL;
        struct stream_key *keys = work->keys + from;
        bool done[WORK_PARTS] = {false};
        (void)context;
        int r = find_waiting(work->db, keys, count, &waiting, work->deadline_ms);
        if (!r && (work->alone || db_rows_count(waiting) < WORK_PARTS_FROM))
                r = fold(work, waiting, 0, db_rows_count(waiting));
        else if (!r)
                r = work_run_turns(work, WORK_PART_TURN, done, WORK_PARTS, fold_part, waiting);
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
