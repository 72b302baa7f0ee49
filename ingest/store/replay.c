#include "ingest/store/replay.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "common/cli/tell.h"
#include "common/base/stop.h"
#include "common/cli/connect.h"
#include "common/base/log.h"
#include "common/base/progress.h"
#include "common/stage/worker.h"
#include "common/stream/state.h"
#include "ingest/store/audit.h"
#include "ingest/ingest.h"
#include "ingest_sql.h"
#include "ingest/store/writer.h"

#define TIMEOUT_MS     3600000
#define RESET_TRIES    200
#define RESET_PAUSE_MS 200
#define READ_COUNT     100

struct replay {
        struct service *service;
        struct redis *redis;
        struct arena arena;
        struct work work;
        const char *from; /* "-" or an id */
        struct progress progress;
        size_t failed; /* messages that cannot be stored, now as before */
        bool reset, accept_loss;
};

/* ---- walking the streams ---- */

typedef int replay_take(struct replay *replay, const struct stream_batch *batch);

static int fail_redis(const struct replay *replay)
{
        fprintf(stderr, "ingest: replay: Redis: %s\n", redis_error(replay->redis));
        return -1;
}

/* Entries of one stream up to `to`, in batches of about BATCH_MAX_EVENTS events. */
static int walk_stream(struct replay *replay, const char *stream, const char *to, replay_take *take)
{
        struct stream_batch batch = {0};
        char from[80];
        size_t read = 0, units;
        int r = 0;
        snprintf(from, sizeof(from), "%s", replay->from);
        do {
                stream_batch_reset(&batch);
                arena_reset(&replay->arena);
                units = 0;
                do {
                        r = stream_range(replay->redis, stream, from, to, READ_COUNT, &batch, &read);
                        for (size_t i = batch.count - read; i < batch.count; i++)
                                units += writer_estimate_units(&batch.entries[i]);
                        if (read)
                                snprintf(from, sizeof(from), "(%s", batch.entries[batch.count - 1].id);
                } while (!r && read && units < (size_t)replay->service->shared->batch_max && batch.bytes < STREAM_BATCH_BYTES);
                r = r ? fail_redis(replay) : batch.count ? take(replay, &batch) : 0;
                if (!r)
                        progress_add(&replay->progress, (int64_t)batch.count);
        } while (!r && read);
        stream_batch_deinit(&batch);
        return r;
}

static int walk(struct replay *replay, const char *what, replay_take *take)
{
        const char *const *streams = replay->service->shared->inputs;
        int64_t total;
        int r = stream_count(replay->redis, streams, &total);
        if (r)
                return fail_redis(replay);
        progress_begin(&replay->progress, what, "entries", strcmp(replay->from, "-") ? 0 : total);
        for (size_t i = 0; !r && streams[i]; i++) {
                struct stream_position last;
                char to[64];
                r = stream_last_id_read(replay->redis, streams[i], &last);
                snprintf(to, sizeof(to), "%" PRIu64 "-%" PRIu64, last.ms, last.seq);
                r = r ? fail_redis(replay) : walk_stream(replay, streams[i], to, take);
        }
        if (!r)
                progress_end(&replay->progress);
        return r;
}

/* ---- the reset ---- */

static int note(struct replay *replay, const struct stream_batch *batch)
{
        int r = audit_note_entries(replay->work.db, batch);
        if (r)
                fprintf(stderr, "ingest: replay: PostgreSQL: %s\n", db_error(replay->work.db));
        return r;
}

