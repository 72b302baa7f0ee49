#include "stream.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "clock.h"
#include "lua.h"

#define CLAIM_COUNT   100
#define KEEP_COUNT    1000
#define LAG_COUNT_MAX 20000
#define LAG_BYTES_MAX 32000000
#define FIELDS_KEPT   64 /* of an entry without JSON, in its dead letter */

/* ---- batches ---- */

void stream_batch_reset(struct stream_batch *batch)
{
        for (size_t i = 0; i < batch->reply_count; i++)
                redis_reply_free(batch->replies[i]);
        batch->count = batch->reply_count = 0;
        batch->redelivered = false;
}

void stream_batch_deinit(struct stream_batch *batch)
{
        stream_batch_reset(batch);
        free(batch->entries);
        free(batch->replies);
        *batch = (struct stream_batch){0};
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

static struct stream_position parse_id(const char *id)
{
        char *end;
        uint64_t ms = strtoull(id, &end, 10);
        return (struct stream_position){.ms = ms, .seq = *end == '-' ? strtoull(end + 1, NULL, 10) : 0};
}

struct stream_entry stream_entry_make(const char *stream, const char *id, const struct redis_reply *fields)
{
        const struct stream_position at = parse_id(id);
        return (struct stream_entry){.stream = stream, .id = id, .ms = at.ms, .seq = at.seq, .fields = fields};
}

static void batch_add(struct stream_batch *batch, const char *stream, const struct redis_reply *entries)
{
        for (size_t i = 0; i < redis_reply_count(entries); i++) {
                const struct redis_reply *item = redis_reply_item(entries, i);
                const struct redis_reply *fields = redis_reply_item(item, 1);
                batch->entries = memory_grow(batch->entries, &batch->capacity, batch->count + 1, sizeof(*batch->entries));
                batch->entries[batch->count++] = stream_entry_make(
                        stream, redis_reply_text(redis_reply_item(item, 0), NULL), redis_reply_is_nil(fields) ? NULL : fields);
        }
}

static void batch_keep(struct stream_batch *batch, struct redis_reply *reply)
{
        batch->replies =
                memory_grow(batch->replies, &batch->reply_capacity, batch->reply_count + 1, sizeof(struct redis_reply *));
        batch->replies[batch->reply_count++] = reply;
}

/* ---- reading ---- */

static bool error_is(const struct redis *redis, const char *code)
{
        return !strncmp(redis_error(redis), code, strlen(code));
}

/* NOGROUP: DEL or FLUSHALL before the call; UNBLOCKED: during it */
static int group_gone(const struct redis *redis, int r)
{
        return r == REDIS_REFUSED && (error_is(redis, "NOGROUP") || error_is(redis, "UNBLOCKED")) ? STREAM_NO_GROUP
               : r > 0                                                                            ? -1
                                                                                                  : r;
}

int stream_group_create(struct redis *redis, const char *stream, const char *group)
{
        int r = redis_call(redis, NULL, "XGROUP", "CREATE", stream, group, "0", "MKSTREAM", NULL);
        if (r == REDIS_REFUSED && error_is(redis, "BUSYGROUP"))
                return 0;
        return r > 0 ? -1 : r;
}

static const char *stream_of(const struct stream_consumer *consumer, const char *name)
{
        for (size_t i = 0; consumer->streams[i]; i++)
                if (!strcmp(consumer->streams[i], name))
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
        for (size_t i = 0; i < redis_reply_count(reply); i++) {
                const struct redis_reply *item = redis_reply_item(reply, i);
                batch_add(
                        batch, stream_of(consumer, redis_reply_text(redis_reply_item(item, 0), NULL)), redis_reply_item(item, 1));
        }
        batch_keep(batch, reply);
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
        int r = redis_call(consumer->redis, &reply, "EVAL", text_lost, "2", stream, consumer->letter_stream, consumer->group,
                consumer->name, number, cursor, consumer->stage, STREAM_LOST, idle_ms, NULL);
        if (r == REDIS_REFUSED && strstr(redis_error(consumer->redis), "NOGROUP"))
                return STREAM_NO_GROUP;
        if (r)
                return r > 0 ? -1 : r;
        const char *next = redis_reply_text(redis_reply_item(reply, 0), NULL);
        snprintf(cursor, 80, "%s", next ? next : "");
        *count = (size_t)redis_reply_number(redis_reply_item(reply, 1));
        const struct redis_reply *lost = redis_reply_item(reply, 2);
        for (size_t i = 0; i < redis_reply_count(lost); i++)
                consumer->lost(consumer->context, stream, redis_reply_text(redis_reply_item(lost, i), NULL));
        return 0;
}

int stream_keep(const struct stream_consumer *consumer)
{
        for (size_t i = 0; consumer->streams[i]; i++) {
                char from[81] = "-";
                size_t seen;
                do {
                        int r = run_lost(consumer, consumer->streams[i], NULL, KEEP_COUNT, from, &seen);
                        if (r)
                                return r;
                        memmove(from + 1, from, strlen(from) + 1);
                        from[0] = '(';
                } while (seen == KEEP_COUNT);
        }
        return 0;
}

int stream_claim(const struct stream_consumer *consumer, int64_t idle_ms, size_t *claimed)
{
        char idle[24];
        snprintf(idle, sizeof(idle), "%" PRId64, idle_ms);
        *claimed = 0;
        for (size_t i = 0; consumer->streams[i]; i++) {
                char cursor[80] = "0-0";
                do {
                        size_t count;
                        int r = run_lost(consumer, consumer->streams[i], idle, CLAIM_COUNT, cursor, &count);
                        if (r)
                                return r;
                        *claimed += count;
                } while (!*claimed && strcmp(cursor, "0-0"));
        }
        return 0;
}

/* ---- finishing ---- */

static void push_key(struct redis_command *command, const char *target, const struct stream_key *key)
{
        redis_command_push(command, "XADD");
        redis_command_push(command, target);
        redis_command_push(command, "*");
        redis_command_push(command, "term_id");
        redis_command_push(command, key->term_id);
        if (key->curve_id) {
                redis_command_push(command, "curve_id");
                redis_command_push(command, key->curve_id);
        }
        redis_command_push(command, "reason");
        redis_command_push(command, key->reason);
        redis_command_push(command, "block_number");
        redis_command_push_number(command, key->block_number);
}

static void push_pair(struct redis_command *command, const char *name, const char *value, size_t size)
{
        redis_command_push(command, name);
        redis_command_push_bytes(command, value, size);
}

/* Entries without JSON (the internal streams') are kept as they are, and as words for people. */
static void push_payload(struct redis_command *command, const struct stream_entry *entry)
{
        size_t size = 0;
        const char *payload = stream_entry_payload(entry, &size);
        if (payload) {
                push_pair(command, "payload", payload, size);
                return;
        }
        AUTO_COMMAND struct redis_command words = {0};
        size_t count = redis_reply_count(entry->fields);
        for (size_t i = 0; i < count && i < FIELDS_KEPT * 2; i++) {
                const char *text = redis_reply_text(redis_reply_item(entry->fields, i), &size);
                redis_command_push_bytes(&words, text, size);
                redis_command_push(&words, i % 2 ? " " : "=");
        }
        push_pair(command, "payload", words.data ? words.data : "", words.size ? words.size - 1 : 0);
        for (size_t i = 0; i < count && i < FIELDS_KEPT * 2; i++) {
                const char *text = redis_reply_text(redis_reply_item(entry->fields, i), &size);
                redis_command_push_bytes(command, text, size);
        }
}

static void push_letter(struct redis_command *command, const struct stream_consumer *consumer, const struct stream_letter *letter)
{
        char seen[32];
        const struct stream_entry *entry = letter->entry;
        clock_format((int64_t)entry->ms, seen);
        redis_command_push(command, "EVAL");
        redis_command_push(command, text_dead_letter);
        redis_command_push(command, "2");
        redis_command_push(command, entry->stream);
        redis_command_push(command, consumer->letter_stream);
        redis_command_push(command, consumer->group);
        redis_command_push(command, entry->id);
        push_pair(command, "stage", consumer->stage, strlen(consumer->stage));
        push_pair(command, "stream", entry->stream, strlen(entry->stream));
        push_pair(command, "id", entry->id, strlen(entry->id));
        push_pair(command, "group", consumer->group, strlen(consumer->group));
        push_pair(command, "event_index", letter->event_index, strlen(letter->event_index));
        push_pair(command, "error_class", letter->error_class, strlen(letter->error_class));
        push_pair(command, "error", letter->error, strlen(letter->error));
        redis_command_push(command, "attempts");
        redis_command_push_number(command, letter->attempts);
        push_pair(command, "first_seen", seen, strlen(seen));
        push_payload(command, entry);
}

static bool has_letter(const struct stream_outcome *outcome, const struct stream_entry *entry)
{
        for (size_t i = 0; i < outcome->letter_count; i++)
                if (outcome->letters[i].entry == entry)
                        return true;
        return false;
}

/* Sends one XACK a stream for all entries without a letter. */
static int send_acks(const struct stream_consumer *consumer, const struct stream_batch *batch,
        const struct stream_outcome *outcome, size_t *sent)
{
        for (size_t s = 0; consumer->streams[s]; s++) {
                AUTO_COMMAND struct redis_command command = {0};
                for (size_t i = 0; i < batch->count; i++) {
                        const struct stream_entry *entry = &batch->entries[i];
                        if (entry->stream != consumer->streams[s] || entry->left || has_letter(outcome, entry))
                                continue;
                        if (!command.count) {
                                redis_command_push(&command, "XACK");
                                redis_command_push(&command, entry->stream);
                                redis_command_push(&command, consumer->group);
                        }
                        redis_command_push(&command, entry->id);
                }
                if (!command.count)
                        continue;
                int r = redis_send(consumer->redis, &command);
                if (r)
                        return r;
                (*sent)++;
        }
        return 0;
}

static int send_word(struct redis *redis, const char *word)
{
        AUTO_COMMAND struct redis_command command = {0};
        redis_command_push(&command, word);
        return redis_send(redis, &command);
}

static int send_keys(struct redis *redis, const char *target, const struct stream_key *keys, size_t count)
{
        AUTO_COMMAND struct redis_command command = {0};
        for (size_t i = 0; i < count; i++) {
                push_key(&command, target, &keys[i]);
                int r = redis_send(redis, &command);
                if (r)
                        return r;
        }
        return 0;
}

/* MULTI's OK, count × QUEUED, then EXEC's array; every reply is read, whatever the first failure. */
static int receive_exec(struct redis *redis, size_t count, struct redis_reply **out)
{
        int verdict = 0;
        for (size_t i = 0; i < count + 2; i++) {
                int r = redis_receive(redis, i == count + 1 ? out : NULL);
                if (r && !redis_alive(redis))
                        return r;
                if (r && !verdict)
                        verdict = -1;
        }
        if (!verdict && redis_reply_is_nil(*out))
                verdict = -1;
        for (size_t i = 0; !verdict && i < redis_reply_count(*out); i++)
                if (redis_reply_error(redis_reply_item(*out, i)))
                        verdict = -1;
        return verdict;
}

int stream_finish(const struct stream_consumer *consumer, const struct stream_batch *batch, const struct stream_outcome *outcome)
{
        struct redis *redis = consumer->redis;
        size_t acks = 0;
        AUTO(redis_reply) struct redis_reply *reply = NULL;
        int r = send_word(redis, "MULTI");
        if (!r)
                r = send_keys(redis, outcome->target, outcome->keys, outcome->key_count);
        for (size_t i = 0; !r && i < outcome->letter_count; i++) {
                AUTO_COMMAND struct redis_command command = {0};
                push_letter(&command, consumer, &outcome->letters[i]);
                r = redis_send(redis, &command);
        }
        if (!r)
                r = send_acks(consumer, batch, outcome, &acks);
        if (!r)
                r = send_word(redis, "EXEC");
        if (!r)
                r = receive_exec(redis, outcome->key_count + outcome->letter_count + acks, &reply);
        for (size_t i = 0; !r && i < outcome->key_count; i++)
                outcome->keys[i].position = parse_id(redis_reply_text(redis_reply_item(reply, i), NULL));
        for (size_t i = 0; !r && i < outcome->letter_count; i++)
                outcome->letters[i].written = redis_reply_number(redis_reply_item(reply, outcome->key_count + i));
        return r;
}

int stream_publish(struct redis *redis, const char *target, const struct stream_key *keys, size_t count)
{
        AUTO(redis_reply) struct redis_reply *reply = NULL;
        int r = send_word(redis, "MULTI");
        if (!r)
                r = send_keys(redis, target, keys, count);
        if (!r)
                r = send_word(redis, "EXEC");
        return r ? r : receive_exec(redis, count, &reply);
}

/* ---- state ---- */

static int64_t id_age(const char *id, int64_t now_ms)
{
        const uint64_t ms = parse_id(id).ms;
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

int stream_waiting_read(
        struct redis *redis, const char *stream, struct stream_position delivered, int64_t now_ms, int64_t *waiting_ms)
{
        AUTO(redis_reply) struct redis_reply *next = NULL;
        char behind[64];
        *waiting_ms = -1;
        snprintf(behind, sizeof(behind), "(%" PRIu64 "-%" PRIu64, delivered.ms, delivered.seq);
        if (redis_call(redis, &next, "XRANGE", stream, behind, "+", "COUNT", "1", NULL))
                return -1;
        const char *first = redis_reply_text(redis_reply_item(redis_reply_item(next, 0), 0), NULL);
        if (first)
                *waiting_ms = id_age(first, now_ms);
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
        return state->lag ? stream_waiting_read(redis, stream, parse_id(last), now, &state->waiting_ms) : 0;
}

int stream_state_read(struct redis *redis, const char *stream, const char *group, struct stream_state *state)
{
        AUTO(redis_reply) struct redis_reply *length = NULL;
        AUTO(redis_reply) struct redis_reply *groups = NULL;
        *state = (struct stream_state){.waiting_ms = -1, .lag_known = true};
        int r = redis_call(redis, &length, "XLEN", stream, NULL);
        if (!r)
                r = redis_call(redis, &groups, "XINFO", "GROUPS", stream, NULL);
        if (r) /* no such key: an ERR reply; the stream is just not there */
                return r == REDIS_REFUSED && error_is(redis, "ERR no such key") ? 0 : -1;
        state->exists = true;
        state->length = state->lag = redis_reply_number(length); /* all of it, where our group is not made yet */
        for (size_t i = 0; i < redis_reply_count(groups); i++) {
                const struct redis_reply *item = redis_reply_item(groups, i);
                const char *name = redis_reply_text(redis_reply_field(item, "name"), NULL);
                if (strcmp(name, group)) {
                        snprintf(state->foreign, sizeof(state->foreign), "%s", name);
                        continue;
                }
                const char *last = redis_reply_text(redis_reply_field(item, "last-delivered-id"), NULL);
                state->pending = redis_reply_number(redis_reply_field(item, "pending"));
                state->delivered = redis_reply_number(redis_reply_field(item, "entries-read"));
                if (read_lag(redis, stream, last, redis_reply_field(item, "lag"), state) ||
                        read_ages(redis, stream, group, last, state))
                        return -1;
        }
        return 0;
}

int stream_position_compare(struct stream_position left, struct stream_position right)
{
        if (left.ms != right.ms)
                return left.ms < right.ms ? -1 : 1;
        return left.seq < right.seq ? -1 : left.seq > right.seq;
}

int stream_group_read(struct redis *redis, const char *stream, const char *group, struct stream_group *out)
{
        AUTO(redis_reply) struct redis_reply *groups = NULL;
        int r = redis_call(redis, &groups, "XINFO", "GROUPS", stream, NULL);
        for (size_t i = 0; !r && i < redis_reply_count(groups); i++) {
                const struct redis_reply *item = redis_reply_item(groups, i), *lag = redis_reply_field(item, "lag");
                if (strcmp(redis_reply_text(redis_reply_field(item, "name"), NULL), group))
                        continue;
                *out = (struct stream_group){
                        .delivered = parse_id(redis_reply_text(redis_reply_field(item, "last-delivered-id"), NULL)),
                        .lag = redis_reply_is_nil(lag) ? -1 : redis_reply_number(lag),
                        .pending = redis_reply_number(redis_reply_field(item, "pending")),
                        .read = redis_reply_number(redis_reply_field(item, "entries-read")),
                        .alone = redis_reply_count(groups) == 1,
                };
                return 0;
        }
        return r < 0 ? r : STREAM_NO_GROUP;
}

int stream_bounds_read(struct redis *redis, const char *stream, const char *group, struct stream_bounds *bounds)
{
        AUTO(redis_reply) struct redis_reply *groups = NULL;
        AUTO(redis_reply) struct redis_reply *pending = NULL;
        *bounds = (struct stream_bounds){.delivered = "0-0"};
        int r = redis_call(redis, &groups, "XINFO", "GROUPS", stream, NULL);
        if (r)
                return r == REDIS_REFUSED && error_is(redis, "ERR no such key") ? 0 : -1;
        for (size_t i = 0; i < redis_reply_count(groups); i++) {
                const struct redis_reply *item = redis_reply_item(groups, i);
                if (strcmp(redis_reply_text(redis_reply_field(item, "name"), NULL), group))
                        continue;
                snprintf(bounds->delivered, sizeof(bounds->delivered), "%s",
                        redis_reply_text(redis_reply_field(item, "last-delivered-id"), NULL));
                if (redis_call(redis, &pending, "XPENDING", stream, group, NULL))
                        return -1;
                const char *oldest = redis_reply_text(redis_reply_item(pending, 1), NULL);
                bounds->settled = parse_id(oldest ? oldest : bounds->delivered);
                bounds->settled.seq += !oldest;
        }
        return 0;
}

int stream_range(struct redis *redis, const char *stream, const char *from, const char *to, size_t count,
        struct stream_batch *batch, size_t *read)
{
        struct redis_reply *reply = NULL;
        char number[24];
        size_t before = batch->count;
        snprintf(number, sizeof(number), "%zu", count);
        int r = redis_call(redis, &reply, "XRANGE", stream, from, to, "COUNT", number, NULL);
        *read = 0;
        if (r)
                return -1;
        batch_add(batch, stream, reply);
        batch_keep(batch, reply);
        *read = batch->count - before;
        return 0;
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
        if (r == REDIS_REFUSED && (strstr(redis_error(redis), "no such key") || strstr(redis_error(redis), "NOGROUP")))
                return 0;
        return r ? -1 : 0;
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
