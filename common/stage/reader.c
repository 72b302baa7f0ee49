#include "common/stage/reader.h"

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
#include "common/stage/stage.h"
#include "common/stream/state.h"

#define BLOCK_SLICE_MS    500 /* a stop never waits longer for an idle read */
#define FIRST_READ        5   /* entries of a first read: their size decides how many more fit */
#define FAIR_READ         8
#define SLOW_RETRY_MS     5000
#define GATHER_QUIET_MS   400
#define GATHER_LONGEST_MS 5000
#define GATHER_ENTRIES    10000 /* of 1 KB each: what a worker's memory holds */

static const struct config *settings(const struct reader *reader)
{
        return reader->service->shared;
}

static size_t index_of(const struct reader *reader, const char *stream)
{
        size_t s = 0;
        while (reader->consumer.streams[s] != stream)
                s++;
        return s;
}

/* ---- passes ---- */

static void begin_pass(struct reader *reader)
{
        reader->pass = true;
        reader->pass_again = false;
        reader->one_by_one = false;
        for (size_t i = 0; i < reader->streams; i++)
                snprintf(reader->passed[i], sizeof(reader->passed[i]), "0-0");
}

/* After a failure an entry that was delivered over and over is read alone: it may be the one at fault. */
static void begin_careful_pass(struct reader *reader)
{
        begin_pass(reader);
        reader->one_by_one = true;
}

/* Entries became pending, or due: a pass under way may have gone by them. */
static void want_pass(struct reader *reader)
{
        if (reader->pass)
                reader->pass_again = true;
        else
                begin_pass(reader);
}

static void note_passed(struct reader *reader)
{
        for (size_t i = 0; i < reader->batch.count; i++) {
                size_t s = index_of(reader, reader->batch.entries[i].stream);
                snprintf(reader->passed[s], sizeof(reader->passed[s]), "%s", reader->batch.entries[i].id);
        }
}

/* ---- staying alive ---- */

void reader_keep(void *context)
{
        struct reader *reader = context;
        atomic_store(&reader->service->alive_ms[reader->number], clock_ms());
        if (!reader->consumer.redis || clock_ms() < reader->keep_due)
                return;
        reader->keep_due = clock_ms() + settings(reader)->claim_idle_ms / 3;
        (void)!stream_keep(&reader->consumer); /* a failure shows at the next read or ack */
}

void reader_rest(struct reader *reader, int64_t ms)
{
        int64_t end = clock_ms() + ms;
        for (int64_t left = ms; left > 0; left = end - clock_ms()) {
                if (stop_wait(left > 500 ? 500 : left))
                        return;
                reader_keep(reader);
        }
}

/* ---- sizes ---- */

static size_t estimate_units(const struct reader *reader, const struct stream_entry *entry)
{
        const struct program *program = reader->service->program;
        return program->estimate ? program->estimate(entry) : 1;
}

static void note_bytes(struct reader *reader, size_t from)
{
        for (size_t i = from; i < reader->batch.count; i++) {
                const struct stream_entry *entry = &reader->batch.entries[i];
                stream_largest_note(&reader->largest[index_of(reader, entry->stream)], entry->bytes);
        }
}

/* The units of the batch's entries from this one on; their average and size by stream are noted for the next read. */
static size_t count_units(struct reader *reader, size_t from)
{
        size_t units = 0;
        note_bytes(reader, from);
        for (size_t s = 0; s < reader->streams; s++) {
                size_t entries = 0, sum = 0;
                for (size_t i = from; i < reader->batch.count; i++)
                        if (reader->batch.entries[i].stream == reader->consumer.streams[s]) {
                                sum += estimate_units(reader, &reader->batch.entries[i]);
                                entries++;
                        }
                if (entries)
                        reader->averages[s] = (sum + entries - 1) / entries;
                units += sum;
        }
        return units;
}

static size_t room_of(const struct reader *reader)
{
        return reader->batch.bytes < STREAM_BATCH_BYTES ? STREAM_BATCH_BYTES - reader->batch.bytes : 0;
}

