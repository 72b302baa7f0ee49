/* The state of a stream and a group, reading outside of groups, and what housekeeping removes. */
#pragma once

#include "common/stream/stream.h"

struct stream_state {
        int64_t length, lag, pending, oldest_pending_ms; /* oldest: age of the oldest pending entry by its id */
        int64_t delivered;      /* entries read since the group was made, as Redis counts; 0: not known */
        int64_t waiting_ms;     /* age of the oldest entry not yet delivered, by its id; -1: none */
        bool exists, lag_known; /* lag_known: Redis told it; else counted, up to a limit */
        char foreign[64];       /* another group that reads it, "": none */
};
MUST_CHECK int stream_state_read(struct redis *redis, const char *stream, const char *group, struct stream_state *state);

/* Makes the group at 0, and the stream, where there is none. */
MUST_CHECK int stream_group_create(struct redis *redis, const char *stream, const char *group);
/* Whether an entry stands behind the one delivered last. Looks at the stream itself: after trimming the lag may be wrong. */
MUST_CHECK int stream_has_unread(struct redis *redis, const char *stream, const char *group, bool *unread);

/* What a group has behind it: ids up to `delivered` were delivered, those below `settled` (exclusive) are acked, too. "0-0" and
 * 0-0 where there is no group. */
struct stream_bounds {
        char delivered[64];
        struct stream_position settled;
};
MUST_CHECK int stream_bounds_read(struct redis *redis, const char *stream, const char *group, struct stream_bounds *bounds);
/* Appends up to count entries (fewer where those that came before were large) from id `from` ("-", an id, or "(" and an id:
 * behind it) to `to` to batch, outside of any group. */
MUST_CHECK int stream_range(struct redis *redis, const char *stream, const char *from, const char *to, size_t count,
        struct stream_batch *batch, size_t *read);
/* Entries that were trimmed away or deleted before the group had read them: a loss, told once. No stream, or no group: none. */
struct stream_gap {
        int64_t lost;               /* 0: none; negative: not known, the number that the group had read is lost */
        char after[64], before[64]; /* the ids on both sides; before "": not known, or nothing is left */
        int64_t lag;                /* of the group; negative: not known */
};
/* outbox: what nobody read comes again from there, so a place beyond the end of the stream is taken back to the end. */
MUST_CHECK int stream_gap_read(struct redis *redis, const char *stream, const char *group, bool only_producer_trims, bool outbox,
        struct stream_gap *gap);
/* Whether Redis takes writes: an ack of 0-0, which no entry can have, changes nothing, and is refused where any write is (by a
 * replica, with too few replicas, after it could not save). */
MUST_CHECK int stream_probe(struct redis *redis, const char *stream, const char *group);
/* Entries in all of these streams together; streams ends at NULL. */
MUST_CHECK int stream_count(struct redis *redis, const char *const *streams, int64_t *count);
/* The id of the entry that was written last, there or trimmed since; 0-0 where there is no stream. */
MUST_CHECK int stream_last_id_read(struct redis *redis, const char *stream, struct stream_position *last);
/* Unix time by Redis's clock, which makes the entry ids. */
MUST_CHECK int stream_clock_read(struct redis *redis, int64_t *now_ms);

/* Drops entries that every group, `group` among them, has acked, but for the newest `keep`. *trimmed: how many went; a call
 * drops a limited number. */
MUST_CHECK int stream_trim(struct redis *redis, const char *stream, const char *group, int64_t keep, int64_t *trimmed);
/* Removes names of consumers that have nothing pending and have not read for idle_ms. */
MUST_CHECK int stream_consumers_tidy(
        struct redis *redis, const char *stream, const char *group, int64_t idle_ms, int64_t *removed);
/* The keys that the group's pending entries name (outcome.h): terms and buckets, each as the text of a PostgreSQL array,
 * malloc'd. Left NULL where there are more than 10,000 entries, or no group. */
MUST_CHECK int stream_pending_keys(struct redis *redis, const char *stream, const char *group, char **terms, char **buckets);