/* Whether the streams, from where the replay begins, hold all that the tables hold. */
static int refuse_loss(struct replay *replay)
{
        AUTO(db_rows) struct db_rows *rows = NULL;
        const struct ingest_config *config = replay->service->config;
        const struct db_param params[] = {
                db_text(config->rpc_url ? "true" : "false"), db_text(config->contract ? "true" : "false")};
        const struct db_call loss = {
                .sql = &sql_50_replay_loss, .params = params, .param_count = ARRAY_LENGTH(params), .rows = &rows};
        int r = audit_create(replay->work.db, config->copy_window_ms);
        if (!r)
                r = walk(replay, "looking for what the streams still hold", note);
        if (!r)
                r = db_run(replay->work.db, &loss, 1, DB_AUTOCOMMIT, TIMEOUT_MS);
        if (r) {
                fprintf(stderr, "ingest: replay: the check failed, nothing was changed: %s\n", db_error(replay->work.db));
                return r;
        }
        if (db_rows_number(rows, 0, 2))
                fprintf(stderr,
                        "%" PRId64 " rows came from the chain: they are there again when the service has reconciled, or "
                        "ingest reconcile has\n",
                        db_rows_number(rows, 0, 2));
        if (!db_rows_number(rows, 0, 0))
                return 0;
        fprintf(stderr,
                "ingest: replay: refused, nothing was changed: the streams no longer hold %" PRId64
                " of the events and notices that the tables hold, for one %s. --reset would lose them. Replay without --reset "
                "keeps them; "
                "--accept-loss does it all the same.%s\n",
                db_rows_number(rows, 0, 0), db_rows_text(rows, 0, 1),
                config->rpc_url && !config->contract
                        ? " Rows that came from the chain come back by themselves where CONTRACT_ADDRESS is set."
                        : "");
        return 1;
}

/*
 * A consumer group of the replay's own, at 0: trimming waits for every group, so what was looked at is still there when it is
 * read. Where a replay is killed its group stays until one comes to its end: what the next one has to read is kept, too.
 */
static int hold_streams(struct replay *replay, bool hold)
{
        const char *const *streams = replay->service->shared->inputs;
        char group[512];
        snprintf(group, sizeof(group), "%s-replay", replay->service->shared->group);
        for (size_t i = 0; streams[i]; i++) {
                int r = hold ? stream_group_create(replay->redis, streams[i], group)
                             : redis_call(replay->redis, NULL, "XGROUP", "DESTROY", streams[i], group, NULL);
                if (r && (hold || !redis_alive(replay->redis)))
                        return fail_redis(replay);
        }
        return 0;
}

/* Steps back from whoever is at work and tries again: see pipeline_reset. */
static int empty_tables(struct replay *replay)
{
        const struct db_param from = db_text(replay->from);
        const struct db_call call = {.sql = &sql_50_replay_reset, .params = &from, .param_count = 1};
        int r = -1;
        for (int i = 0; r && i < RESET_TRIES && db_alive(replay->work.db) && !stop_wait(i ? RESET_PAUSE_MS : 0); i++) {
                r = db_run(replay->work.db, &call, 1, DB_BEGIN | DB_COMMIT, TIMEOUT_MS);
                if (r && !db_lock_failed(replay->work.db))
                        break;
        }
        if (r)
                fprintf(stderr, "ingest: replay: cannot empty the tables, nothing was changed: %s\n", db_error(replay->work.db));
        else
                fprintf(stderr, "all tables are empty; should this end early, run ingest replay again\n");
        return r;
}

/* ---- the replay ---- */

/* Entries that took longer than PROCESSING_TIMEOUT_MS: here nothing is pending that would bring them again. */
static bool take_left(const struct stream_batch *batch)
{
        bool any = false;
        for (size_t i = 0; i < batch->count; i++) {
                any = any || batch->entries[i].left;
                batch->entries[i].left = false;
        }
        return any;
}

