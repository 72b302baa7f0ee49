#include "common/stream/state.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "common/stream/owner.h"
#include "lua.h"

#define LAG_COUNT_MAX 20000
#define LAG_BYTES_MAX 32000000

/* ---- state ---- */

/* "" where there is no such text. */
static const char *field_text(const struct redis_reply *item, const char *name)
{
        const char *text = redis_reply_text(redis_reply_field(item, name), NULL);
        return text ? text : "";
}

/* A refusal because there is no such stream is none: 0. */
static int without_stream(const struct redis *redis, int r)
{
        return r == REDIS_REFUSED && redis_error_is(redis, "ERR no such key") ? 0 : -1;
}

/* *row: the group's of XINFO GROUPS; NULL where there is no such group. */
static int find_group(
        struct redis *redis, const char *stream, const char *group, struct redis_reply **groups, const struct redis_reply **row)
{
        *row = NULL;
        int r = redis_call(redis, groups, "XINFO", "GROUPS", stream, NULL);
        if (r)
                return without_stream(redis, r);
        for (size_t i = 0; i < redis_reply_count(*groups); i++)
                if (!strcmp(field_text(redis_reply_item(*groups, i), "name"), group))
                        *row = redis_reply_item(*groups, i);
        return 0;
}

static int64_t id_age(const char *id, int64_t now_ms)
{
        const uint64_t ms = stream_position_parse(id).ms;
        return (uint64_t)now_ms > ms ? now_ms - (int64_t)ms : 0;
}

int stream_clock_read(struct redis *redis, int64_t *now_ms)
{
        AUTO(redis_reply) struct redis_reply *reply = NULL;
        int r = redis_call(redis, &reply, "TIME", NULL);
        if (r)
                return -1;
        *now_ms = redis_reply_number(redis_reply_item(reply, 0)) * 1000 + redis_reply_number(redis_reply_item(reply, 1)) / 1000;
        return 0;
}

int stream_last_id_read(struct redis *redis, const char *stream, struct stream_position *last)
{
        AUTO(redis_reply) struct redis_reply *reply = NULL;
        *last = (struct stream_position){0};
        int r = redis_call(redis, &reply, "XINFO", "STREAM", stream, NULL);
        if (r)
                return without_stream(redis, r);
        *last = stream_position_parse(redis_reply_text(redis_reply_field(reply, "last-generated-id"), NULL));
        return 0;
}

static int read_lag(
        struct redis *redis, const char *stream, const char *last, const struct redis_reply *lag, struct stream_state *state)
{
        state->lag_known = !redis_reply_is_nil(lag);
        if (state->lag_known) {
                state->lag = redis_reply_number(lag);
                return 0;
        }
        AUTO(redis_reply) struct redis_reply *reply = NULL;
        char limit[16], bytes[16];
        snprintf(limit, sizeof(limit), "%d", LAG_COUNT_MAX);
        snprintf(bytes, sizeof(bytes), "%d", LAG_BYTES_MAX);
        int r = redis_call(redis, &reply, "EVAL", text_lag, "1", stream, last, limit, bytes, NULL);
        if (r)
                return -1;
        state->lag = redis_reply_number(reply);
        return 0;
}

/* id: the first entry behind this one, "" where there is none. */
static int read_next(struct redis *redis, const char *stream, const char *delivered, char id[64])
{
        AUTO(redis_reply) struct redis_reply *next = NULL;
        char behind[80];
        snprintf(behind, sizeof(behind), "(%s", delivered);
        if (redis_call(redis, &next, "XRANGE", stream, behind, "+", "COUNT", "1", NULL))
                return -1;
        const char *first = redis_reply_text(redis_reply_item(redis_reply_item(next, 0), 0), NULL);
        snprintf(id, 64, "%s", first ? first : "");
        return 0;
}

static int read_ages(struct redis *redis, const char *stream, const char *group, const char *last, struct stream_state *state)
{
        AUTO(redis_reply) struct redis_reply *pending = NULL;
        int64_t now;
        if (stream_clock_read(redis, &now) || redis_call(redis, &pending, "XPENDING", stream, group, NULL))
                return -1;
        const char *oldest = redis_reply_text(redis_reply_item(pending, 1), NULL);
        if (oldest)
                state->oldest_pending_ms = id_age(oldest, now);
        char next[64] = "";
        if (state->lag && read_next(redis, stream, last, next))
                return -1;
        if (*next)
                state->waiting_ms = id_age(next, now);
        return 0;
}

