#include "worker.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "ahead.h"
#include "backoff.h"
#include "clock.h"
#include "common_sql.h"
#include "limiter.h"
#include "log.h"
#include "migrations/schema.h"
#include "stage.h"

#define CONNECT_TIMEOUT_MS 5000
#define REDIS_TIMEOUT_MS   10000
#define BLOCK_SLICE_MS     500 /* a stop never waits longer for an idle read */
#define FIRST_READ         5   /* messages a stream of a worker's first read: their size decides how many more fit */
#define FAIR_READ          8   /* of so many batches from a backlog one is of the next stream in turn */
#define SLOW_RETRY_MS      5000
#define GATHER_FROM_MS     25
#define GATHER_EASE_MS     16 /* a batch of so many ms would rest as long as it took, one of twice as many twice as long as that */
#define GATHER_LONGEST_MS  3000
#define BACKLOG_LATE_MS    1000 /* what has waited for less is no backlog but a busy chain */
#define BACKLOG_LONGEST_MS 5000 /* a stage rests, at most, behind one that works off a backlog, */
#define BACKLOG_FACTOR     20   /* and so many times as long as its batch took: longer saves little */
#define LOOK_TIMEOUT_MS    500
#define GATHER_LOOK_MS     25
#define SEAT_LOOK_MS       100
#define SEAT_STUCK_MS      3000 /* who is at one batch for so long keeps no other from its seat */
#define IDLE_LOOKS         20   /* in so many nobody worked at what waits ahead: nobody is there */
#define BEGIN_MS           250  /* for the first stage to say what it reads */
#define STALE_MS           1000 /* a connection that was not used for so long may have died meanwhile */
#define ALONE_MS           5000 /* so long has one worker to work off what waits, before the others join */

struct worker {
        struct service *service;
        pthread_t thread;
        unsigned number;
        char name[512];
        struct redis *redis;
        struct db *db;
        struct stream_consumer consumer;
        struct stream_batch batch;
        struct arena arena;
        struct work work;
        struct backoff backoff;
        bool recover;                /* own pending entries may be waiting: read them first, in a pass from the oldest on */
        bool again;                  /* after the pass, one more: more came while it was under way */
        char (*passed)[80];          /* how far the pass is, one id a stream */
        const char **after;          /* the same, for stream_read */
        bool connected;              /* was once: a new connection counts as a reconnect */
        bool redis_failed;           /* in the step under way */
        bool stale;                  /* it met connections that had not been used for STALE_MS */
        int64_t used_ms;             /* monotonic: when both were last known to work */
        bool full, was_full;         /* the last read of new entries, and the one before, took as many as a batch may hold */
        size_t streams, average;     /* units of a message, lately; 0: not known */
        size_t *averages;            /* the same by stream, as far as backlogs were read */
        size_t backlogs;             /* batches that were read from one */
        int64_t claim_due, keep_due; /* monotonic ms */
        int64_t slow_due;            /* when entries left pending for being slow are tried again; 0: there are none */
};

static const struct config *settings(const struct worker *worker)
{
        return worker->service->shared;
}

/* A slow entry is tried once a pass: what is pending behind it does not wait for it. */
static void begin_pass(struct worker *worker)
{
        worker->recover = true;
        worker->again = false;
        for (size_t i = 0; i < worker->streams; i++)
                snprintf(worker->passed[i], sizeof(worker->passed[i]), "0-0");
}

/* Entries became pending, or due: the pass under way may have gone by them. */
static void pass_again(struct worker *worker)
{
        if (worker->recover)
                worker->again = true;
        else
                begin_pass(worker);
}

/* ---- staying alive while waiting ---- */

static void show_life(struct worker *worker)
{
        atomic_store(&worker->service->alive_ms[worker->number], clock_ms());
}

static void keep_pending(void *context)
{
        struct worker *worker = context;
        show_life(worker);
        if (!worker->redis || clock_ms() < worker->keep_due)
                return;
        worker->keep_due = clock_ms() + settings(worker)->claim_idle_ms / 3;
        (void)!stream_keep(&worker->consumer); /* a failure shows at the next read or ack */
}

/* Waits for ms or until asked to stop, keeping the pending entries fresh. */
static void rest(struct worker *worker, int64_t ms)
{
        int64_t end = clock_ms() + ms;
        for (int64_t left = ms; left > 0; left = end - clock_ms()) {
                if (service_wait(left > 500 ? 500 : left))
                        return;
                keep_pending(worker);
        }
}

/* ---- connections ---- */

/*
 * After a failure the connections are made anew: what belongs to a session (a cached plan, a demoted server) heals with it. That
 * to a Redis which did not fail stays: through it the pending entries are kept while PostgreSQL is away.
 */