static int store(struct replay *replay, const struct stream_batch *batch)
{
        struct work *work = &replay->work;
        const char *target = replay->service->shared->output;
        int r;
        work->batch = batch;
        do {
                work->key_count = work->dead_letter_count = 0;
                r = writer_process(work);
        } while (!r && take_left(batch));
        if (r) {
                fprintf(stderr, "ingest: replay: PostgreSQL: %s\n", db_error(replay->work.db));
                return r;
        }
        for (size_t i = 0; i < work->dead_letter_count; i++)
                fprintf(stderr, "cannot be stored: stream %s, id %s: %s\n", work->dead_letters[i].entry->stream,
                        work->dead_letters[i].entry->id, work->dead_letters[i].error);
        replay->failed += work->dead_letter_count;
        work_fold_keys(work);
        r = work->key_count ? stream_publish(replay->redis, target, work->keys, work->key_count) : 0;
        return r ? fail_redis(replay) : 0;
}

static int end(struct replay *replay)
{
        const struct db_param from = db_text(replay->from);
        if (replay->failed)
                fprintf(stderr, "%zu %s cannot be stored; the running service makes dead letters of such messages\n",
                        replay->failed, replay->failed == 1 ? "message" : "messages");
        return db_query(replay->work.db, &sql_50_replay_end, &from, 1, NULL, TIMEOUT_MS);
}

static int run(struct replay *replay)
{
        struct service *service = replay->service;
        const char *why = NULL;
        replay->work.db = connect_schema(service);
        if (replay->work.db && connect_may(service, replay->work.db, replay->reset ? NEED_RESET : NEED_WRITE))
                return -1;
        replay->redis = replay->work.db ? connect_redis(service) : NULL;
        if (!replay->redis)
                return -1;
        if (service->program->prepare(service, replay->work.db, &why)) {
                fprintf(stderr, "ingest: replay: %s\n", why ? why : db_error(replay->work.db));
                return -1;
        }
        int r = replay->reset ? hold_streams(replay, true) : 0, emptied = 1;
        if (!r && replay->reset && !replay->accept_loss)
                r = refuse_loss(replay);
        if (!r && replay->reset)
                r = emptied = empty_tables(replay);
        if (!r)
                r = walk(replay, "replay", store);
        if (!r)
                r = end(replay);
        if (!r || (replay->reset && emptied))
                r = hold_streams(replay, false) || r;
        return r;
}

static int read_options(struct replay *replay, int argc, char **argv)
{
        for (int i = 1; i < argc; i++) {
                if (!strcmp(argv[i], "--reset"))
                        replay->reset = true;
                else if (!strcmp(argv[i], "--accept-loss"))
                        replay->accept_loss = true;
                else if (!strcmp(argv[i], "--from") && i + 1 < argc && stream_position_is_text(argv[i + 1]))
                        replay->from = argv[++i];
                else
                        return -1;
        }
        return replay->accept_loss && !replay->reset ? -1 : 0;
}

bool replay_accepts(int argc, char **argv)
{
        struct replay replay = {0};
        return !read_options(&replay, argc, argv);
}

int replay_command(struct service *service, int argc, char **argv)
{
        struct replay replay = {.service = service, .arena = ARENA_NULL, .from = "-"};
        worker_open_work(&replay.work, service, &replay.arena);
        int r = read_options(&replay, argc, argv) ? -1 : run(&replay);
        tell_end(service, !r, "not_storable", (int64_t)replay.failed, replay.work.db ? db_error(replay.work.db) : NULL);
        redis_close(replay.redis);
        db_close(replay.work.db);
        worker_close_work(&replay.work, service);
        return r ? 1 : 0;
}

int replay_warn_unfinished(struct db *db, int64_t deadline_ms)
{
        AUTO(db_rows) struct db_rows *rows = NULL;
        int r = db_query(db, &sql_50_replay_unfinished, NULL, 0, &rows, deadline_ms);
        if (!r && db_rows_count(rows))
                log_write(LOG_WARN,
                        "a replay with --reset has not come to its end: the tables may not hold all; if none runs, run ingest "
                        "replay",
                        "from=%s started_at=%s", db_rows_text(rows, 0, 0), db_rows_text(rows, 0, 1));
        return r;
}
