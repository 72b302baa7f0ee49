/*
 * Which keys wait unread in the stream they were published to: under a backlog those need no second entry, for whoever reads the one
 * that is there reads the tables later than now. One table a program, shared by its workers.
 *
 * Keys are known by a hash of 64 bits. Two that share one, and entries that Redis loses, only delay: the outbox brings the key again.
 */
#pragma once

#include <pthread.h>
#include "stream.h"

struct queued {
        pthread_mutex_t lock;
        struct queued_key *slots;
        size_t used, backlog;
        struct stream_position delivered; /* to its reader, as last heard */
        struct stream_position seen;      /* entries up to here are in the table, whoever published them */
        uint64_t seed;
};

/* backlog: so many keys have to wait before any is left out. */
void queued_init(struct queued *queued, size_t backlog);
void queued_deinit(struct queued *queued);
/*
 * Where a backlog waits in stream for group: moves the keys that have an entry there which no group has been delivered yet to the end of
 * keys, and returns how many are left in front. Call it after the commit of what the keys are about. Without a backlog, or where Redis does
 * not answer, all of them are left.
 */
size_t queued_filter(struct queued *queued, struct redis *redis, const char *stream, const char *group, struct stream_key *keys, size_t count);
/* Keys that were published, with their entries' positions. */
void queued_note(struct queued *queued, const struct stream_key *keys, size_t count);
