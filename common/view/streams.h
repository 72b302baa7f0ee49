/* One look at all streams that a program knows: groups, lag, rates, and the number of dead letters. */
#pragma once

#include "common/stage/service.h"
#include "common/stream/state.h"

#define VIEW_STREAMS_MAX (CONFIG_STREAMS_MAX + 2) /* and the internal ones */

struct view_stream {
        const char *stream;
        struct stream_state state;
        bool own;    /* one that this program reads */
        double rate; /* entries a second acked since the look before; -1: not known yet */
};

struct view_streams {
        struct view_stream rows[VIEW_STREAMS_MAX];
        size_t count;
        int64_t dead_letters; /* length of the dead letters' stream */
        int64_t looked_ms;
};

/* Reads the program's inputs, the internal streams, the dead letters and `others` (streams of other programs, ended by NULL; or
 * NULL). before: an earlier look, for the rates; or NULL. */
MUST_CHECK int view_streams_read(const struct service *service, struct redis *redis, const char *const *others,
        const struct view_streams *before, struct view_streams *out);
/* Entries a second that were acked of a row's stream between two looks; -1: not known. before may be NULL. */
double view_streams_rate(const struct view_streams *before, const struct view_streams *now, const struct view_stream *row);
