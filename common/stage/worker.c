#include "common/stage/worker.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "common/base/backoff.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/stop.h"
#include "common/stage/health.h"
#include "common/stage/keys.h"
#include "common/stage/ownership.h"
#include "common/stage/reader.h"
#include "common/stage/stage.h"
#include "common/stream/state.h"

#define CONNECT_TIMEOUT_MS 5000
#define REDIS_TIMEOUT_MS   10000
#define REFUSED_MS         500
#define STALE_MS           1000 /* a connection that was not used for so long may have died meanwhile */

struct worker {
        struct service *service;
        pthread_t thread;
        int number;
        char name[512];
        struct reader reader;
        struct db *db;
        char place[OWNER_PLACE_SIZE]; /* of the database that it leads to */
        struct arena arena;
        struct work work;
        struct backoff backoff;
        bool had_redis, had_db; /* a new connection counts as a reconnect */
        bool redis_failed;      /* in the step under way */
        bool stale;             /* the step uses connections of before only, and they had not been used for STALE_MS */
        int64_t used_ms;        /* monotonic: when both were last known to work */
};

static const struct config *settings(const struct worker *worker)
{
        return worker->service->shared;
}

/* ---- connections ---- */

/*
 * After a failure the connections are made anew: what belongs to a session (a cached plan, a demoted server) heals with it. One
 * to a Redis that did not fail stays: through it the pending entries are kept while PostgreSQL is away.
 */
static void disconnect(struct worker *worker)
{
        worker->db = db_close(worker->db);
        if (worker->redis_failed || !reader_is_connected(&worker->reader))
                reader_disconnect(&worker->reader);
}

static int fail_to_connect(struct worker *worker, const char *server, const char *problem)
{
        log_write(health_note_failure(worker->service, problem), "cannot connect", "server=%s worker=%d error=%s", server,
                worker->number, problem);
        return -1;
}

/* The schema may have moved on under a running program: a connection is only used with the one it knows. */
static int check_schema(struct worker *worker)
{
        const struct program_database *database = worker->service->program->database;
        int64_t version;
        char text[PROGRAM_EXPLAIN_SIZE];
        int r = database->check(worker->db, &version);
        if (!r)
                return 0;
        database->explain(worker->db, r, text);
        log_write(health_note_failure(worker->service, text), r > 0 ? "the schema does not fit" : "the schema could not be read",
                "worker=%d error=%s", worker->number, text);
        return -1;
}

/* It may be another database than before: DATABASE_URL_FILE, a name that leads elsewhere. */
static int check_ownership(struct worker *worker)
{
        const char *problem = NULL;
        struct stream_owner self = {0};
        int r = ownership_read(worker->service, worker->db, &self, &problem);
        if (!r)
                r = ownership_take(worker->service, worker->reader.consumer.redis, &self, &problem);
        memcpy(worker->place, self.place, sizeof(worker->place));
        if (r < 0)
                log_write(health_note_failure(worker->service, problem), "whose the consumer group is could not be asked",
                        "worker=%d error=%s", worker->number, problem);
        return r ? -1 : 0;
}

static void count_reconnect(struct worker *worker, bool *had, const char *server)
{
        if (*had)
                metrics_add(worker->service->metrics, &stage_reconnects, 1, server, NULL, NULL);
        *had = true;
}

static int connect_redis(struct worker *worker)
{
        AUTO(text) char *problem = NULL;
        if (reader_is_connected(&worker->reader))
                return 0;
        reader_disconnect(&worker->reader);
        if (reader_connect(&worker->reader, REDIS_TIMEOUT_MS, &problem)) {
                worker->redis_failed = true;
                return fail_to_connect(worker, "redis", problem);
        }
        worker->used_ms = clock_ms();
        count_reconnect(worker, &worker->had_redis, "redis");
        return 0;
}