static void disconnect(struct worker *worker)
{
        worker->db = db_close(worker->db);
        if (!worker->redis_failed && worker->redis && redis_alive(worker->redis))
                return;
        worker->redis = redis_close(worker->redis);
        worker->consumer.redis = NULL;
}

static int fail_to_connect(struct worker *worker, const char *server, const char *problem)
{
        log_write(LOG_WARN, "cannot connect", "server=%s worker=%u error=%s", server, worker->number, problem);
        return -1;
}

static int make_groups(struct worker *worker)
{
        for (size_t i = 0; worker->consumer.streams[i]; i++) {
                int r = stream_group_create(worker->redis, worker->consumer.streams[i], worker->consumer.group);
                if (r)
                        return r;
        }
        return 0;
}

/* The schema may have moved on under a running program: a connection is only used with the one it knows. */
static int check_schema(struct worker *worker)
{
        int64_t version;
        char text[SCHEMA_EXPLAIN_SIZE];
        int r = schema_check(worker->db, &version);
        if (!r)
                return 0;
        schema_explain(worker->db, r, text);
        log_write(LOG_WARN, "the schema does not fit", "worker=%u error=%s", worker->number, text);
        return -1;
}

static int connect_redis(struct worker *worker)
{
        struct service *service = worker->service;
        AUTO(text) char *problem = NULL;
        if (worker->redis)
                return 0;
        if (service_open_redis(service, &worker->redis, REDIS_TIMEOUT_MS, &problem))
                return fail_to_connect(worker, "redis", problem);
        worker->consumer.redis = worker->redis;
        worker->used_ms = clock_ms();
        begin_pass(worker);
        if (worker->connected)
                metrics_add(service->metrics, &stage_reconnects, 1, "redis", NULL, NULL);
        int r = make_groups(worker);
        if (r) {
                worker->redis_failed = true;
                log_write(LOG_WARN, "cannot make the consumer groups", "worker=%u error=%s", worker->number,
                        redis_error(worker->redis));
        }
        return r;
}

static int connect_db(struct worker *worker)
{
        struct service *service = worker->service;
        AUTO(text) char *problem = NULL;
        if (worker->db)
                return 0;
        if (service_open_db(service, &worker->db, CONNECT_TIMEOUT_MS, keep_pending, worker, &problem))
                return fail_to_connect(worker, "postgresql", problem);
        if (check_schema(worker))
                return -1;
        if (worker->connected) {
                metrics_add(service->metrics, &stage_reconnects, 1, "postgresql", NULL, NULL);
                worker->used_ms = clock_ms();
        }
        worker->connected = true;
        return 0;
}

/* ---- reading ---- */

static void lost_entry(void *context, const char *stream, const char *id)
{
        struct worker *worker = context;
        log_write(LOG_ERROR, "entry lost: it was trimmed away while it was pending", "stream=%s id=%s", stream, id);
        metrics_add(worker->service->metrics, &stage_lost_entries, 1, stream, NULL, NULL);
        metrics_add(worker->service->metrics, &stage_dead_letters, 1, "lost", NULL, NULL);
}

static int claim_when_due(struct worker *worker)
{
        size_t claimed = 0;
        if (clock_ms() < worker->claim_due)
                return 0;
        worker->claim_due = clock_ms() + settings(worker)->claim_idle_ms / 2 + 1;
        int r = stream_claim(&worker->consumer, settings(worker)->claim_idle_ms, &claimed);
        if (r || !claimed)
                return r;
        log_write(LOG_INFO, "claimed entries of another consumer", "worker=%u entries=%zu", worker->number, claimed);
        metrics_add(worker->service->metrics, &stage_claims, (double)claimed, NULL, NULL, NULL);
        pass_again(worker);
        worker->claim_due = clock_ms(); /* there may be more */
        return 0;
}

static size_t weigh(const struct worker *worker, size_t from)
{
        const struct program *program = worker->service->program;
        size_t units = 0;
        for (size_t i = from; i < worker->batch.count; i++)
                units += program->weigh ? program->weigh(&worker->batch.entries[i]) : 1;
        return units;
}

static int64_t block_for(struct worker *worker, int64_t *waited)
{
        int64_t slice = settings(worker)->batch_timeout_ms - *waited;
        slice = slice > BLOCK_SLICE_MS ? BLOCK_SLICE_MS : slice;
        *waited += slice;
        return slice;
}

/* COUNT of the next read: what still fits, by the size of what came so far, or came last time. */
static size_t next_count(const struct worker *worker, size_t units)
{
        size_t max = (size_t)settings(worker)->batch_max, size = (size_t)settings(worker)->batch_size;
        size_t average = worker->batch.count ? (units + worker->batch.count - 1) / worker->batch.count : worker->average;
        size_t count = average ? (units < max ? max - units : 0) / average / worker->streams : FIRST_READ;
        return count < 1 ? 1 : count > size ? size : count;
}

