/*
 * What a batch leaves behind: keys for the next stage, dead letters, acks. Written as one MULTI … EXEC, where there is more than
 * acks: at maxmemory Redis refuses whatever stands in a MULTI, also what frees memory.
 *
 * A key's entry has the fields term_id, curve_id (where the key is a vault), reason, block_number; or bucket, reason,
 * block_number, which stands for every key of that bucket that waits in the outbox.
 */
#pragma once

#include "common/stream/stream.h"

struct stream_key {
        const char *bucket;  /* decimal; NULL: the key is a term or a vault */
        const char *term_id; /* NULL: the key is a bucket */
        const char *curve_id;
        const char *reason;
        int64_t block_number;
};
struct stream_dead_letter {
        const struct stream_entry *entry;
        const char *event_index; /* "3", "0,7" or "" */
        const char *error_class, *error;
        int64_t attempts;
        bool written; /* by stream_finish: its entry was still pending */
};
struct stream_outcome {
        const char *target; /* stream the keys go to, NULL: none */
        const struct stream_key *keys;
        size_t key_count;
        struct stream_dead_letter *dead_letters; /* the script that writes a letter acks its entry */
        size_t dead_letter_count;
        bool unpublished; /* by stream_finish: Redis is out of memory, keys and dead letters were not written */
};
/*
 * Where Redis is out of memory it takes neither keys nor dead letters; what only frees memory must go on. Then the entries
 * without a letter are acked all the same, for what they changed waits in the outbox, and those with one are left pending.
 */
MUST_CHECK int stream_finish(
        const struct stream_consumer *consumer, const struct stream_batch *batch, struct stream_outcome *outcome);
/* Keys without an entry to ack. */
MUST_CHECK int stream_publish(struct redis *redis, const char *target, const struct stream_key *keys, size_t count);