static int connect_db(struct worker *worker)
{
        AUTO(text) char *problem = NULL;
        /* closed while it was idle, which is no failure; or of a database that others have left since */
        if (worker->db && (!db_alive(worker->db) || !ownership_is(worker->service, worker->place)))
                worker->db = db_close(worker->db);
        if (worker->db)
                return 0;
        worker->stale = false; /* how a new connection goes always counts */
        if (service_open_db(worker->service, &worker->db, CONNECT_TIMEOUT_MS, reader_keep, &worker->reader, &problem))
                return fail_to_connect(worker, "postgresql", problem);
        if (check_schema(worker))
                return -1;
        if (check_ownership(worker))
                return -1;
        worker->used_ms = clock_ms();
        count_reconnect(worker, &worker->had_db, "postgresql");
        return 0;
}

/* ---- one batch ---- */

static void add_lost_entries(struct worker *worker)
{
        for (size_t i = 0; i < worker->reader.batch.count; i++) {
                const struct stream_entry *entry = &worker->reader.batch.entries[i];
                if (entry->fields)
                        continue;
                log_write(LOG_ERROR, "entry lost: it was trimmed away while it was pending", "stream=%s id=%s", entry->stream,
                        entry->id);
                work_add_dead_letter(&worker->work, entry, "", "lost", STREAM_LOST, 0);
        }
}

static void report_dead_letters(struct worker *worker)
{
        struct metrics *metrics = worker->service->metrics;
        const struct work *work = &worker->work;
        for (size_t i = 0; i < work->dead_letter_count; i++) {
                const struct stream_dead_letter *letter = &work->dead_letters[i];
                if (!letter->written) { /* another consumer has written it, or its consumer was removed (XGROUP DELCONSUMER) */
                        log_write(LOG_WARN, "bad message is not pending any more; no dead letter is written for it here",
                                "stream=%s id=%s event_index=%s error_class=%s error=%s", letter->entry->stream,
                                letter->entry->id, letter->event_index, letter->error_class, letter->error);
                        continue;
                }
                log_write(LOG_WARN, "dead letter", "stream=%s id=%s event_index=%s error_class=%s error=%s",
                        letter->entry->stream, letter->entry->id, letter->event_index, letter->error_class, letter->error);
                if (!strcmp(letter->error_class, "lost"))
                        metrics_add(metrics, &stage_lost_entries, 1, letter->entry->stream, NULL, NULL);
                metrics_add(metrics, &stage_dead_letters, 1, letter->error_class, NULL, NULL);
        }
}

static void count_batch(struct worker *worker, int64_t started)
{
        struct metrics *metrics = worker->service->metrics;
        const struct stream_batch *batch = &worker->reader.batch;
        const struct work *work = &worker->work;
        uint64_t now = (uint64_t)clock_wall_ms(), oldest = now; /* an id may be any 64 bits */
        for (size_t i = 0; i < batch->count; i++) {
                if (batch->entries[i].ms < oldest)
                        oldest = batch->entries[i].ms;
                if (!batch->entries[i].left)
                        metrics_add(metrics, &stage_messages, 1, batch->entries[i].stream, NULL, NULL);
        }
        metrics_add(metrics, &stage_events_processed, (double)work->units, NULL, NULL, NULL);
        metrics_add(metrics, &stage_events_failed, (double)work->units_failed, NULL, NULL, NULL);
        metrics_observe(metrics, &stage_batch_size, (double)(work->units + work->units_failed), NULL, NULL, NULL);
        metrics_observe(metrics, &stage_processing_seconds, (double)(clock_ms() - started) / 1000.0, NULL, NULL, NULL);
        metrics_observe(metrics, &stage_entry_delay, (double)(now - oldest) / 1000.0, NULL, NULL, NULL);
        const double since_block = (double)now / 1000.0 - (double)work->newest_block_s; /* a chain's clock may be ahead */
        if (work->newest_block_s)
                metrics_observe(metrics, &stage_block_delay, since_block > 0 ? since_block : 0, NULL, NULL, NULL);
}

/* Where a stage reads events, a batch from a backlog names buckets (spec "In a backlog"); a later stage's keys name them as they
 * came. */
