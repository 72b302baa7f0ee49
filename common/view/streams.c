#include "common/view/streams.h"

#include <string.h>
#include "common/base/clock.h"

static const struct view_stream *find(const struct view_streams *status, const char *stream)
{
        for (size_t i = 0; status && i < status->count; i++)
                if (!strcmp(status->rows[i].stream, stream))
                        return &status->rows[i];
        return NULL;
}

double view_streams_rate(const struct view_streams *before, const struct view_streams *now, const struct view_stream *row)
{
        const struct view_stream *old = find(before, row->stream);
        if (!old || now->looked_ms <= before->looked_ms)
                return -1;
        if (!old->state.delivered && old->state.length > old->state.lag) /* Redis 7.0 forgets by a restart how many were read */
                return row->state.delivered || row->state.length != old->state.length ? -1 : 0;
        int64_t done = (row->state.delivered - row->state.pending) - (old->state.delivered - old->state.pending);
        return done < 0 ? -1 : (double)done * 1000.0 / (double)(now->looked_ms - before->looked_ms);
}

static int read_one(const struct service *service, struct redis *redis, const struct view_streams *before,
        struct view_streams *out, const char *stream, bool own)
{
        if (find(out, stream) || out->count == VIEW_STREAMS_MAX)
                return 0;
        struct view_stream *row = &out->rows[out->count];
        *row = (struct view_stream){.stream = stream, .own = own};
        int r = stream_state_read(redis, stream, service->shared->group, &row->state);
        if (r)
                return r;
        row->rate = view_streams_rate(before, out, row);
        out->count++;
        return 0;
}

int view_streams_read(const struct service *service, struct redis *redis, const char *const *others,
        const struct view_streams *before, struct view_streams *out)
{
        struct stream_state letters;
        const char *const *inputs = service->shared->inputs;
        const char *const internal[] = {service->shared->cascade_stream, service->shared->analytics_stream};
        *out = (struct view_streams){.looked_ms = clock_ms()};
        int r = 0;
        for (size_t i = 0; !r && inputs[i]; i++)
                r = read_one(service, redis, before, out, inputs[i], true);
        for (size_t i = 0; !r && others && others[i]; i++)
                r = read_one(service, redis, before, out, others[i], false);
        for (size_t i = 0; !r && i < ARRAY_LENGTH(internal); i++)
                r = read_one(service, redis, before, out, internal[i], false);
        if (!r)
                r = stream_state_read(redis, service->shared->dead_letter_stream, service->shared->group, &letters);
        out->dead_letters = r ? 0 : letters.length;
        return r;
}