/* COUNT of the next read, which is for each of the streams: what still fits. */
static size_t next_count(const struct reader *reader, const struct stream_consumer *consumer, size_t units)
{
        size_t max = (size_t)settings(reader)->batch_max, most = (size_t)settings(reader)->batch_size, sum = 0, bytes = 0;
        size_t streams = 0, known = 0;
        for (; consumer->streams[streams]; streams++) {
                size_t s = index_of(reader, consumer->streams[streams]);
                known += reader->averages[s] > 0;
                sum += reader->averages[s];
                bytes += reader->largest[s];
        }
        if (known < streams && most > FIRST_READ)
                most = FIRST_READ;
        if (!known && most > FIRST_READ / streams)
                most = FIRST_READ / streams;
        if (bytes && most > room_of(reader) / bytes)
                most = room_of(reader) / bytes;
        size_t count = units >= max ? 0 : sum ? (max - units) / sum : most;
        return count > most ? most ? most : 1 : count ? count : 1;
}

/* ---- new entries ---- */

/* One XREADGROUP within the rate limit, and in the lane where the stage has one. *read: how many entries came. */
static int read_once(struct reader *reader, const struct stream_consumer *consumer, size_t count, int64_t block_ms, size_t *read)
{
        struct limiter *limiter = &reader->service->limiter;
        size_t streams = 0;
        int64_t pause = 0;
        *read = 0;
        if (service_reads_keys(reader->service) && !lane_take(&reader->service->lane, reader->number, clock_ms())) {
                reader_rest(reader, block_ms < BLOCK_SLICE_MS ? block_ms : BLOCK_SLICE_MS);
                return 0;
        }
        while (consumer->streams[streams])
                streams++;
        size_t taken = limiter_take(limiter, count * streams, clock_ms(), &pause);
        if (!taken) {
                reader_rest(reader, pause < block_ms ? pause : block_ms);
                return 0;
        }
        count = taken / streams ? taken / streams : 1;
        atomic_store(&reader->service->alive_ms[reader->number], clock_ms());
        int r = stream_read(consumer, NULL, count, block_ms, &reader->batch, read);
        limiter_settle(limiter, taken, *read);
        return r;
}

/* *stream: one in which something waits, the likelier the more; NULL: nothing waits. So workers spread over the streams as the
 * backlog does. Looks for gaps first: a producer that trims a backlog takes more before each read, and Redis 8 passes over it. */
static int pick_stream(struct reader *reader, const char **stream)
{
        uint64_t sum = 0;
        *stream = NULL;
        for (size_t s = 0; s < reader->streams; s++) {
                int64_t known;
                int r = service_tell_gap(reader->service, reader->consumer.redis, reader->consumer.streams[s], &known);
                if (r)
                        return r;
                uint64_t lag = known < 0 ? 1 : (uint64_t)known;
                sum += lag;
                if (lag && backoff_random(&reader->random) % sum < lag)
                        *stream = reader->consumer.streams[s];
        }
        return 0;
}

/* Behind a full batch: from one stream alone, what is there. */
static int read_one_stream(struct reader *reader, size_t *units)
{
        const char *alone[2] = {NULL, NULL};
        struct stream_consumer consumer = reader->consumer;
        size_t max = (size_t)settings(reader)->batch_max, read = 0, count;
        int r = pick_stream(reader, &alone[0]);
        if (r || !alone[0])
                return r;
        consumer.streams = alone;
        do {
                size_t from = reader->batch.count;
                count = next_count(reader, &consumer, *units);
                r = read_once(reader, &consumer, count, 0, &read);
                *units += r ? 0 : count_units(reader, from);
        } while (!r && read == count && *units < max && room_of(reader) && !stop_requested());
        return r;
}

static int read_streams(struct reader *reader, size_t *units)
{
        const int64_t until = clock_ms() + settings(reader)->batch_timeout_ms;
        size_t max = (size_t)settings(reader)->batch_max, read = 0;
        int64_t left;
        do {
                size_t from = reader->batch.count, count = next_count(reader, &reader->consumer, *units);
                left = until - clock_ms();
                int64_t block = reader->batch.count || left <= 0 ? 0 : left > BLOCK_SLICE_MS ? BLOCK_SLICE_MS : left;
                int r = read_once(reader, &reader->consumer, count, block, &read);
                if (r)
                        return r;
                *units += count_units(reader, from);
        } while (!stop_requested() && clock_ms() < reader->claim_due && *units < max && room_of(reader) &&
                 (read || (!reader->batch.count && left > 0)));
        return 0;
}

