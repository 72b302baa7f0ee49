/*
 * Which keys wait unread in the stream that they go to. Under a backlog a term that waits there needs no second entry: who reads
 * the one that is there reads the tables later than now, and a stage does all of a term at once. One table a program, shared by
 * its workers.
 *
 * Terms are known by a hash of 64 bits. Two that share one, like entries that Redis loses, only delay: the outbox brings the key
 * again.
 */
#pragma once

#include <pthread.h>
#include "stream.h"

struct queued {
        pthread_mutex_t lock;
        struct queued_term *slots;
        size_t used, backlog;
        struct stream_position delivered; /* to the reader, as last heard */
        struct stream_position seen;      /* all entries up to here were noted */
        uint64_t seed;
};

/* backlog: so many entries have to wait before any is spared. */
void queued_init(struct queued *queued, size_t backlog);
void queued_deinit(struct queued *queued);
/* Whether there may be a backlog, and where to read on for what others have published: *seen. */
bool queued_may_wait(struct queued *queued, struct stream_position *seen);
/* Terms with entries, all those between the last *seen and the last of these; or, all false, some of them. */
void queued_note(struct queued *queued, const struct stream_key *keys, size_t count, bool all);
/*
 * reader: where the stream's group stands, asked after the commit of what the keys are about. Moves the keys of terms that wait
 * unread to the end, and returns how many are left in front: all of them, where there is no backlog or somebody else reads the
 * stream, too.
 */
size_t queued_sift(struct queued *queued, const struct stream_group *reader, struct stream_key *keys, size_t count);