int stream_state_read(struct redis *redis, const char *stream, const char *group, struct stream_state *state)
{
        AUTO(redis_reply) struct redis_reply *length = NULL;
        AUTO(redis_reply) struct redis_reply *groups = NULL;
        *state = (struct stream_state){.waiting_ms = -1, .lag_known = true};
        int r = redis_call(redis, &length, "XLEN", stream, NULL);
        if (!r)
                r = redis_call(redis, &groups, "XINFO", "GROUPS", stream, NULL);
        if (r)
                return without_stream(redis, r);
        state->exists = true;
        state->length = state->lag = redis_reply_number(length); /* all of it, where our group is not made yet */
        for (size_t i = 0; i < redis_reply_count(groups); i++) {
                const struct redis_reply *item = redis_reply_item(groups, i);
                const char *name = field_text(item, "name");
                if (strcmp(name, group)) {
                        snprintf(state->foreign, sizeof(state->foreign), "%s", name);
                        continue;
                }
                const char *last = field_text(item, "last-delivered-id");
                state->pending = redis_reply_number(redis_reply_field(item, "pending"));
                state->delivered = redis_reply_number(redis_reply_field(item, "entries-read"));
                if (read_lag(redis, stream, last, redis_reply_field(item, "lag"), state) ||
                        read_ages(redis, stream, group, last, state))
                        return -1;
        }
        return 0;
}

int stream_group_create(struct redis *redis, const char *stream, const char *group)
{
        AUTO(redis_reply) struct redis_reply *groups = NULL;
        const struct redis_reply *row; /* asked first: with its memory full Redis refuses to make even one that is there */
        int r = find_group(redis, stream, group, &groups, &row);
        if (r || row)
                return r;
        r = redis_call(redis, NULL, "XGROUP", "CREATE", stream, group, "0", "MKSTREAM", NULL);
        if (r == REDIS_REFUSED && redis_error_is(redis, "BUSYGROUP"))
                return 0;
        return r > 0 ? -1 : r;
}

int stream_has_unread(struct redis *redis, const char *stream, const char *group, bool *unread)
{
        AUTO(redis_reply) struct redis_reply *groups = NULL;
        const struct redis_reply *row;
        char next[64] = "";
        *unread = false;
        int r = find_group(redis, stream, group, &groups, &row);
        if (r || !row)
                return r ? r : STREAM_NO_GROUP;
        const struct redis_reply *lag = redis_reply_field(row, "lag");
        if (redis_reply_is_nil(lag) || redis_reply_number(lag)) /* nil: Redis does not know */
                r = read_next(redis, stream, field_text(row, "last-delivered-id"), next);
        *unread = *next;
        return r;
}

int stream_bounds_read(struct redis *redis, const char *stream, const char *group, struct stream_bounds *bounds)
{
        AUTO(redis_reply) struct redis_reply *groups = NULL;
        AUTO(redis_reply) struct redis_reply *pending = NULL;
        const struct redis_reply *row;
        *bounds = (struct stream_bounds){.delivered = "0-0"};
        int r = find_group(redis, stream, group, &groups, &row);
        if (r || !row)
                return r;
        snprintf(bounds->delivered, sizeof(bounds->delivered), "%s", field_text(row, "last-delivered-id"));
        if (redis_call(redis, &pending, "XPENDING", stream, group, NULL))
                return -1;
        const char *oldest = redis_reply_text(redis_reply_item(pending, 1), NULL);
        bounds->settled = stream_position_parse(oldest ? oldest : bounds->delivered);
        bounds->settled.seq += !oldest;
        return 0;
}