/* Whether all entries from this one on come from a backlog. *distinct: buckets that the batch names. */
static bool are_backlog(const struct reader *reader, size_t from, bool seen[KEYS_BUCKETS], size_t *distinct)
{
        unsigned bucket;
        for (size_t i = from; i < reader->batch.count; i++) {
                if (!keys_entry_is_backlog(&reader->batch.entries[i], &bucket))
                        return false;
                *distinct += !seen[bucket];
                seen[bucket] = true;
        }
        return true;
}

/* The backfill must not take for lost what waits for us: half of its interval at most. */
static int gather(struct reader *reader)
{
        const int64_t half = settings(reader)->backfill_interval_ms / 2, begun = clock_ms();
        const int64_t longest = half < GATHER_LONGEST_MS ? half : GATHER_LONGEST_MS;
        bool seen[KEYS_BUCKETS] = {false};
        size_t distinct = 0, from = 0, read;
        int64_t now, last = begun;
        while ((now = clock_ms()) < begun + longest && now < last + GATHER_QUIET_MS && !stop_requested() &&
                are_backlog(reader, from, seen, &distinct) && distinct < (size_t)settings(reader)->batch_max &&
                reader->batch.count < GATHER_ENTRIES) {
                int64_t left = begun + longest < last + GATHER_QUIET_MS ? begun + longest - now : last + GATHER_QUIET_MS - now;
                from = reader->batch.count;
                reader_keep(reader);
                int r = read_once(reader, &reader->consumer, (size_t)settings(reader)->batch_size, left, &read);
                if (r)
                        return r;
                if (read)
                        last = clock_ms();
        }
        return 0;
}

static int read_new(struct reader *reader)
{
        bool one = reader->full && reader->streams > 1 && ++reader->full_reads % FAIR_READ;
        size_t units = 0;
        int r = one ? read_one_stream(reader, &units) : 0;
        if (!r && !reader->batch.count)
                r = read_streams(reader, &units);
        reader->full = units >= (size_t)settings(reader)->batch_max;
        if (!r && reader->batch.count && service_reads_keys(reader->service))
                r = gather(reader);
        return r;
}

/* ---- pending entries ---- */

static void tell_lost(void *context, const char *stream, const char *id)
{
        struct reader *reader = context;
        log_write(LOG_ERROR, "entry lost: it was trimmed away while it was pending", "stream=%s id=%s", stream, id);
        metrics_add(reader->service->metrics, &stage_lost_entries, 1, stream, NULL, NULL);
        metrics_add(reader->service->metrics, &stage_dead_letters, 1, "lost", NULL, NULL);
}

static int claim_when_due(struct reader *reader)
{
        size_t claimed = 0;
        if (clock_ms() < reader->claim_due)
                return 0;
        reader->claim_due = clock_ms() + settings(reader)->claim_idle_ms / 2 + 1;
        int r = stream_claim(&reader->consumer, settings(reader)->claim_idle_ms, &claimed);
        want_pass(reader); /* what is pending and was not claimed now is this consumer's: nobody else takes it up */
        if (r < 0 || !claimed)
                return r;
        log_write(LOG_INFO, "claimed entries of another consumer", "worker=%d entries=%zu", reader->number, claimed);
        metrics_add(reader->service->metrics, &stage_claims, (double)claimed, NULL, NULL, NULL);
        reader->claim_due = clock_ms(); /* there may be more */
        return r;
}

static int read_pending(struct reader *reader)
{
        int64_t deliveries = 0;
        size_t read = 0, count = next_count(reader, &reader->consumer, 0), place = 0;
        struct stream_consumer consumer = reader->consumer;
        const char *const *after = reader->after;
        int r = stream_pending_deliveries(&consumer, after, &deliveries, &place);
        const char *alone[2] = {r ? NULL : consumer.streams[place]};
        if (reader->one_by_one && deliveries > settings(reader)->max_retries) {
                consumer.streams = alone;
                after += place;
                count = 1;
        }
        if (!r && deliveries)
                r = stream_read(&consumer, after, count, 0, &reader->batch, &read);
        if (r)
                return r;
        (void)count_units(reader, 0);
        note_passed(reader);
        reader->pass = read > 0;
        if (!read && reader->pass_again)
                begin_pass(reader);
        return 0;
}

/* ---- a batch ---- */

