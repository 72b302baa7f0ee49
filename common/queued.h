/*
 * Which keys wait unread in the stream that they go to. Under a backlog a key that waits there needs no second entry: who reads
 * the one that is there reads the tables later than now. A key without curve waits where any of its term does. One table a
 * program, shared by its workers.
 *
 * Keys are known by a hash of 64 bits. Two that share one, like entries that Redis loses, only delay: the outbox brings the key
 * again.
 */
#pragma once

#include <pthread.h>
#include "stream.h"

struct queued {
        pthread_mutex_t lock;
        struct queued_key *slots;
        size_t used, backlog;
        struct stream_position delivered; /* to the reader, as last heard */
        struct stream_position seen;      /* all entries up to here were noted */
        uint64_t seed;
};

/* backlog: so many entries have to wait before any is spared. */
void queued_init(struct queued *queued, size_t backlog);
void queued_deinit(struct queued *queued);
/* Whether enough was noted for a backlog: worth asking where the reader stands. */
bool queued_may_wait(struct queued *queued);
/*
 * reader: where the stream's group stands, asked after the commit of what the keys to be sifted are about. Returns whether there
 * is a backlog that nobody else reads; *seen: from where on entries may have been published by others.
 */
bool queued_hear(struct queued *queued, const struct stream_group *reader, struct stream_position *seen);
/* Keys with entries: all those between the last *seen and the last of these; or, all false, some of them. */
void queued_note(struct queued *queued, const struct stream_key *keys, size_t count, bool all);
/* Moves the keys that wait unread for reader (as above) to the end; returns how many are left in front. */
size_t queued_sift(struct queued *queued, const struct stream_group *reader, struct stream_key *keys, size_t count);
