/*
 * Redis streams as one consumer of a consumer group sees them: read, claim, keep, publish and ack, trim.
 * Source: https://redis.io/docs/data-types/streams/ and the commands' pages, as of Redis 7.0.
 *
 * Delivery is at least once; whoever reads must be idempotent. Entries stay pending until stream_finish acks them.
 */
#pragma once

#include <stdbool.h>
#include "arena.h"
#include "redis.h"

/* What a dead letter of the class lost says. */
#define STREAM_LOST "the entry was trimmed away while it was pending: its data is lost at this stage"

enum { STREAM_NO_GROUP = 1 }; /* the stream or its group vanished: make it again, read again */

struct stream_position {
        uint64_t ms, seq; /* an id is ms-seq */
};
/* <0, 0, >0 */
int stream_position_compare(struct stream_position left, struct stream_position right);

struct stream_entry {
        const char *stream; /* as handed to stream_read */
        const char *id;     /* ms-seq */
        uint64_t ms, seq;
        const struct redis_reply *fields; /* NULL: its data was trimmed away while it was pending */
        bool left;                        /* stays pending: stream_finish does not ack it */
};

/* Entries of several reads, and the replies they point into. */
struct stream_batch {
        struct stream_entry *entries;
        size_t count, capacity;
        struct redis_reply **replies;
        size_t reply_count, reply_capacity;
        bool redelivered; /* entries that were delivered before: what they led to may be done already, or published, or neither */
};

void stream_batch_reset(struct stream_batch *batch);
void stream_batch_deinit(struct stream_batch *batch);
/* An entry from parts, which stay the caller's. */
struct stream_entry stream_entry_make(const char *stream, const char *id, const struct redis_reply *fields);
/* The value of a field, NULL where the entry has none of that name. */
const char *stream_entry_field(const struct stream_entry *entry, const char *name, size_t *size);
/* The JSON of an entry: its field payload, else event_data, else data; NULL: it has none of them. */
const char *stream_entry_payload(const struct stream_entry *entry, size_t *size);

struct stream_consumer {
        struct redis *redis;
        const char *group, *name;
        const char *const *streams;        /* NULL-ended */
        const char *stage, *letter_stream; /* of its dead letters */
        /* told of each entry that turns out to be trimmed away while it was pending, when its letter is written */
        void (*lost)(void *context, const char *stream, const char *id);
        void *context;
};

/* Makes the group at 0 and the stream with it, where there is none. */
MUST_CHECK int stream_group_create(struct redis *redis, const char *stream, const char *group);
/*
 * Appends to batch: new entries (after NULL; waits up to block_ms for the first, 0: not at all), or this consumer's own
 * pending ones behind the id that `after` has for each stream. At most count a stream. *read: how many entries came.
 */
MUST_CHECK int stream_read(const struct stream_consumer *consumer, const char *const *after, size_t count, int64_t block_ms,
        struct stream_batch *batch, size_t *read);
/* The greatest number of deliveries of the consumer's oldest pending entries behind `after`, one a stream, and that stream's
 * place; 0: nothing is pending there. */
MUST_CHECK int stream_pending_deliveries(
        const struct stream_consumer *consumer, const char *const *after, int64_t *deliveries, size_t *stream);
/* Takes over entries that others left pending for idle_ms; they become this consumer's own pending ones. *claimed: how many. */
MUST_CHECK int stream_claim(const struct stream_consumer *consumer, int64_t idle_ms, size_t *claimed);
/* Makes all that is pending for this consumer fresh, so that nobody claims it. */
MUST_CHECK int stream_keep(const struct stream_consumer *consumer);

/* What a batch leaves behind, written by stream_finish as one MULTI … EXEC. */
struct stream_key {
        const char *term_id, *curve_id; /* curve_id NULL: the key is a term */
        const char *reason;
        int64_t block_number;
        struct stream_entry *entry;      /* the one it was read from, where it was */
        struct stream_position position; /* of its own entry, by stream_finish */
};
struct stream_letter {
        const struct stream_entry *entry;
        const char *event_index; /* "3", "0,7" or "" */
        const char *error_class, *error;
        int64_t attempts;
        bool written; /* by stream_finish: its entry was still pending */
};
struct stream_outcome {
        const char *target; /* stream the keys go to, NULL: none */
        struct stream_key *keys;
        size_t key_count;
        struct stream_letter *letters; /* a letter's entry is acked by the script that writes it */
        size_t letter_count;
};
MUST_CHECK int stream_finish(
        const struct stream_consumer *consumer, const struct stream_batch *batch, const struct stream_outcome *outcome);
/* Keys without an entry to ack: the backfill's. */
MUST_CHECK int stream_publish(struct redis *redis, const char *target, const struct stream_key *keys, size_t count);

struct stream_state {
        int64_t length, lag, pending, oldest_pending_ms; /* oldest: age of the oldest pending entry by its id */
        int64_t delivered;      /* entries read since the group was made, as Redis counts; 0: not known */
        int64_t waiting_ms;     /* age of the oldest entry not yet delivered, by its id; -1: none */
        bool exists, lag_known; /* lag_known: Redis told it; else counted, up to a limit */
        char foreign[64];       /* another group that reads it, "": none */
};
/* State of a stream and a group. */
MUST_CHECK int stream_state_read(struct redis *redis, const char *stream, const char *group, struct stream_state *state);
/* What a group has behind it: ids up to `delivered` were delivered, those below `settled` (exclusive) are acked, too. "0-0" and
 * 0-0 where there is no group. */
struct stream_bounds {
        char delivered[64];
        struct stream_position settled;
};
MUST_CHECK int stream_bounds_read(struct redis *redis, const char *stream, const char *group, struct stream_bounds *bounds);
/* Appends up to count entries from id `from` ("-", an id, or "(" and an id: behind it) to `to` to batch, outside of any group. */
MUST_CHECK int stream_range(struct redis *redis, const char *stream, const char *from, const char *to, size_t count,
        struct stream_batch *batch, size_t *read);
/* Entries in all of these streams together; streams ends at NULL. */
MUST_CHECK int stream_count(struct redis *redis, const char *const *streams, int64_t *count);
/* Where a group stands, in one round trip. STREAM_NO_GROUP where it is not there. */
struct stream_group {
        struct stream_position delivered; /* last */
        int64_t lag;                      /* entries behind it; -1: Redis does not know */
        int64_t pending;                  /* delivered and not acked */
        int64_t read;                     /* entries, since the group was made; 0: Redis does not know */
        bool alone;                       /* no other group reads the stream */
};
MUST_CHECK int stream_group_read(struct redis *redis, const char *stream, const char *group, struct stream_group *out);
/* Unix time by Redis's clock, which its entry ids are of. */
MUST_CHECK int stream_clock_read(struct redis *redis, int64_t *now_ms);
/* Age at that time of the first entry behind the one delivered last, by its id; -1: there is none, whatever the lag says. */
MUST_CHECK int stream_waiting_read(
        struct redis *redis, const char *stream, struct stream_position delivered, int64_t now_ms, int64_t *waiting_ms);
/* Drops entries that every group, `group` among them, has acked, but for the newest `keep`. *trimmed: how many went. */
MUST_CHECK int stream_trim(struct redis *redis, const char *stream, const char *group, int64_t keep, int64_t *trimmed);
/* Removes names of consumers that have nothing pending and have not read for idle_ms. */
MUST_CHECK int stream_consumers_tidy(
        struct redis *redis, const char *stream, const char *group, int64_t idle_ms, int64_t *removed);
