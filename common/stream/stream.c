#include "common/stream/stream.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "lua.h"

#define CLAIM_COUNT 100
#define KEEP_COUNT  1000

/* ---- batches ---- */

void stream_batch_reset(struct stream_batch *batch)
{
        for (size_t i = 0; i < batch->reply_count; i++)
                redis_reply_free(batch->replies[i]);
        batch->count = batch->reply_count = batch->bytes = 0;
        batch->redelivered = false;
}

void stream_batch_deinit(struct stream_batch *batch)
{
        stream_batch_reset(batch);
        free(batch->entries);
        free(batch->replies);
        *batch = (struct stream_batch){0};
}

void stream_largest_note(size_t *largest, size_t bytes)
{
        const size_t before = *largest - *largest / 64;
        *largest = bytes > before ? bytes : before;
}

const char *stream_entry_field(const struct stream_entry *entry, const char *name, size_t *size)
{
        return redis_reply_text(redis_reply_field(entry->fields, name), size);
}

const char *stream_entry_payload(const struct stream_entry *entry, size_t *size)
{
        const char *payload = stream_entry_field(entry, "payload", size);
        if (!payload)
                payload = stream_entry_field(entry, "event_data", size);
        return payload ? payload : stream_entry_field(entry, "data", size);
}

struct stream_position stream_position_parse(const char *id)
{
        char *end;
        uint64_t ms = strtoull(id, &end, 10);
        return (struct stream_position){.ms = ms, .seq = *end == '-' ? strtoull(end + 1, NULL, 10) : 0};
}

bool stream_position_is_text(const char *text)
{
        static const char digits[] = "0123456789";
        const size_t ms = strspn(text, digits), dash = text[ms] == '-', seq = dash ? strspn(text + ms + 1, digits) : 0;
        errno = 0;
        (void)stream_position_parse(text); /* ERANGE: more than 64 bits */
        return ms && (seq || !dash) && !text[ms + dash + seq] && !errno;
}

int stream_position_compare(struct stream_position left, struct stream_position right)
{
        if (left.ms != right.ms)
                return left.ms < right.ms ? -1 : 1;
        return left.seq < right.seq ? -1 : left.seq > right.seq;
}

struct stream_entry stream_entry_make(const char *stream, const char *id, const struct redis_reply *fields)
{
        const struct stream_position at = stream_position_parse(id);
        size_t bytes = 0, size = 0;
        for (size_t i = 0; i < redis_reply_count(fields); i++)
                bytes += redis_reply_text(redis_reply_item(fields, i), &size) ? size : 0;
        return (struct stream_entry){.stream = stream, .id = id, .ms = at.ms, .seq = at.seq, .fields = fields, .bytes = bytes};
}

int stream_batch_add(struct stream_batch *batch, const char *stream, const struct redis_reply *entries)
{
        for (size_t i = 0; i < redis_reply_count(entries); i++) {
                const struct redis_reply *item = redis_reply_item(entries, i), *fields = redis_reply_item(item, 1);
                const char *id = redis_reply_text(redis_reply_item(item, 0), NULL);
                const bool trimmed = redis_reply_is_nil(fields);
                if (!stream || !id || redis_reply_count(item) != 2 || (!trimmed && !redis_reply_count(fields)))
                        return -1;
                batch->entries = memory_grow(batch->entries, &batch->capacity, batch->count + 1, sizeof(*batch->entries));
                const struct stream_entry entry = stream_entry_make(stream, id, trimmed ? NULL : fields);
                batch->entries[batch->count++] = entry;
                batch->bytes += entry.bytes;
                stream_largest_note(&batch->largest, entry.bytes);
        }
        return 0;
}

void stream_batch_keep(struct stream_batch *batch, struct redis_reply *reply)
{
        batch->replies =
                memory_grow(batch->replies, &batch->reply_capacity, batch->reply_count + 1, sizeof(struct redis_reply *));
        batch->replies[batch->reply_count++] = reply;
}

/* ---- reading ---- */

/* NOGROUP: DEL or FLUSHALL before the call; UNBLOCKED: during it */
static int group_gone(const struct redis *redis, int r)
{
        return r == REDIS_REFUSED && (redis_error_is(redis, "NOGROUP") || redis_error_is(redis, "UNBLOCKED")) ? STREAM_NO_GROUP
               : r > 0                                                                                        ? -1
                                                                                                              : r;
}

static const char *stream_of(const struct stream_consumer *consumer, const char *name)
{
        for (size_t i = 0; consumer->streams[i]; i++)
                if (name && !strcmp(consumer->streams[i], name))
                        return consumer->streams[i];
        return NULL;
}

int stream_read(const struct stream_consumer *consumer, const char *const *after, size_t count, int64_t block_ms,
        struct stream_batch *batch, size_t *read)
{
        AUTO_COMMAND struct redis_command command = {0};
        redis_command_push(&command, "XREADGROUP");
        redis_command_push(&command, "GROUP");
        redis_command_push(&command, consumer->group);
        redis_command_push(&command, consumer->name);
        redis_command_push(&command, "COUNT");
        redis_command_push_number(&command, (int64_t)count);
        if (!after && block_ms > 0) {
                redis_command_push(&command, "BLOCK");
                redis_command_push_number(&command, block_ms);
        }
        redis_command_push(&command, "STREAMS");
        for (size_t i = 0; consumer->streams[i]; i++)
                redis_command_push(&command, consumer->streams[i]);
        for (size_t i = 0; consumer->streams[i]; i++)
                redis_command_push(&command, after ? after[i] : ">");