/*
 * Own pending entries: what an earlier life, a failed batch or a claim left. One at a time where they were delivered over and
 * over. A pass goes over each of them once.
 */
static int read_pending(struct worker *worker)
{
        int64_t deliveries = 0;
        size_t read = 0, count = next_count(worker, 0), place = 0;
        struct stream_consumer consumer = worker->consumer;
        const char *const *after = worker->after;
        int r = stream_pending_deliveries(&consumer, after, &deliveries, &place);
        const char *alone[2] = {r ? NULL : consumer.streams[place]};
        if (deliveries > settings(worker)->max_retries) {
                consumer.streams = alone;
                after += place;
                count = 1;
        }
        if (!r && deliveries)
                r = stream_read(&consumer, after, count, 0, &worker->batch, &read);
        for (size_t i = 0; i < worker->batch.count; i++)
                for (size_t s = 0; s < worker->streams; s++)
                        if (worker->batch.entries[i].stream == worker->consumer.streams[s])
                                snprintf(worker->passed[s], sizeof(worker->passed[s]), "%s", worker->batch.entries[i].id);
        worker->recover = read > 0;
        if (!read && worker->again)
                begin_pass(worker);
        return r;
}

/* *place: the stream where most waits for each worker that is at it; now and then one in turn, so that none waits for the others.
 * -1: nothing waits. Where Redis does not know a lag something may. */
static int find_backlog(struct worker *worker, int *place)
{
        const size_t turn = ++worker->backlogs % FAIR_READ ? worker->streams
                                                           : (worker->number + worker->backlogs / FAIR_READ) % worker->streams;
        int64_t most = 0;
        *place = -1;
        for (size_t s = 0; s < worker->streams; s++) {
                struct stream_group group;
                int64_t there = 1;
                int r = stream_group_read(worker->redis, worker->consumer.streams[s], worker->consumer.group, &group);
                if (r)
                        return r;
                for (int64_t i = 0; i < settings(worker)->workers; i++)
                        there += atomic_load(&worker->service->at[i]) == (int)s + 1;
                int64_t lag = group.lag < 0 ? 1 : group.lag, share = lag / there;
                if (lag && s == turn) {
                        *place = (int)s;
                        return 0;
                }
                if (share <= most)
                        continue;
                most = share;
                *place = (int)s;
        }
        return 0;
}

/*
 * Behind a full batch more waits: then a batch is of one stream, for events of one kind cost less in one go, and of one where few
 * others are, whom it would meet at that kind's hot keys.
 */
static int read_backlog(struct worker *worker, size_t *units)
{
        struct stream_consumer consumer = worker->consumer;
        size_t max = (size_t)settings(worker)->batch_max, size = (size_t)settings(worker)->batch_size, read, count;
        int place, r = find_backlog(worker, &place);
        if (r || place < 0)
                return r;
        size_t *average = &worker->averages[place];
        const char *alone[2] = {worker->consumer.streams[place]};
        consumer.streams = alone;
        atomic_store(&worker->service->at[worker->number], place + 1);
        do {
                size_t from = worker->batch.count;
                show_life(worker);
                count = *average ? (max - *units) / *average : FIRST_READ;
                count = count < 1 ? 1 : count > size ? size : count;
                r = stream_read(&consumer, NULL, count, 0, &worker->batch, &read);
                if (r)
                        return r;
                *units += weigh(worker, from);
                *average = worker->batch.count ? (*units + worker->batch.count - 1) / worker->batch.count : *average;
        } while (read == count && *units < max && !service_stopping());
        return 0;
}

/* Reads of one batch: the first waits for something, the others take what is there, up to BATCH_MAX_EVENTS. */
static int read_new(struct worker *worker)
{
        size_t units = 0, read = 0, max = (size_t)settings(worker)->batch_max;
        int64_t waited = 0, pause = 0;
        if (worker->was_full && worker->streams > 1 && !settings(worker)->messages_per_second) {
                int r = read_backlog(worker, &units);
                worker->full = units >= max;
                if (r || worker->batch.count)
                        return r;
        }
        do {
                show_life(worker);
                size_t from = worker->batch.count, count = next_count(worker, units);
                size_t taken = limiter_take(&worker->service->limiter, count * worker->streams, clock_ms(), &pause);
                if (!taken && !worker->batch.count) {
                        rest(worker, pause > 500 ? 500 : pause);
                        return 0;
                }
                if (!taken)
                        return 0;
                count = taken / worker->streams ? taken / worker->streams : 1;
                int64_t block = worker->batch.count ? 0 : block_for(worker, &waited);
                int r = stream_read(&worker->consumer, NULL, count, block, &worker->batch, &read);
                limiter_settle(&worker->service->limiter, taken, read);
                if (r)
                        return r;
                units += weigh(worker, from);
                if (worker->batch.count)
                        worker->average = units / worker->batch.count;
        } while (!service_stopping() && clock_ms() < worker->claim_due && units < max &&
                 (read || (!worker->batch.count && waited < settings(worker)->batch_timeout_ms)));
        worker->full = units >= max;
        return 0;
}