static int publish_and_ack(struct worker *worker)
{
        struct work *work = &worker->work;
        bool backlog = false;
        int r = service_reads_keys(worker->service) ? 0 : reader_is_in_backlog(&worker->reader, &backlog);
        if (r)
                return r;
        if (backlog)
                keys_fold_to_buckets(work);
        else
                work_fold_keys(work);
        const char *target = worker->service->shared->output;
        struct stream_outcome outcome = {
                .target = target,
                .keys = work->keys,
                .key_count = target ? work->key_count : 0,
                .dead_letters = work->dead_letters,
                .dead_letter_count = work->dead_letter_count,
        };
        r = stream_finish(&worker->reader.consumer, &worker->reader.batch, &outcome);
        if (!r && outcome.unpublished)
                log_write(LOG_WARN,
                        "Redis is out of memory: acked without publishing; the backfill does that from the outbox later",
                        "worker=%d keys=%zu dead_letters=%zu", worker->number, outcome.key_count, outcome.dead_letter_count);
        else if (!r)
                report_dead_letters(worker);
        return r;
}

static int fail_batch(const struct worker *worker, const char *message, const char *error)
{
        const struct stream_batch *batch = &worker->reader.batch;
        log_write(health_note_failure(worker->service, error), message, "worker=%d messages=%zu first=%s/%s error=%s",
                worker->number, batch->count, batch->entries[0].stream, batch->entries[0].id, error);
        return -1;
}

static int process(struct worker *worker)
{
        int64_t started = clock_ms();
        struct work *work = &worker->work;
        int r = connect_db(worker);
        if (r)
                return r;
        work->db = worker->db;
        work->key_count = work->dead_letter_count = work->units = work->units_failed = 0;
        work->newest_block_s = 0;
        add_lost_entries(worker);
        if (worker->service->program->process(work))
                return fail_batch(worker, "batch failed in PostgreSQL; it is tried again", db_error(worker->db));
        if (connect_redis(worker)) /* it may have closed the connection, which was idle meanwhile */
                return -1;
        const char *problem;
        if (ownership_confirm(worker->service, worker->place, worker->reader.consumer.redis, &problem)) {
                worker->redis_failed = true;
                return fail_batch(worker, "batch is committed but not acked", problem);
        }
        if (publish_and_ack(worker)) {
                worker->redis_failed = true;
                return fail_batch(worker, "batch is committed but not acked; it is tried again",
                        redis_error(worker->reader.consumer.redis));
        }
        worker->used_ms = clock_ms();
        health_note_success(worker->service);
        count_batch(worker, started);
        return 0;
}

static int read_batch(struct worker *worker)
{
        int r = reader_read(&worker->reader);
        worker->redis_failed = r < 0;
        if (r < 0)
                log_write(health_note_failure(worker->service, redis_error(worker->reader.consumer.redis)),
                        "reading failed; it is tried again", "worker=%d error=%s", worker->number,
                        redis_error(worker->reader.consumer.redis));
        return r;
}

/* ---- steps ---- */

enum { STEP_IDLE = 1 }; /* nothing was there: says nothing about the servers' health */

/* The connections that this worker had may have died long ago: a probe makes new ones, and touches both servers. */
static int probe(struct worker *worker)
{
        char why[SERVER_WHY_SIZE];
        const struct stream_consumer *consumer = &worker->reader.consumer;
        worker->db = db_close(worker->db);
        reader_disconnect(&worker->reader);
        int r = connect_redis(worker);
        if (!r)
                r = connect_db(worker);
        if (r)
                return r;
        worker->redis_failed = stream_probe(consumer->redis, consumer->streams[0], consumer->group) != 0;
        if (!worker->redis_failed && !service_probe_db(worker->db, CONNECT_TIMEOUT_MS, why))
                return 0;
        log_write(LOG_WARN, "the circuit breaker's probe failed", "worker=%d server=%s error=%s", worker->number,
                worker->redis_failed ? "redis" : "postgresql",
                worker->redis_failed ? redis_error(worker->reader.consumer.redis) : why);
        return -1;
}

static int step(struct worker *worker)
{
        const bool had_redis = worker->reader.consumer.redis;
        worker->redis_failed = worker->stale = false;
        arena_reset(&worker->arena);
        if (breaker_get(&worker->service->breaker) != BREAKER_CLOSED)
                return probe(worker);
        int r = connect_redis(worker);
        if (!r) {
                r = read_batch(worker);
                worker->stale = had_redis && clock_ms() - worker->used_ms > STALE_MS;
        }
        if (!r && (!worker->reader.batch.count || !atomic_load(&worker->service->owns)))
                return STEP_IDLE; /* what was read of another database's group stays pending, for it */
        if (!r)
                r = process(worker);
        reader_end_batch(&worker->reader, r);
        return r;
}

