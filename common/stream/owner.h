/*
 * The database that a consumer group belongs to. Two databases on one group would each get a part of the entries, so the group
 * carries the identity of its database, in a hash beside the streams: key `GROUP:database`, a field a stream. Where the stream's
 * name has a {tag} the key begins with it: in a cluster it lies in the stream's slot. A second field, `read STREAM`, is the
 * look's for losses (stream_gap_read); no stream of ours has a blank in its name.
 */
#pragma once

#include "common/io/redis.h"

#define OWNER_PLACE_SIZE 64

struct stream_owner {
        char id[64], place[OWNER_PLACE_SIZE]; /* of the data, kept by copies; of the database that holds it */
        char name[600];                       /* for people */
};

enum { STREAM_OWNED = 1 };

void stream_owner_key(const char *stream, const char *group, char *out, size_t size);
/* STREAM_OWNED: it is another's, who is in *other. take: it is ours from now on, and one of us was here now. */
MUST_CHECK int stream_own(struct redis *redis, const char *stream, const char *group, const struct stream_owner *self, bool take,
        struct stream_owner *other);