static int make_groups(struct reader *reader)
{
        const char *problem;
        if (ownership_take(reader->service, reader->consumer.redis, NULL, &problem))
                return -1;
        for (size_t i = 0; i < reader->streams; i++) {
                int r = stream_group_create(reader->consumer.redis, reader->consumer.streams[i], reader->consumer.group);
                if (!r) /* before anything behind it is read */
                        r = service_tell_gap(reader->service, reader->consumer.redis, reader->consumer.streams[i], NULL);
                if (r)
                        return r;
        }
        return 0;
}

int reader_read(struct reader *reader)
{
        const bool more = !stop_requested();
        stream_batch_reset(&reader->batch);
        int r = more ? claim_when_due(reader) : 0;
        if (more && reader->slow_due && clock_ms() >= reader->slow_due) {
                reader->slow_due = 0;
                want_pass(reader);
        }
        if (!r && reader->pass)
                r = read_pending(reader);
        if (!r && more && !reader->pass && !reader->batch.count)
                r = read_new(reader);
        if (r == STREAM_NO_GROUP) { /* a pass goes on: the other streams' entries are still pending */
                const char *error = redis_error(reader->consumer.redis);
                log_write(health_note_failure(reader->service, error), "a stream or its group is gone; made again at its start",
                        "worker=%d error=%s", reader->number, error);
                r = make_groups(reader);
        }
        return r;
}

void reader_end_batch(struct reader *reader, bool failed)
{
        bool left = false;
        for (size_t i = 0; i < reader->batch.count; i++)
                left = left || reader->batch.entries[i].left;
        if (left)
                reader->slow_due = clock_ms() + SLOW_RETRY_MS;
        if (failed) {
                lane_leave(&reader->service->lane, reader->number);
                begin_careful_pass(reader);
        }
}

int reader_is_in_backlog(struct reader *reader, bool *backlog)
{
        *backlog = false;
        for (size_t s = 0; reader->full && !reader->batch.redelivered && s < reader->streams && !*backlog; s++) {
                int r = stream_has_unread(reader->consumer.redis, reader->consumer.streams[s], reader->consumer.group, backlog);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* ---- lifetime ---- */

int reader_connect(struct reader *reader, int64_t timeout_ms, char **problem)
{
        if (reader->consumer.redis)
                return 0;
        int r = service_open_redis(reader->service, &reader->consumer.redis, timeout_ms, problem);
        if (r)
                return r;
        begin_careful_pass(reader);
        r = make_groups(reader);
        if (!r)
                return 0;
        *problem = memory_copy(atomic_load(&reader->service->owns) ? redis_error(reader->consumer.redis)
                                                                   : "the consumer group is another database's");
        reader_disconnect(reader);
        return r;
}

void reader_disconnect(struct reader *reader)
{
        reader->consumer.redis = redis_close(reader->consumer.redis);
}

bool reader_is_connected(const struct reader *reader)
{
        return reader->consumer.redis && redis_alive(reader->consumer.redis);
}

void reader_init(struct reader *reader, struct service *service, int number, const char *name)
{
        *reader = (struct reader){
                .service = service,
                .number = number,
                .random = (uint64_t)clock_wall_ms() + (uint64_t)number,
                .consumer = {.group = service->shared->group,
                        .name = name,
                        .streams = service->shared->inputs,
                        .stage = service->program->name,
                        .dead_letter_stream = service->shared->dead_letter_stream,
                        .lost = tell_lost,
                        .context = reader},
        };
        while (reader->consumer.streams[reader->streams])
                reader->streams++;
        reader->passed = memory_new(reader->streams, sizeof(*reader->passed));
        reader->after = memory_new(reader->streams + 1, sizeof(*reader->after));
        reader->averages = memory_new(reader->streams, sizeof(*reader->averages));
        reader->largest = memory_new(reader->streams, sizeof(*reader->largest));
        for (size_t i = 0; i < reader->streams; i++) {
                reader->after[i] = reader->passed[i];
                reader->averages[i] = service->program->estimate ? 0 : 1;
        }
        begin_pass(reader);
}

void reader_deinit(struct reader *reader)
{
        stream_batch_deinit(&reader->batch);
        reader_disconnect(reader);
        free(reader->after);
        free(reader->averages);
        free(reader->largest);
        free(reader->passed);
}