int stream_range(struct redis *redis, const char *stream, const char *from, const char *to, size_t count,
        struct stream_batch *batch, size_t *read)
{
        struct redis_reply *reply = NULL;
        char number[24];
        size_t before = batch->count;
        size_t fits = batch->largest ? STREAM_BATCH_BYTES / batch->largest : 1;
        snprintf(number, sizeof(number), "%zu", fits > count ? count : fits ? fits : 1);
        *read = 0;
        if (!strcmp(from, "(" STREAM_ID_MAX))
                return 0;
        int r = redis_call(redis, &reply, "XRANGE", stream, from, to, "COUNT", number, NULL);
        if (r)
                return -1;
        stream_batch_keep(batch, reply);
        if (stream_batch_add(batch, stream, reply))
                return redis_reject_reply(redis);
        *read = batch->count - before;
        return 0;
}

int stream_probe(struct redis *redis, const char *stream, const char *group)
{
        return redis_call(redis, NULL, "XACK", stream, group, "0-0", NULL);
}

int stream_count(struct redis *redis, const char *const *streams, int64_t *count)
{
        *count = 0;
        for (size_t i = 0; streams[i]; i++) {
                AUTO(redis_reply) struct redis_reply *reply = NULL;
                if (redis_call(redis, &reply, "XLEN", streams[i], NULL))
                        return -1;
                *count += redis_reply_number(reply);
        }
        return 0;
}

/* ---- housekeeping ---- */

static int run_script(struct redis *redis, const char *script, const char *stream, const char *a, const char *b, int64_t *number)
{
        AUTO(redis_reply) struct redis_reply *reply = NULL;
        int r = redis_call(redis, &reply, "EVAL", script, "1", stream, a, b, NULL);
        *number = r ? 0 : redis_reply_number(reply);
        if (r == REDIS_REFUSED && (redis_error_is(redis, "ERR no such key") || redis_error_is(redis, "NOGROUP")))
                return 0;
        return r ? -1 : 0;
}

int stream_gap_read(
        struct redis *redis, const char *stream, const char *group, bool only_producer_trims, bool outbox, struct stream_gap *gap)
{
        AUTO(redis_reply) struct redis_reply *reply = NULL;
        char key[1024];
        *gap = (struct stream_gap){.lag = -1};
        stream_owner_key(stream, group, key, sizeof(key));
        int r = redis_call(redis, &reply, "EVAL", text_gap, "2", stream, key, group, only_producer_trims ? "1" : "0",
                outbox ? "1" : "0", NULL);
        if (r == REDIS_REFUSED && redis_error_is(redis, "ERR no such key"))
                return 0;
        if (r)
                return -1;
        const char *after = redis_reply_text(redis_reply_item(reply, 1), NULL),
                   *before = redis_reply_text(redis_reply_item(reply, 2), NULL);
        gap->lost = redis_reply_number(redis_reply_item(reply, 0));
        gap->lag = redis_reply_number(redis_reply_item(reply, 3));
        snprintf(gap->after, sizeof(gap->after), "%s", after ? after : "");
        snprintf(gap->before, sizeof(gap->before), "%s", before ? before : "");
        return 0;
}

int stream_trim(struct redis *redis, const char *stream, const char *group, int64_t keep, int64_t *trimmed)
{
        char number[24];
        snprintf(number, sizeof(number), "%" PRId64, keep);
        return run_script(redis, text_trim, stream, number, group, trimmed);
}

int stream_consumers_tidy(struct redis *redis, const char *stream, const char *group, int64_t idle_ms, int64_t *removed)
{
        char number[24];
        snprintf(number, sizeof(number), "%" PRId64, idle_ms);
        return run_script(redis, text_tidy_consumers, stream, group, number, removed);
}

/* ---- pending entries ---- */

int stream_pending_keys(struct redis *redis, const char *stream, const char *group, char **terms, char **buckets)
{
        AUTO(redis_reply) struct redis_reply *reply = NULL;
        int r = redis_call(redis, &reply, "EVAL", text_pending_keys, "1", stream, group, NULL);
        if (r)
                return r == REDIS_REFUSED && redis_error_is(redis, "NOGROUP") ? 0 : -1;
        const char *found[] = {
                redis_reply_text(redis_reply_item(reply, 0), NULL), redis_reply_text(redis_reply_item(reply, 1), NULL)};
        if (found[0] && found[1]) {
                *terms = memory_copy(found[0]);
                *buckets = memory_copy(found[1]);
        }
        return 0;
}