/* ---- one batch ---- */

static void add_lost_letters(struct worker *worker)
{
        for (size_t i = 0; i < worker->batch.count; i++) {
                const struct stream_entry *entry = &worker->batch.entries[i];
                if (entry->fields)
                        continue;
                log_write(LOG_ERROR, "entry lost: it was trimmed away while it was pending", "stream=%s id=%s", entry->stream,
                        entry->id);
                work_add_letter(&worker->work, entry, "", "lost", STREAM_LOST, 0);
        }
}

static void report_letters(struct worker *worker)
{
        const struct work *work = &worker->work;
        for (size_t i = 0; i < work->letter_count; i++) {
                const struct stream_letter *letter = &work->letters[i];
                if (!letter->written)
                        continue; /* somebody else was there before */
                log_write(LOG_WARN, "dead letter", "stream=%s id=%s event_index=%s error_class=%s error=%s",
                        letter->entry->stream, letter->entry->id, letter->event_index, letter->error_class, letter->error);
                if (!strcmp(letter->error_class, "lost"))
                        metrics_add(worker->service->metrics, &stage_lost_entries, 1, letter->entry->stream, NULL, NULL);
                metrics_add(worker->service->metrics, &stage_dead_letters, 1, letter->error_class, NULL, NULL);
        }
}

static void count_batch(struct worker *worker, int64_t started)
{
        struct metrics *metrics = worker->service->metrics;
        const struct work *work = &worker->work;
        uint64_t now = (uint64_t)clock_wall_ms(), oldest = now; /* an id may be any 64 bits */
        for (size_t i = 0; i < worker->batch.count; i++) {
                if (worker->batch.entries[i].ms < oldest)
                        oldest = worker->batch.entries[i].ms;
                metrics_add(metrics, &stage_messages, 1, worker->batch.entries[i].stream, NULL, NULL);
        }
        metrics_add(metrics, &stage_events_processed, (double)work->units, NULL, NULL, NULL);
        metrics_add(metrics, &stage_events_failed, (double)work->units_failed, NULL, NULL, NULL);
        metrics_observe(metrics, &stage_batch_size, (double)(work->units + work->units_failed), NULL, NULL, NULL);
        metrics_observe(metrics, &stage_processing_seconds, (double)(clock_ms() - started) / 1000.0, NULL, NULL, NULL);
        metrics_observe(metrics, &stage_entry_delay, (double)(now - oldest) / 1000.0, NULL, NULL, NULL);
        if (work->newest_block_s)
                metrics_observe(
                        metrics, &stage_block_delay, (double)now / 1000.0 - (double)work->newest_block_s, NULL, NULL, NULL);
}

/* Notes what other replicas have published, from the stream itself. */
static int learn_queued(struct worker *worker, const char *target, struct stream_position seen)
{
        struct stream_batch batch = {0};
        char from[64];
        size_t read, count = 0;
        snprintf(from, sizeof(from), "(%" PRIu64 "-%" PRIu64, seen.ms, seen.seq);
        int r = stream_range(worker->redis, target, from, "+", (size_t)settings(worker)->batch_max, &batch, &read);
        struct stream_key *keys = arena_alloc(&worker->arena, (read + 1) * sizeof(*keys));
        for (size_t i = 0; !r && i < read; i++) {
                const char *term = stream_entry_field(&batch.entries[i], "term_id", NULL);
                if (term)
                        keys[count++] = (struct stream_key){.term_id = term,
                                .curve_id = stream_entry_field(&batch.entries[i], "curve_id", NULL),
                                .position = {batch.entries[i].ms, batch.entries[i].seq}};
        }
        queued_note(&worker->service->queued, keys, count, true);
        stream_batch_deinit(&batch);
        return r;
}

/* How many of the batch's keys, put in front, are to be published: under a backlog those that do not wait already. A redelivered
 * batch publishes all of them. Where Redis does not answer, so does this one: what comes next says so. */