static void note_success(struct worker *worker)
{
        backoff_reset(&worker->backoff);
        if (breaker_succeed(&worker->service->breaker) == BREAKER_HALF_OPEN)
                log_write(LOG_INFO, "circuit breaker closed", NULL);
}

static void note_failure(struct worker *worker)
{
        struct breaker *breaker = &worker->service->breaker;
        enum breaker_state before = breaker_get(breaker);
        disconnect(worker);
        if (worker->stale && before == BREAKER_CLOSED) {
                worker->used_ms = clock_ms();
                return; /* it is made anew at once; that one's failure counts */
        }
        metrics_add(worker->service->metrics, &stage_retries, 1, NULL, NULL, NULL);
        if (breaker_fail(breaker, clock_ms()) == BREAKER_OPEN && before != BREAKER_OPEN)
                log_write(LOG_ERROR, "circuit breaker open", "probe_in_ms=%" PRId64, settings(worker)->breaker_timeout_ms);
        reader_rest(&worker->reader, backoff_next(&worker->backoff));
}

/* After a stop request pending entries are still worked off, while both servers are there. */
static bool goes_on(const struct worker *worker)
{
        return !stop_requested() || (worker->reader.pass && reader_is_connected(&worker->reader) && worker->db);
}

static void *worker_run(void *argument)
{
        struct worker *worker = argument;
        while (goes_on(worker)) {
                if (!atomic_load(&worker->service->owns)) { /* its entries are for whoever reads the group now */
                        if (stop_requested())
                                break;
                        worker->db = db_close(worker->db);
                        reader_disconnect(&worker->reader);
                        reader_rest(&worker->reader, REFUSED_MS);
                        continue;
                }
                reader_keep(&worker->reader);
                int64_t pause = breaker_ask(&worker->service->breaker, clock_ms());
                if (pause && stop_requested())
                        break;
                if (pause) {
                        reader_rest(&worker->reader, pause > 1000 ? 1000 : pause);
                        continue;
                }
                int r = step(worker);
                if (r < 0)
                        note_failure(worker);
                else if (r != STEP_IDLE)
                        note_success(worker);
        }
        return NULL;
}

/* ---- lifetime ---- */

void worker_open_work(struct work *work, struct service *service, struct arena *arena)
{
        *work = (struct work){
                .config = service->config,
                .state = service->program->state_new(service->config),
                .arena = arena,
                .metrics = service->metrics,
                .mutexes = service->mutexes,
                .deadline_ms = service->shared->processing_timeout_ms,
                .max_retries = service->shared->max_retries,
        };
}

void worker_close_work(struct work *work, const struct service *service)
{
        service->program->state_free(work->state);
        arena_deinit(work->arena);
        work_deinit(work);
}

static void worker_free(struct worker *worker)
{
        reader_deinit(&worker->reader);
        worker_close_work(&worker->work, worker->service);
        db_close(worker->db);
        free(worker);
}

int worker_start(struct worker **out, struct service *service, int number)
{
        struct worker *worker = memory_new(1, sizeof(*worker));
        worker->service = service;
        worker->number = number;
        snprintf(worker->name, sizeof(worker->name), "%s-%d", service->shared->consumer_name, number);
        reader_init(&worker->reader, service, number, worker->name);
        worker_open_work(&worker->work, service, &worker->arena);
        worker->work.batch = &worker->reader.batch;
        backoff_init(&worker->backoff, BACKOFF_FIRST_MS, BACKOFF_LAST_MS, (uint64_t)clock_wall_ms() + (uint64_t)number);
        atomic_store(&service->alive_ms[number], clock_ms());
        int r = pthread_create(&worker->thread, NULL, worker_run, worker);
        if (r) {
                worker_free(worker);
                return -r;
        }
        *out = worker;
        return 0;
}

void worker_join(struct worker *worker)
{
        pthread_join(worker->thread, NULL);
        worker_free(worker);
}
