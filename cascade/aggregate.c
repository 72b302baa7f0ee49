#include "aggregate.h"

#include <stdio.h>
#include <string.h>
#include "../common/clock.h"
#include "../common/progress.h"
#include "cascade_sql.h"

#define REBUILD_TIMEOUT_MS 3600000
#define REBUILD_CHUNK      1000 /* keys a transaction: locks are held for a moment only */

/*
 * count_holders: what makes position_count right, by what waits or anew. *counted: the terms that it found to be done, in byte
 * order. Others are not made again: whom the lock waited for has done them. But those whose row the lock has made (*made, in the
 * same order) are: it may stand for nothing.
 */
static int aggregate(struct db *db, const struct sql *count_holders, struct db_array *terms, struct db_rows **made,
        struct db_rows **counted, int64_t until_ms)
{
        AUTO_ARRAY struct db_array found;
        const struct db_param param = db_array_param(terms);
        const struct db_call lock[] = {
                {.sql = &sql_30_term_lock, .params = &param, .param_count = 1, .rows = made},
                {.sql = count_holders, .params = &param, .param_count = 1, .rows = counted},
        };
        db_array_init(&found, DB_TEXT);
        int r = db_run(db, lock, ARRAY_LENGTH(lock), DB_BEGIN | DB_BY_KEY, clock_left(until_ms));
        if (r)
                return r;
        for (size_t i = 0; i < db_rows_count(*made); i++)
                db_array_push_text(&found, db_rows_text(*made, i, 0));
        for (size_t i = 0; i < db_rows_count(*counted); i++)
                db_array_push_text(&found, db_rows_text(*counted, i, 0));
        const struct db_param found_param = db_array_param(&found);
        const struct db_call make[] = {
                {.sql = &sql_30_vault_bury, .params = &found_param, .param_count = 1},
                {.sql = &sql_31_term_recompute, .params = &found_param, .param_count = 1},
        };
        return db_run(db, make, found.count ? ARRAY_LENGTH(make) : 0, DB_COMMIT, clock_left(until_ms));
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

struct span {
        struct stream_key *keys;
        size_t count, parts;
        int64_t until_ms; /* the deadline of all parts */
};

static int fold_part(struct work *work, void *context, size_t part)
{
        const struct span *span = context;
        AUTO_ARRAY struct db_array terms;
        AUTO(db_rows) struct db_rows *made = NULL;
        AUTO(db_rows) struct db_rows *counted = NULL;
        db_array_init(&terms, DB_TEXT);
        for (size_t i = 0; i < span->count; i++)
                if (work_part(span->keys[i].term_id, span->parts) == part)
                        db_array_push_text(&terms, span->keys[i].term_id);
        int r = terms.count ? aggregate(work->db, &sql_30_vault_fold, &terms, &made, &counted, span->until_ms) : 0;
        if (r)
                return r;
        for (size_t i = 0; i < span->count && !work->batch->redelivered; i++)
                if (work_part(span->keys[i].term_id, span->parts) == part) {
                        struct stream_key *key = &span->keys[i];
                        key->ours |= is_among(made, key->term_id) || is_among(counted, key->term_id);
                        key->done = !key->ours;
                }
        return 0;
}

static int run(struct work *work, void *context, size_t from, size_t count)
{
        struct span span = {work->keys + from, count, work_count_parts(work, count), clock_ms() + work->deadline_ms};
        (void)context;
        int r = work_run_parts(work, span.parts, fold_part, &span);
        if (!r)
                work->units += count;
        return r;
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
                AUTO_ARRAY struct db_array terms;
                AUTO(db_rows) struct db_rows *made = NULL;
                AUTO(db_rows) struct db_rows *counted = NULL;
                size_t count = total - from < REBUILD_CHUNK ? total - from : REBUILD_CHUNK;
                db_array_init(&terms, DB_TEXT);
                for (size_t i = from; i < from + count; i++)
                        db_array_push_text(&terms, db_rows_text(rows, i, 0));
                r = aggregate(db, &sql_30_vault_recount, &terms, &made, &counted, clock_ms() + REBUILD_TIMEOUT_MS);
                progress_add(&progress, (int64_t)count);
        }
        if (r)
                return r;
        progress_end(&progress);
        printf("%-24s %zu terms made anew, with their vaults' numbers of holders and market caps\n", "term, vault", total);
        return 0;
}