static size_t sift_keys(struct worker *worker, const char *target)
{
        struct work *work = &worker->work;
        struct queued *queued = &worker->service->queued;
        struct stream_position seen;
        struct stream_group reader;
        work_fold_keys(work);
        if (!target || !work->key_count)
                return 0;
        if (worker->batch.redelivered || !queued_may_wait(queued) ||
                stream_group_read(worker->redis, target, settings(worker)->group, &reader) ||
                !queued_hear(queued, &reader, &seen) || learn_queued(worker, target, seen))
                return work->key_count;
        size_t count = queued_sift(queued, &reader, work->keys, work->key_count);
        metrics_add(worker->service->metrics, &stage_keys_waiting, (double)(work->key_count - count), NULL, NULL, NULL);
        return count;
}

static int finish(struct worker *worker)
{
        const struct program *program = worker->service->program;
        struct work *work = &worker->work;
        const char *target = program->output(work->config);
        const size_t key_count = sift_keys(worker, target);
        const struct stream_outcome outcome = {
                .target = target,
                .keys = work->keys,
                .key_count = key_count,
                .letters = work->letters,
                .letter_count = work->letter_count,
        };
        int r = stream_finish(&worker->consumer, &worker->batch, &outcome);
        if (!r) {
                queued_note(&worker->service->queued, work->keys, key_count, false);
                report_letters(worker);
        }
        return r;
}

/* A batch with entries that took too long is through but for them; they are tried again in a while, and meanwhile all else goes
 * on. Returns whether there are any. */
static bool leave_slow(struct worker *worker)
{
        bool left = false;
        for (size_t i = 0; i < worker->batch.count; i++)
                left = left || worker->batch.entries[i].left;
        if (left)
                worker->slow_due = clock_ms() + SLOW_RETRY_MS;
        return left;
}

/* ---- a busy stage works as one ---- */

/*
 * Where keys come again and again, whatever waits for one of them is done in one go, and two workers that meet at a hot key do
 * the same work twice. So a stage whose batches take long, since the machine or others of its kind are busy, works as one: a
 * single worker takes what waits, and rests in between, so that more gathers and those who are busy get on. Quick batches end
 * that, and so does the end of what waits in the pipeline's input: then all join. Where one worker does not get to the end of
 * what waits for ALONE_MS, the others join as well.
 */
static bool works_as_one(struct service *service)
{
        return service->program->gathers && clock_ms() < atomic_load(&service->gather_until_ms) + ALONE_MS;
}

static int look_ahead(struct worker *worker, struct ahead *ahead)
{
        int r = ahead_read(ahead, worker->db, worker->service->program->name, LOOK_TIMEOUT_MS);
        if (!r)
                atomic_store(&worker->service->replicas, ahead->replicas);
        return r;
}

/* A failure shows at the next read. */
static void note_flood(struct worker *worker)
{
        const int replicas = atomic_load(&worker->service->replicas);
        int64_t read = 0;
        for (size_t i = 0; i < worker->streams; i++) {
                struct stream_group group;
                if (stream_group_read(worker->redis, worker->consumer.streams[i], worker->consumer.group, &group))
                        return;
                read += group.read;
        }
        crew_note(&worker->service->crew, clock_ms(), read, replicas ? replicas : 1);
}

/* After a read of new entries; without PostgreSQL, which may take its time while a batch is in hand. */
static void look_for_flood(struct worker *worker)
{
        if (!worker->full)
                crew_read(&worker->service->crew);
        else if (crew_is_first(&worker->service->crew))
                note_flood(worker);
}

/* Where that fails, what was known last counts; and the failure shows at the next read. */
static void count_replicas(struct worker *worker)
{
        AUTO_AHEAD struct ahead ahead = {0};
        (void)!look_ahead(worker, &ahead);
}

static void note_flood_when_due(struct worker *worker)
{
        struct service *service = worker->service;
        if (!worker->full || works_as_one(service) || !crew_wants_note(&service->crew, clock_ms()))
                return;
        count_replicas(worker);
        note_flood(worker);
}

/* Nothing is to come any more for who gathered: all join for what waits, or behind a backlog the share of them. */
static void stop_gathering(struct worker *worker)
{
        struct service *service = worker->service;
        int64_t backlog = atomic_load(&service->backlog_ms);
        if (backlog && clock_ms() - backlog < BACKLOG_LONGEST_MS + ALONE_MS) {
                count_replicas(worker);
                note_flood(worker);
        }
        atomic_store(&service->gather_until_ms, -ALONE_MS);
}

/* Rests until it is time, or nothing is to come any more. */
static void gather(struct worker *worker, struct ahead *ahead, int64_t until_ms)
{
        int64_t left, waiting;
        int idle = 0;
        while ((left = until_ms - clock_ms()) > 0 && !service_stopping() && redis_alive(worker->redis)) {
                if (!ahead_is_known(ahead) || ahead_is_busy(ahead, worker->redis, worker->consumer.group, &waiting))
                        idle = 0;
                else if (!waiting || ++idle > IDLE_LOOKS) {
                        stop_gathering(worker);
                        return;
                }
                rest(worker, left > GATHER_LOOK_MS ? GATHER_LOOK_MS : left);
        }
}

