#include "aggregate.h"

#include <inttypes.h>
#include <stdio.h>
#include "common/cli/tell.h"
#include "common/base/clock.h"
#include "common/base/progress.h"
#include "common/base/stop.h"
#include "common/stage/keys.h"
#include "cascade_sql.h"

#define REBUILD_TIMEOUT_MS 3600000
#define REBUILD_CHUNK      1000 /* keys a transaction: locks are held for a moment only */
#define ROWS_MAX           2048 /* outbox rows a transaction, of some tens of keys each: bounds its memory and its locks' time */
#define PATIENCE_PART      10   /* of the deadline: so long a row's holder is waited for, */
#define PATIENCE_MS        2000 /* at most: all that need the bucket wait meanwhile */

/* A lock that cannot be had in time is the deadline of the terms that need it. */
static int lock_waited(struct db *db, int r)
{
        return r < 0 && db_alive(db) && db_lock_failed(db) ? DB_DEADLINE : r;
}

/* One transaction: all that waits in the buckets, or only these terms' part of it, up to ROWS_MAX rows. *taken: how many. */
static int aggregate(
        struct work *work, struct db_array *buckets, struct db_array *only, int64_t until_ms, int64_t *taken, size_t *terms)
{
        AUTO_ARRAY struct db_array found;
        AUTO(db_rows) struct db_rows *done = NULL;
        int64_t part_ms = clock_left(until_ms) / PATIENCE_PART + 1;
        const struct db_param none = {0};
        const struct db_param params[] = {db_array_param(buckets), only ? db_array_param(only) : none, db_number(ROWS_MAX)};
        const struct db_param patience = db_number(part_ms > PATIENCE_MS ? PATIENCE_MS : part_ms);
        const struct db_call fold[] = {
                {.sql = &sql_30_bucket_lock, .params = params, .param_count = 1},
                {.sql = &sql_30_lock_patience, .params = &patience, .param_count = 1},
                {.sql = &sql_30_vault_fold, .params = params, .param_count = 3, .rows = &done},
        };
        db_array_init(&found, DB_TEXT);
        int r = db_run(work->db, fold, ARRAY_LENGTH(fold), DB_BEGIN | DB_BY_KEY, clock_left(until_ms));
        if (r)
                return lock_waited(work->db, r);
        for (size_t i = 0; i < db_rows_count(done); i++)
                db_array_push_text(&found, db_rows_text(done, i, 0));
        *taken = db_rows_count(done) ? db_rows_number(done, 0, 1) : 0;
        *terms += db_rows_count(done);
        const struct db_param found_param = db_array_param(&found);
        const struct db_call make[] = {
                {.sql = &sql_30_vault_bury, .params = &found_param, .param_count = 1},
                {.sql = &sql_31_term_recompute, .params = &found_param, .param_count = 1},
        };
        r = db_run(work->db, make, found.count ? ARRAY_LENGTH(make) : 0, DB_COMMIT, clock_left(until_ms));
        return lock_waited(work->db, r);
}

static int run_buckets(struct work *work, const bool named[KEYS_BUCKETS])
{
        AUTO_ARRAY struct db_array buckets;
        int64_t taken = 0;
        size_t terms = 0;
        int r;
        db_array_init(&buckets, DB_BIGINT);
        for (unsigned i = 0; i < KEYS_BUCKETS; i++)
                if (named[i])
                        db_array_push_number(&buckets, i);
        do {
                r = aggregate(work, &buckets, NULL, clock_ms() + work->deadline_ms, &taken, &terms);
        } while (!r && taken == ROWS_MAX && !stop_is_urgent());
        work->units += terms;
        return r ? r : taken == ROWS_MAX ? DB_DEADLINE : 0;
}

#define KEY_ELEMENTS "nt" /* buckets, terms */

static void push_key(struct db_columns *keys, const char *term)
{
        db_array_push_number(&keys->arrays[0], keys_bucket(term));
        db_array_push_text(&keys->arrays[1], term);
}

static int run_terms(struct work *work, const char *const *terms, size_t count)
{
        AUTO_COLUMNS struct db_columns keys;
        int64_t taken = 0;
        size_t done = 0;
        int r;
        db_columns_init(&keys, KEY_ELEMENTS);
        for (size_t i = 0; i < count; i++)
                push_key(&keys, terms[i]);
        do {
                r = aggregate(work, &keys.arrays[0], &keys.arrays[1], clock_ms() + work->deadline_ms, &taken, &done);
        } while (!r && taken == ROWS_MAX);
        return r;
}

int aggregate_process(struct work *work)
{
        static const struct keys_stage stage = {
                .buckets = run_buckets, .terms = run_terms, .waiting_terms = &sql_30_waiting_terms};
        return keys_process(work, &stage);
}

/* ---- rebuild ---- */

static int rebuild_some(struct db *db, const struct db_rows *rows, size_t from, size_t count)
{
        AUTO_COLUMNS struct db_columns keys;
        db_columns_init(&keys, KEY_ELEMENTS);
        for (size_t i = from; i < from + count; i++)
                push_key(&keys, db_rows_text(rows, i, 0));
        const struct db_param *params = db_columns_params(&keys);
        const struct db_call calls[] = {
                {.sql = &sql_30_bucket_lock, .params = params, .param_count = 1},
                {.sql = &sql_30_vault_recount, .params = params + 1, .param_count = 1},
                {.sql = &sql_30_vault_bury, .params = params + 1, .param_count = 1},
                {.sql = &sql_31_term_recompute, .params = params + 1, .param_count = 1},
        };
        return db_run(db, calls, ARRAY_LENGTH(calls), DB_BEGIN | DB_BY_KEY | DB_COMMIT, REBUILD_TIMEOUT_MS);
}

int aggregate_rebuild(struct service *service, struct db *db)
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
        tell_rows(
                service, "term, vault", (int64_t)total, "terms made anew, with their vaults' numbers of holders and market caps");
        return 0;
}
