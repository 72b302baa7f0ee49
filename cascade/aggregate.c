#include "aggregate.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include "../common/clock.h"
#include "../common/progress.h"
#include "../common/service.h"
#include "cascade_sql.h"

#define REBUILD_TIMEOUT_MS 3600000
#define REBUILD_CHUNK      1000  /* keys a transaction: locks are held for a moment only */
#define ROWS_MAX           16384 /* outbox rows a transaction, of a few terms each */
#define ONLY_THESE_MS      5000 /* so long, and so many times as long as it took, buckets are not tried whole after that failed */
#define ONLY_THESE_FACTOR  10
#define PATIENCE_PART      10   /* of the deadline: so long a row's holder is waited for, */
#define PATIENCE_MS        2000 /* at most */

struct aggregate_state {
        int64_t only_these_until_ms; /* monotonic */
};

/* Who waits for a row that somebody holds is slow, as by the deadline, but sooner: all others who need the bucket wait for us. */
static int lock_waited(struct db *db, int r)
{
        return r < 0 && db_alive(db) && db_lock_failed(db) ? DB_DEADLINE : r;
}

/* What of the outbox is done: all that is in the terms' buckets, ROWS_MAX rows at a time, or only these terms' part of it. */
static int aggregate(struct db *db, struct db_array *terms, bool only_these, struct db_rows **done, int64_t until_ms)
{
        AUTO_ARRAY struct db_array found;
        char rows_max[24], patience[24];
        snprintf(rows_max, sizeof(rows_max), "%d", ROWS_MAX);
        int64_t part_ms = clock_left(until_ms) / PATIENCE_PART + 1;
        snprintf(patience, sizeof(patience), "%" PRId64, part_ms > PATIENCE_MS ? PATIENCE_MS : part_ms);
        const struct db_param none = {0}, param = db_array_param(terms);
        const struct db_param params[] = {param, only_these ? param : none, only_these ? none : db_text(rows_max)};
        const struct db_param patience_param = db_text(patience);
        const struct db_call fold[] = {
                {.sql = &sql_30_bucket_lock, .params = params, .param_count = 1},
                {.sql = &sql_30_lock_patience, .params = &patience_param, .param_count = 1},
                {.sql = &sql_30_vault_fold, .params = params, .param_count = 3, .rows = done},
        };
        db_array_init(&found, DB_TEXT);
        int r = db_run(db, fold, ARRAY_LENGTH(fold), DB_BEGIN | DB_BY_KEY, clock_left(until_ms));
        if (r)
                return lock_waited(db, r);
        for (size_t i = 0; i < db_rows_count(*done); i++)
                db_array_push_text(&found, db_rows_text(*done, i, 0));
        const struct db_param found_param = db_array_param(&found);
        const struct db_call make[] = {
                {.sql = &sql_30_vault_bury, .params = &found_param, .param_count = 1},
                {.sql = &sql_31_term_recompute, .params = &found_param, .param_count = 1},
        };
        return lock_waited(db, db_run(db, make, found.count ? ARRAY_LENGTH(make) : 0, DB_COMMIT, clock_left(until_ms)));
}

struct span {
        const struct stream_key *keys;
        size_t count, parts;
        bool only_these;
        int64_t until_ms; /* the deadline of all parts; of each more round of one that has more than ROWS_MAX */
};

static int fold_part(struct work *work, void *context, size_t part)
{
        struct span *span = context;
        AUTO_ARRAY struct db_array terms;
        int64_t taken;
        bool only_these = span->only_these;
        db_array_init(&terms, DB_TEXT);
        for (size_t i = 0; i < span->count; i++)
                if (work_part(span->keys[i].term_id, span->parts) == part)
                        db_array_push_text(&terms, span->keys[i].term_id);
        if (!terms.count)
                return 0;
        do {
                AUTO(db_rows) struct db_rows *done = NULL;
                int r = aggregate(work->db, &terms, only_these, &done, span->until_ms);
                if (r)
                        return r;
                taken = !only_these && db_rows_count(done) ? db_rows_number(done, 0, 1) : 0;
                if (taken == ROWS_MAX) { /* a stop waits for no more than the batch's own keys */
                        span->until_ms = clock_ms() + work->deadline_ms;
                        only_these = service_stopping();
                }
        } while (taken == ROWS_MAX);
        return 0;
}

static int fold(struct work *work, size_t from, size_t count, bool only_these)
{
        struct span span = {
                .keys = work->keys + from,
                .count = count,
                .parts = work_count_parts(work, count),
                .only_these = only_these,
                .until_ms = clock_ms() + work->deadline_ms,
        };
        return work_run_parts(work, span.parts, fold_part, &span);
}

/* What is in the buckets besides the batch's own keys must not be held against these: then they are done alone. A connection that
 * is lost before the first of both is asked says so itself: it refuses no key. */
static int run(struct work *work, void *context, size_t from, size_t count)
{
        struct aggregate_state *state = work->state;
        int64_t started = clock_ms();
        bool whole = count == work->key_count && started >= state->only_these_until_ms;
        int r = whole ? fold(work, from, count, false) : DB_BAD_DATA;
        (void)context;
        if (whole && r)
                state->only_these_until_ms = clock_ms() + ONLY_THESE_MS + ONLY_THESE_FACTOR * (clock_ms() - started);
        if (r && (!whole || db_alive(work->db)))
                r = fold(work, from, count, true);
        if (!r)
                work->units += count;
        return r;
}

int aggregate_process(struct work *work)
{
        return work_run_keys(work, run);
}

void *aggregate_state_new(const void *config)
{
        (void)config;
        return memory_new(1, sizeof(struct aggregate_state));
}

void aggregate_state_free(void *state)
{
        free(state);
}

/* ---- rebuild ---- */

static int rebuild_some(struct db *db, struct db_array *terms)
{
        const struct db_param param = db_array_param(terms);
        const struct db_call calls[] = {
                {.sql = &sql_30_bucket_lock, .params = &param, .param_count = 1},
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
                AUTO_ARRAY struct db_array terms;
                size_t count = total - from < REBUILD_CHUNK ? total - from : REBUILD_CHUNK;
                db_array_init(&terms, DB_TEXT);
                for (size_t i = from; i < from + count; i++)
                        db_array_push_text(&terms, db_rows_text(rows, i, 0));
                r = rebuild_some(db, &terms);
                progress_add(&progress, (int64_t)count);
        }
        if (r)
                return r;
        progress_end(&progress);
        printf("%-24s %zu terms made anew, with their vaults' numbers of holders and market caps\n", "term, vault", total);
        return 0;
}