static void gather_when_due(struct worker *worker)
{
        AUTO_AHEAD struct ahead ahead = {0};
        int64_t until = atomic_load(&worker->service->gather_until_ms);
        if (until > clock_ms() && !look_ahead(worker, &ahead))
                gather(worker, &ahead, until);
}

/* While the first stage works off a backlog it may be as long as that has waited: what is late anyway is not much later for it.
 * The backfill must not take for lost what waits for us. */
static int64_t backlog_pause(struct worker *worker, const struct ahead *ahead)
{
        const int64_t half = settings(worker)->backfill_interval_ms / 2;
        const int64_t longest = half < BACKLOG_LONGEST_MS ? half : BACKLOG_LONGEST_MS;
        int64_t age = ahead_is_known(ahead) ? ahead_backlog_age(ahead, worker->redis, worker->consumer.group) : 0;
        if (age >= BACKLOG_LATE_MS)
                atomic_store(&worker->service->backlog_ms, clock_ms());
        return age < BACKLOG_LATE_MS ? 0 : age < longest ? age : longest;
}

/* Until when to rest after a batch that took so long. Replicas gather side by side: each takes its time. */
static int64_t gather_until(struct worker *worker, const struct ahead *ahead, int64_t took_ms)
{
        int64_t pause = took_ms * took_ms / GATHER_EASE_MS * ahead->replicas, late = backlog_pause(worker, ahead);
        pause = pause > GATHER_LONGEST_MS ? GATHER_LONGEST_MS : pause;
        late = late > BACKLOG_FACTOR * took_ms ? BACKLOG_FACTOR * took_ms : late;
        return clock_ms() + (late > pause ? late : pause);
}

/* A stage that has just started does not meet a flood with all its workers: one looks what is ahead, if the first stage says it.
 */
static void begin(struct worker *worker)
{
        int64_t end = clock_ms() + BEGIN_MS, pause = 0;
        bool known = false;
        do {
                AUTO_AHEAD struct ahead ahead = {0};
                if (look_ahead(worker, &ahead))
                        break;
                known = ahead_is_known(&ahead);
                if (known)
                        pause = backlog_pause(worker, &ahead);
                else
                        rest(worker, GATHER_LOOK_MS);
        } while (!known && clock_ms() < end && !service_stopping());
        atomic_store(&worker->service->gather_until_ms, pause ? clock_ms() + pause : -ALONE_MS);
}

/* The crew's seats go to the lowest numbers, but for who is stuck. Whoever has a slow entry due has one in any case. */
static bool has_seat(struct worker *worker)
{
        const struct service *service = worker->service;
        int64_t now = clock_ms(), size = crew_size(&worker->service->crew, now), before = 0;
        for (unsigned i = 0; i < worker->number; i++) {
                int64_t begun = atomic_load(&service->begun_ms[i]);
                before += !begun || now - begun < SEAT_STUCK_MS;
        }
        return before < size || (worker->slow_due && now >= worker->slow_due);
}

/* A session of PostgreSQL costs: who is not to read for now does not begin one. The first worker does, and looks; and who has
 * entries pending from an earlier life. Returns whether to go on: not where it is asked to stop, or a server was lost meanwhile.
 */
static bool wait_to_be_needed(struct worker *worker)
{
        struct service *service = worker->service;
        int64_t deliveries;
        size_t place;
        if (!worker->number || stream_pending_deliveries(&worker->consumer, worker->after, &deliveries, &place) || deliveries)
                return true; /* a failure shows at the next read */
        atomic_store(&service->begun_ms[worker->number], 0);
        while (!service_stopping() && (works_as_one(service) || !has_seat(worker)))
                rest(worker, GATHER_LOOK_MS);
        return !service_stopping() && breaker_get(&service->breaker) == BREAKER_CLOSED;
}

static void note_begin(struct worker *worker)
{
        long long none = 0;
        (void)atomic_compare_exchange_strong(&worker->service->begun_ms[worker->number], &none, clock_ms());
}

/* Waits for the turn where the stage works as one, and rests; else for a seat in the crew. Returns whether this worker has the
 * turn, and has to give it back. */
static bool take_turn(struct worker *worker)
{
        struct service *service = worker->service;
        while (!service_stopping() && (works_as_one(service) || !has_seat(worker))) {
                if (!works_as_one(service)) {
                        rest(worker, SEAT_LOOK_MS);
                        continue;
                }
                if (!work_take_turn(&service->turns[0], GATHER_LOOK_MS)) {
                        keep_pending(worker);
                        continue;
                }
                if (!atomic_exchange(&service->has_begun, true))
                        begin(worker);
                gather_when_due(worker);
                if (works_as_one(service))
                        return true;
                pthread_mutex_unlock(&service->turns[0]);
        }
        return false;
}

