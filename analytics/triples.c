#include "triples.h"

#include <stdio.h>
#include "common/cli/tell.h"
#include "common/base/clock.h"
#include "common/base/progress.h"
#include "common/stage/keys.h"
#include "analytics_sql.h"

#define ROWS_MAX           20000 /* outbox rows a transaction: bounds memory */
#define REBUILD_TIMEOUT_MS 3600000
#define REBUILD_CHUNK      1000 /* keys a transaction: locks are held for a moment only */

/* The parameters of 40_outbox_take, side by side: outbox rows, and the triples that they name (both terms); those are NULL where
 * a row means no triple. The statements that take triples alone have the last two. */
#define ELEMENTS "tntt"
enum { OUTBOX_TERM, OUTBOX_ID, TERM, COUNTER };

static void push_triples(struct db_columns *triples, const struct db_rows *rows, size_t from, size_t count)
{
        for (size_t i = from; i < from + count; i++) {
                db_array_push_text(&triples->arrays[TERM], db_rows_text(rows, i, 0));
                db_array_push_text(&triples->arrays[COUNTER], db_rows_text(rows, i, 1));
        }
}

/* settled: after all who may be writing triples that went. */
static int find_waiting(struct db *db, struct db_array *keys, bool settled, struct db_rows **rows, int64_t until_ms)
{
        const struct db_param params[] = {db_array_param(keys), db_number(ROWS_MAX)};
        const struct db_call calls[] = {
                {.sql = &sql_40_triple_settle, .params = params, .param_count = 1},
                {.sql = &sql_40_outbox_waiting, .params = params, .param_count = ARRAY_LENGTH(params), .rows = rows},
        };
        const size_t skipped = settled ? 0 : 1;
        return db_run(db, calls + skipped, ARRAY_LENGTH(calls) - skipped, DB_BEGIN | DB_BY_KEY | DB_COMMIT, clock_left(until_ms));
}

/* Of triples that are locked. */
static int make_anew(struct db *db, struct db_columns *triples, int64_t until_ms)
{
        const struct db_param *pair = db_columns_params(triples) + TERM;
        const struct db_call calls[] = {
                {.sql = &sql_40_triple_vault_recompute, .params = pair, .param_count = 2},
                {.sql = &sql_41_triple_term_recompute, .params = pair, .param_count = 2},
                {.sql = &sql_42_pair_clear},
        };
        return db_run(db, calls, triples->arrays[TERM].count ? ARRAY_LENGTH(calls) : 0, DB_COMMIT, clock_left(until_ms));
}

/* Triples that somebody else did meanwhile, whom the lock waited for, are not made again; but those whose row the lock has made
 * are: it may stand for nothing. */
static int take(struct db *db, struct db_columns *waiting, int64_t until_ms)
{
        AUTO_COLUMNS struct db_columns triples;
        AUTO(db_rows) struct db_rows *made = NULL;
        AUTO(db_rows) struct db_rows *taken = NULL;
        const struct db_param *params = db_columns_params(waiting);
        const struct db_call calls[] = {
                {.sql = &sql_40_triple_share, .params = params + TERM, .param_count = 1},
                {.sql = &sql_40_triple_lock, .params = params + TERM, .param_count = 2, .rows = &made},
                {.sql = &sql_40_outbox_take, .params = params, .param_count = (int)waiting->count, .rows = &taken},
        };
        db_columns_init(&triples, ELEMENTS);
        int r = db_run(db, calls, ARRAY_LENGTH(calls), DB_BEGIN | DB_BY_KEY, clock_left(until_ms));
        if (r)
                return r;
        push_triples(&triples, made, 0, db_rows_count(made));
        push_triples(&triples, taken, 0, db_rows_count(taken));
        return make_anew(db, &triples, until_ms);
}

/* Up to ROWS_MAX outbox rows of these terms. *found: how many. */
static int run_some(struct db *db, struct db_array *keys, int64_t until_ms, int64_t *found)
{
        AUTO_COLUMNS struct db_columns triples;
        AUTO(db_rows) struct db_rows *rows = NULL;
        db_columns_init(&triples, ELEMENTS);
        int r = find_waiting(db, keys, false, &rows, until_ms);
        if (!r && db_rows_count(rows) && db_rows_number(rows, 0, 5))
                r = find_waiting(db, keys, true, &rows, until_ms);
        *found = !r && db_rows_count(rows) ? db_rows_number(rows, 0, 4) : 0;
        for (size_t i = 0; !r && i < db_rows_count(rows); i++) {
                db_array_push_text(&triples.arrays[OUTBOX_TERM], db_rows_text(rows, i, 0));
                db_array_push_number(&triples.arrays[OUTBOX_ID], db_rows_number(rows, i, 1));
                db_array_push_text(&triples.arrays[TERM], db_rows_text(rows, i, 2));
                db_array_push_text(&triples.arrays[COUNTER], db_rows_text(rows, i, 3));
        }
        return r || !*found ? r : take(db, &triples, until_ms);
}

static int run_terms(struct work *work, const char *const *terms, size_t count)
{
        AUTO_ARRAY struct db_array keys;
        int64_t found;
        int r;
        db_array_init(&keys, DB_TEXT);
        for (size_t i = 0; i < count; i++)
                db_array_push_text(&keys, terms[i]);
        do {
                r = run_some(work->db, &keys, clock_ms() + work->deadline_ms, &found);
        } while (!r && found == ROWS_MAX);
        return r;
}

int triples_process(struct work *work)
{
        static const struct keys_stage stage = {.terms = run_terms, .waiting_terms = &sql_40_waiting_terms};
        return keys_process(work, &stage);
}

/* ---- rebuild ---- */

static int rebuild_some(struct db *db, const struct db_rows *rows, size_t from, size_t count)
{
        AUTO_COLUMNS struct db_columns triples;
        db_columns_init(&triples, ELEMENTS);
        push_triples(&triples, rows, from, count);
        const struct db_param *pair = db_columns_params(&triples) + TERM;
        const struct db_call lock[] = {{.sql = &sql_40_triple_share, .params = pair, .param_count = 1},
                {.sql = &sql_40_triple_lock, .params = pair, .param_count = 2}};
        int64_t until_ms = clock_ms() + REBUILD_TIMEOUT_MS;
        int r = db_run(db, lock, ARRAY_LENGTH(lock), DB_BEGIN | DB_BY_KEY, REBUILD_TIMEOUT_MS);
        return r ? r : make_anew(db, &triples, until_ms);
}

static int rebuild_pair(const struct service *service, struct db *db, const char *table, const char *first, const char *second)
{
        AUTO(db_rows) struct db_rows *rows = NULL;
        const struct db_param params[] = {db_text(table), db_text(first), db_text(second)};
        const struct db_call call = {
                .sql = &sql_42_pair_rebuild, .params = params, .param_count = ARRAY_LENGTH(params), .rows = &rows};
        int r = db_run(db, &call, 1, DB_BEGIN | DB_COMMIT, REBUILD_TIMEOUT_MS);
        if (!r)
                tell_rows(service, table, db_rows_number(rows, 0, 0), "rows written");
        return r;
}

int triples_rebuild(struct service *service, struct db *db)
{
        AUTO(db_rows) struct db_rows *rows = NULL;
        struct progress progress;
        const struct db_call list = {.sql = &sql_40_rebuild_list, .rows = &rows};
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
        tell_rows(service, "triple_vault, triple_term", (int64_t)total, "triples made anew");
        r = rebuild_pair(service, db, "predicate_object", "predicate_id", "object_id");
        return r ? r : rebuild_pair(service, db, "subject_predicate", "subject_id", "predicate_id");
}
