/*
 * Redis streams as one consumer of a consumer group sees them: read, claim, keep fresh. What a batch leaves behind is in
 * outcome.h, what operators look at in state.h.
 * Source: https://redis.io/docs/data-types/streams/ and the commands' pages, as of Redis 7.0.
 *
 * Delivery is at least once: a reader must be idempotent. An entry stays pending until stream_finish acks it.
 */
#pragma once

#include <stdbool.h>
#include "common/base/arena.h"
#include "common/io/redis.h"

/* The error of a dead letter of the class lost. */
#define STREAM_LOST "the entry was trimmed away while it was pending: its data is lost at this stage"

enum { STREAM_NO_GROUP = 1 }; /* the stream or its group vanished: make it again, read again */

/* Redis refuses an interval behind it. */
#define STREAM_ID_MAX "18446744073709551615-18446744073709551615"

/* An entry's id is ms-seq. */
struct stream_position {
        uint64_t ms, seq;
};
/* <0, 0, >0 */
int stream_position_compare(struct stream_position left, struct stream_position right);
struct stream_position stream_position_parse(const char *id);
bool stream_position_is_text(const char *text); /* what a person gave: MS or MS-SEQ, 64 bits each */

struct stream_entry {
        const char *stream; /* the caller's own text, as handed to stream_read */
        const char *id;     /* ms-seq */
        uint64_t ms, seq;
        const struct redis_reply *fields; /* NULL: its data was trimmed away while it was pending */
        size_t bytes;                     /* of its fields */
        bool left;                        /* stays pending: stream_finish does not ack it */
};

/* A batch asks for no more, by the largest entries that came before; decoding takes a multiple. */
#define STREAM_BATCH_BYTES 4194304

/* Entries of several reads, and the replies they point into. */
struct stream_batch {
        struct stream_entry *entries;
        size_t count, capacity;
        struct redis_reply **replies;
        size_t reply_count, reply_capacity;
        size_t bytes;     /* of all its entries' fields */
        size_t largest;   /* entry in bytes, of this batch and those before it in the same place; see stream_largest_note */
        bool redelivered; /* delivered before: their effects may be committed, published, or neither */
};

void stream_batch_reset(struct stream_batch *batch);
void stream_batch_deinit(struct stream_batch *batch);
/* Appends the entries of a reply of XRANGE's form; the batch then owns the reply only after stream_batch_keep. -1: it has no such
 * form, and some may have been added. */
MUST_CHECK int stream_batch_add(struct stream_batch *batch, const char *stream, const struct redis_reply *entries);
void stream_batch_keep(struct stream_batch *batch, struct redis_reply *reply);
/* An entry from parts, which stay the caller's. */
struct stream_entry stream_entry_make(const char *stream, const char *id, const struct redis_reply *fields);
/* Notes an entry's bytes as those of the largest one lately: more of its kind are likely, for a while. */
void stream_largest_note(size_t *largest, size_t bytes);
/* The value of a field, borrowed; NULL where the entry has none of that name. */
const char *stream_entry_field(const struct stream_entry *entry, const char *name, size_t *size);
/* The JSON of an entry: its field payload, else event_data, else data; NULL: it has none of them. */
const char *stream_entry_payload(const struct stream_entry *entry, size_t *size);

struct stream_consumer {
        struct redis *redis;
        const char *group, *name;
        const char *const *streams;             /* NULL-ended */
        const char *stage, *dead_letter_stream; /* of its dead letters */
        /* called for each entry found trimmed away while it was pending, after its dead letter is written */
        void (*lost)(void *context, const char *stream, const char *id);
        void *context;
};

/*
 * Appends to batch: new entries (after NULL; waits up to block_ms for the first, 0: not at all), or this consumer's own
 * pending ones behind the id that `after` has for each stream. At most count a stream. *read: how many entries came.
 */
MUST_CHECK int stream_read(const struct stream_consumer *consumer, const char *const *after, size_t count, int64_t block_ms,
        struct stream_batch *batch, size_t *read);
/* The greatest number of deliveries among the consumer's oldest pending entries behind `after`, one a stream, and that stream's
 * index; 0: nothing is pending there. */
MUST_CHECK int stream_pending_deliveries(
        const struct stream_consumer *consumer, const char *const *after, int64_t *deliveries, size_t *stream);
/* Takes over entries that others left pending for idle_ms; they become this consumer's own pending ones. *claimed: how many. */
MUST_CHECK int stream_claim(const struct stream_consumer *consumer, int64_t idle_ms, size_t *claimed);
/* Makes all that is pending for this consumer fresh, so that nobody claims it. */
MUST_CHECK int stream_keep(const struct stream_consumer *consumer);