/* After a batch. A full one leaves more behind: ALONE_MS runs on. */
static void plan_to_gather(struct worker *worker, int64_t took_ms)
{
        AUTO_AHEAD struct ahead ahead = {0};
        struct service *service = worker->service;
        bool goes_on = worker->full && !works_as_one(service);
        if (!service->program->gathers || took_ms < GATHER_FROM_MS || goes_on || service_stopping() || look_ahead(worker, &ahead))
                return;
        int64_t until = gather_until(worker, &ahead, took_ms);
        if (worker->full)
                gather(worker, &ahead, until);
        else
                atomic_store(&service->gather_until_ms, until);
}

static int process(struct worker *worker)
{
        int64_t started = clock_ms();
        struct work *work = &worker->work;
        work->db = worker->db;
        work->key_count = work->letter_count = work->units = work->units_failed = 0;
        work->newest_block_s = 0;
        worker->keep_due = started + settings(worker)->claim_idle_ms / 3;
        add_lost_letters(worker);
        int r = worker->service->program->process(work);
        if (r) {
                log_write(LOG_WARN, "batch failed in PostgreSQL; it is tried again",
                        "worker=%u messages=%zu first=%s/%s error=%s", worker->number, worker->batch.count,
                        worker->batch.entries[0].stream, worker->batch.entries[0].id, db_error(worker->db));
                return -1;
        }
        bool left = leave_slow(worker);
        r = finish(worker);
        if (r) {
                worker->redis_failed = true;
                log_write(LOG_WARN, "batch is committed but not acked; it is tried again",
                        "worker=%u messages=%zu first=%s/%s error=%s", worker->number, worker->batch.count,
                        worker->batch.entries[0].stream, worker->batch.entries[0].id, redis_error(worker->redis));
                return -1;
        }
        worker->used_ms = clock_ms();
        count_batch(worker, started);
        if (left) { /* time says nothing then, and no other has to wait for who meets such an entry again */
                crew_release(&worker->service->crew);
                atomic_store(&worker->service->gather_until_ms, -ALONE_MS);
                return 0;
        }
        plan_to_gather(worker, clock_ms() - started);
        note_flood_when_due(worker);
        return 0;
}

static int read_batch(struct worker *worker)
{
        bool more = !service_stopping();
        int r = more ? claim_when_due(worker) : 0;
        if (more && worker->slow_due && clock_ms() >= worker->slow_due) {
                worker->slow_due = 0;
                pass_again(worker);
        }
        if (!r && worker->recover)
                r = read_pending(worker);
        else if (!r && more && !(r = read_new(worker)))
                look_for_flood(worker);
        if (r == STREAM_NO_GROUP) {
                log_write(LOG_WARN, "a stream or its group is gone; made again at its start", "worker=%u error=%s",
                        worker->number, redis_error(worker->redis));
                r = make_groups(worker);
        }
        worker->redis_failed = r < 0;
        if (r < 0)
                log_write(LOG_WARN, "reading failed; it is tried again", "worker=%u error=%s", worker->number,
                        redis_error(worker->redis));
        return r < 0 ? r : 0;
}

/* A probe of the breaker has to touch both servers, also when no message waits. */
static int probe(struct worker *worker)
{
        const struct db_call call = {.sql = &sql_00_ping};
        worker->redis_failed = redis_call(worker->redis, NULL, "PING", NULL) != 0;
        if (!worker->redis_failed && !db_run(worker->db, &call, 1, DB_AUTOCOMMIT, CONNECT_TIMEOUT_MS))
                return 0;
        log_write(LOG_WARN, "the circuit breaker's probe failed", "worker=%u server=%s error=%s", worker->number,
                worker->redis_failed ? "redis" : "postgresql",
                worker->redis_failed ? redis_error(worker->redis) : db_error(worker->db));
        return -1;
}

enum { STEP_IDLE = 1 }; /* nothing was there: says nothing about the servers' health */

