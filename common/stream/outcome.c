#include "common/stream/outcome.h"

#include <string.h>
#include "common/base/clock.h"
#include "lua.h"

#define FIELDS_KEPT 64 /* of an entry without JSON, in its dead letter */

static void push_text(struct redis_command *command, const char *name, const char *value)
{
        if (!value)
                return;
        redis_command_push(command, name);
        redis_command_push(command, value);
}

static void push_key(struct redis_command *command, const char *target, const struct stream_key *key)
{
        redis_command_push(command, "XADD");
        redis_command_push(command, target);
        redis_command_push(command, "*");
        push_text(command, "bucket", key->bucket);
        push_text(command, "term_id", key->term_id);
        push_text(command, "curve_id", key->curve_id);
        push_text(command, "reason", key->reason);
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

static void push_dead_letter(
        struct redis_command *command, const struct stream_consumer *consumer, const struct stream_dead_letter *letter)
{
        char seen[32];
        const struct stream_entry *entry = letter->entry;
        clock_format(entry->ms > INT64_MAX ? INT64_MAX : (int64_t)entry->ms, seen); /* an id may be any 64 bits */
        redis_command_push(command, "EVAL");
        redis_command_push(command, text_dead_letter);
        redis_command_push(command, "2");
        redis_command_push(command, entry->stream);
        redis_command_push(command, consumer->dead_letter_stream);
        redis_command_push(command, consumer->group);
        redis_command_push(command, entry->id);
        push_text(command, "stage", consumer->stage);
        push_text(command, "stream", entry->stream);
        push_text(command, "id", entry->id);
        push_text(command, "group", consumer->group);
        push_text(command, "event_index", letter->event_index);
        push_text(command, "error_class", letter->error_class);
        push_text(command, "error", letter->error);
        redis_command_push(command, "attempts");
        redis_command_push_number(command, letter->attempts);
        push_text(command, "first_seen", seen);
        push_payload(command, entry);
}

static bool has_dead_letter(const struct stream_outcome *outcome, const struct stream_entry *entry)
{
        for (size_t i = 0; i < outcome->dead_letter_count; i++)
                if (outcome->dead_letters[i].entry == entry)
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
                        if (entry->stream != consumer->streams[s] || entry->left || has_dead_letter(outcome, entry))
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

enum { OUT_OF_MEMORY = 1 };

/* `count` replies, and every one is read, whatever the first failure; the last into *out, which may be NULL. */
static int receive(struct redis *redis, size_t count, struct redis_reply **out)
{
        int verdict = 0;
        for (size_t i = 0; i < count; i++) {
                int r = redis_receive(redis, out && i + 1 == count ? out : NULL);
                if (r && !redis_alive(redis))
                        return -1;
                if (r && verdict != OUT_OF_MEMORY)
                        verdict = redis_error_is(redis, "OOM") ? OUT_OF_MEMORY : -1;
        }
        return verdict;
}

/* MULTI's OK, count × QUEUED, then EXEC's array. */
static int receive_exec(struct redis *redis, size_t count, struct redis_reply **out)
{
        int verdict = receive(redis, count + 2, out);
        if (!verdict && redis_reply_count(*out) != count)
                verdict = redis_reject_reply(redis);
        for (size_t i = 0; !verdict && i < redis_reply_count(*out); i++)
                if (redis_reply_judge(redis, redis_reply_item(*out, i)))
                        verdict = -1;
        return verdict;
}

static int finish_with_acks(
        const struct stream_consumer *consumer, const struct stream_batch *batch, const struct stream_outcome *outcome)
{
        size_t acks = 0;
        int r = send_acks(consumer, batch, outcome, &acks);
        return r ? r : receive(consumer->redis, acks, NULL) ? -1 : 0;
}

static int finish_in_one_step(
        const struct stream_consumer *consumer, const struct stream_batch *batch, const struct stream_outcome *outcome)
{
        struct redis *redis = consumer->redis;
        size_t acks = 0;
        AUTO(redis_reply) struct redis_reply *reply = NULL;
        int r = send_word(redis, "MULTI");
        if (!r)
                r = send_keys(redis, outcome->target, outcome->keys, outcome->key_count);
        for (size_t i = 0; !r && i < outcome->dead_letter_count; i++) {
                AUTO_COMMAND struct redis_command command = {0};
                push_dead_letter(&command, consumer, &outcome->dead_letters[i]);
                r = redis_send(redis, &command);
        }
        if (!r)
                r = send_acks(consumer, batch, outcome, &acks);
        if (!r)
                r = send_word(redis, "EXEC");
        if (!r)
                r = receive_exec(redis, outcome->key_count + outcome->dead_letter_count + acks, &reply);
        for (size_t i = 0; !r && i < outcome->dead_letter_count; i++)
                outcome->dead_letters[i].written = redis_reply_number(redis_reply_item(reply, outcome->key_count + i));
        return r;
}

int stream_finish(const struct stream_consumer *consumer, const struct stream_batch *batch, struct stream_outcome *outcome)
{
        outcome->unpublished = false;
        int r = outcome->key_count || outcome->dead_letter_count ? finish_in_one_step(consumer, batch, outcome)
                                                                 : finish_with_acks(consumer, batch, outcome);
        if (r != OUT_OF_MEMORY)
                return r;
        outcome->unpublished = true;
        r = finish_with_acks(consumer, batch, outcome);
        for (size_t i = 0; !r && i < batch->count; i++)
                batch->entries[i].left = batch->entries[i].left || has_dead_letter(outcome, &batch->entries[i]);
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
        return r ? r : receive_exec(redis, count, &reply) ? -1 : 0;
}
