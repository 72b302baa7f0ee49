#include "common/stream/owner.h"

#include <stdio.h>
#include <string.h>
#include "lua.h"

void stream_owner_key(const char *stream, const char *group, char *out, size_t size)
{
        const char *open = strchr(stream, '{'), *close = open ? strchr(open, '}') : NULL;
        int tag = close && close > open + 1 ? (int)(close - open + 1) : 0;
        snprintf(out, size, "%.*s%s:database", tag, tag ? open : "", group);
}

int stream_own(struct redis *redis, const char *stream, const char *group, const struct stream_owner *self, bool take,
        struct stream_owner *other)
{
        AUTO(redis_reply) struct redis_reply *reply = NULL;
        char key[1024];
        stream_owner_key(stream, group, key, sizeof(key));
        if (redis_call(
                    redis, &reply, "EVAL", text_own, "1", key, stream, self->id, self->place, self->name, take ? "1" : "0", NULL))
                return -1;
        const char *name = redis_reply_text(redis_reply_item(reply, 0), NULL),
                   *id = redis_reply_text(redis_reply_item(reply, 1), NULL);
        if (!name || !id)
                return 0;
        snprintf(other->name, sizeof(other->name), "%s", name);
        snprintf(other->id, sizeof(other->id), "%s", id);
        return STREAM_OWNED;
}