static int step(struct worker *worker)
{
        worker->redis_failed = false;
        bool probing = breaker_get(&worker->service->breaker) != BREAKER_CLOSED, fresh = !worker->redis && !worker->db;
        stream_batch_reset(&worker->batch);
        arena_reset(&worker->arena);
        atomic_store(&worker->service->at[worker->number], 0);
        worker->stale = false;
        if (probing) { /* what this worker had may have died long ago: that would say nothing of the servers */
                worker->db = db_close(worker->db);
                worker->redis = worker->consumer.redis = redis_close(worker->redis);
        }
        int r = connect_redis(worker);
        if (!r && !probing && !worker->connected && !wait_to_be_needed(worker))
                return STEP_IDLE;
        if (!r)
                r = connect_db(worker);
        if (!r && fresh && !worker->number && !worker->service->program->gathers) /* who gathers looks in begin */
                count_replicas(worker);
        if (!r && probing)
                r = probe(worker);
        worker->was_full = worker->full;
        worker->full = false;
        bool turn = !r && !probing && !worker->recover && take_turn(worker);
        if (!r && !probing && breaker_get(&worker->service->breaker) != BREAKER_CLOSED)
                r = STEP_IDLE; /* a server was lost while this one waited */
        if (!r) {
                note_begin(worker);
                r = read_batch(worker);
                worker->stale = clock_ms() - worker->used_ms > STALE_MS;
        }
        worker->work.alone = turn && works_as_one(worker->service) && atomic_load(&worker->service->replicas) == 1;
        if (!r && worker->batch.count)
                r = process(worker);
        else if (!r && !probing && !fresh)
                r = STEP_IDLE;
        if (turn)
                pthread_mutex_unlock(&worker->service->turns[0]);
        return r;
}

static void settle(struct worker *worker, int r)
{
        struct service *service = worker->service;
        if (r >= 0)
                atomic_store(&service->begun_ms[worker->number], 0);
        if (r == STEP_IDLE)
                return;
        if (!r) {
                backoff_reset(&worker->backoff);
                if (breaker_succeed(&service->breaker) == BREAKER_HALF_OPEN)
                        log_write(LOG_INFO, "circuit breaker closed", NULL);
        } else {
                note_begin(worker);
                begin_pass(worker);
                metrics_add(service->metrics, &stage_retries, 1, NULL, NULL, NULL);
                disconnect(worker);
                enum breaker_state before = breaker_get(&service->breaker);
                if (worker->stale && before == BREAKER_CLOSED)
                        return; /* it is made anew at once; how that goes counts */
                if (breaker_fail(&service->breaker, clock_ms()) == BREAKER_OPEN && before != BREAKER_OPEN)
                        log_write(
                                LOG_ERROR, "circuit breaker open", "probe_in_ms=%" PRId64, settings(worker)->breaker_timeout_ms);
                rest(worker, backoff_next(&worker->backoff));
        }
}

static void *worker_run(void *argument)
{
        struct worker *worker = argument;
        /* what is pending is worked off after a stop, too, while both servers are there */
        while (!service_stopping() || (worker->recover && worker->redis && worker->db)) {
                show_life(worker);
                int64_t pause = breaker_ask(&worker->service->breaker, clock_ms());
                if (pause && service_stopping())
                        break;
                if (pause)
                        rest(worker, pause > 1000 ? 1000 : pause);
                else
                        settle(worker, step(worker));
        }
        return NULL;
}

/* ---- lifetime ---- */

static void worker_free(struct worker *worker)
{
        const struct program *program = worker->service->program;
        stream_batch_deinit(&worker->batch);
        arena_deinit(&worker->arena);
        if (program->state_free)
                program->state_free(worker->work.state);
        work_deinit(&worker->work);
        redis_close(worker->redis);
        db_close(worker->db);
        free(worker->after);
        free(worker->averages);
        free(worker->passed);
        free(worker);
}

int worker_start(struct worker **out, struct service *service, unsigned number)
{
        const struct program *program = service->program;
        struct worker *worker = memory_new(1, sizeof(*worker));
        worker->service = service;
        worker->number = number;
        snprintf(worker->name, sizeof(worker->name), "%s-%u", service->shared->consumer_name, number);
        worker->consumer = (struct stream_consumer){
                .group = service->shared->group,
                .name = worker->name,
                .streams = program->inputs(service->config),
                .stage = program->name,
                .letter_stream = service->shared->letter_stream,
                .lost = lost_entry,
                .context = worker,
        };
        for (size_t i = 0; worker->consumer.streams[i]; i++)
                worker->streams++;
        worker->passed = memory_new(worker->streams, sizeof(*worker->passed));
        worker->after = memory_new(worker->streams + 1, sizeof(*worker->after));
        worker->averages = memory_new(worker->streams, sizeof(*worker->averages));
        for (size_t i = 0; i < worker->streams; i++)
                worker->after[i] = worker->passed[i];
        begin_pass(worker);
        worker->work = (struct work){
                .config = service->config,
                .state = program->state_new ? program->state_new(service->config) : NULL,
                .arena = &worker->arena,
                .batch = &worker->batch,
                .metrics = service->metrics,
                .turns = service->turns,
                .deadline_ms = service->shared->processing_timeout_ms,
                .max_retries = service->shared->max_retries,
        };
        backoff_init(&worker->backoff, 100, 5000, (uint64_t)clock_wall_ms() + number);
        show_life(worker);
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