        struct redis_reply *reply = NULL;
        size_t before = batch->count;
        int r = redis_run(consumer->redis, &command, after ? 0 : block_ms, &reply);
        *read = 0;
        if (r)
                return group_gone(consumer->redis, r);
        stream_batch_keep(batch, reply);
        for (size_t i = 0; i < redis_reply_count(reply); i++) {
                const struct redis_reply *item = redis_reply_item(reply, i);
                const char *stream = stream_of(consumer, redis_reply_text(redis_reply_item(item, 0), NULL));
                if (stream_batch_add(batch, stream, redis_reply_item(item, 1))) {
                        stream_batch_reset(batch);
                        return redis_reject_reply(consumer->redis);
                }
        }
        batch->redelivered = after != NULL;
        *read = batch->count - before;
        return 0;
}

/* ---- pending entries ---- */

static int pending_list(
        const struct stream_consumer *consumer, const char *stream, const char *from, int count, struct redis_reply **reply)
{
        char number[16];
        snprintf(number, sizeof(number), "%d", count);
        int r = redis_call(consumer->redis, reply, "XPENDING", stream, consumer->group, from, "+", number, consumer->name, NULL);
        return group_gone(consumer->redis, r);
}

int stream_pending_deliveries(
        const struct stream_consumer *consumer, const char *const *after, int64_t *deliveries, size_t *stream)
{
        *deliveries = 0;
        for (size_t i = 0; consumer->streams[i]; i++) {
                AUTO(redis_reply) struct redis_reply *reply = NULL;
                char from[80];
                if (!strcmp(after[i], STREAM_ID_MAX))
                        continue;
                snprintf(from, sizeof(from), "(%s", after[i]);
                int r = pending_list(consumer, consumer->streams[i], from, 1, &reply);
                if (r)
                        return r;
                int64_t times = redis_reply_number(redis_reply_item(redis_reply_item(reply, 0), 3));
                if (times > *deliveries) {
                        *deliveries = times;
                        *stream = i;
                }
        }
        return 0;
}

/* lost.lua on one stream. cursor: where it begins, then its first word of reply; *count: its second. */
static int run_lost(const struct stream_consumer *consumer, const char *stream, const char *idle_ms, int at_most, char cursor[80],
        size_t *count)
{
        AUTO(redis_reply) struct redis_reply *reply = NULL;
        char number[16];
        snprintf(number, sizeof(number), "%d", at_most);
        *count = 0;
        int r = redis_call(consumer->redis, &reply, "EVAL", text_lost, "2", stream, consumer->dead_letter_stream, consumer->group,
                consumer->name, number, cursor, consumer->stage, STREAM_LOST, idle_ms, NULL);
        if (r == REDIS_REFUSED && redis_error_is(consumer->redis, "NOGROUP"))
                return STREAM_NO_GROUP;
        if (r)
                return r > 0 ? -1 : r;
        const char *next = redis_reply_text(redis_reply_item(reply, 0), NULL);
        snprintf(cursor, 80, "%s", next ? next : "");
        *count = (size_t)redis_reply_number(redis_reply_item(reply, 1));
        const struct redis_reply *lost = redis_reply_item(reply, 2);
        for (size_t i = 0; i < redis_reply_count(lost); i++)
                if (redis_reply_text(redis_reply_item(lost, i), NULL))
                        consumer->lost(consumer->context, stream, redis_reply_text(redis_reply_item(lost, i), NULL));
        return 0;
}

/* A stream whose group vanished does not keep the others from their turn: STREAM_NO_GROUP comes last. */
static int note_no_group(int r, int *verdict)
{
        *verdict = r == STREAM_NO_GROUP ? r : *verdict;
        return r == STREAM_NO_GROUP ? 0 : r;
}

static int keep_one(const struct stream_consumer *consumer, const char *stream)
{
        char from[81] = "-";
        size_t seen;
        do {
                int r = run_lost(consumer, stream, NULL, KEEP_COUNT, from, &seen);
                if (r)
                        return r;
                memmove(from + 1, from, strlen(from) + 1);
                from[0] = '(';
        } while (seen == KEEP_COUNT);
        return 0;
}

int stream_keep(const struct stream_consumer *consumer)
{
        int r = 0, verdict = 0;
        for (size_t i = 0; !r && consumer->streams[i]; i++)
                r = note_no_group(keep_one(consumer, consumer->streams[i]), &verdict);
        return r ? r : verdict;
}

static int claim_one(const struct stream_consumer *consumer, const char *stream, const char *idle_ms, size_t *claimed)
{
        char cursor[80] = "0-0";
        do {
                size_t count;
                int r = run_lost(consumer, stream, idle_ms, CLAIM_COUNT, cursor, &count);
                if (r)
                        return r;
                *claimed += count;
        } while (!*claimed && strcmp(cursor, "0-0"));
        return 0;
}

int stream_claim(const struct stream_consumer *consumer, int64_t idle_ms, size_t *claimed)
{
        char idle[24];
        int r = 0, verdict = 0;
        snprintf(idle, sizeof(idle), "%" PRId64, idle_ms);
        *claimed = 0;
        for (size_t i = 0; !r && consumer->streams[i]; i++)
                r = note_no_group(claim_one(consumer, consumer->streams[i], idle, claimed), &verdict);
        return r ? r : verdict;
}
