/*
 * libFuzzer target, see tests/fuzz/run: whatever comes in, decode_message keeps its contract. Memory errors are the sanitizers'
 * to find.
 */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include "ingest/decode/decode.h"
#include "ingest/decode/json.h"
#include "ingest/decode/number.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
        if (!holds)
                abort();
}

static bool is_text(const char *text)
{
        const unsigned char *at = (const unsigned char *)text, *end = at + strlen(text);

        for (size_t size; at < end; at += size) {
                size = json_character_size(at, end);
                if (!size)
                        return false;
        }
        return true;
}

static bool is_hex(const char *text, size_t bytes)
{
        return strlen(text) == 2 + 2 * bytes && !strncmp(text, "0x", 2) &&
               strspn(text + 2, "0123456789abcdefABCDEF") == 2 * bytes;
}

static bool is_lower_hex(const char *text, size_t bytes)
{
        return is_hex(text, bytes) && !strpbrk(text, "ABCDEF");
}

static bool is_canonical(const char *text)
{
        char again[NUMBER_U256_DIGITS + 1];

        return !number_read_u256(text, strlen(text), again) && !strcmp(text, again);
}

static void check_value(const struct event_value *value, enum event_field_form form)
{
        int64_t number;

        if (form == EVENT_FIELD_DATA) {
                require(!value[0].data != !value[1].data);
                if (value[0].data)
                        require(strlen(value[0].data) == value[0].size && is_text(value[0].data));
                else
                        require(strlen(value[1].data) < value[1].size || !is_text(value[1].data));
                return;
        }
        require(value->data && strlen(value->data) == value->size);
        switch (form) {
        case EVENT_FIELD_ADDRESS:
                require(is_hex(value->data, 20));
                break;
        case EVENT_FIELD_ID:
                require(is_lower_hex(value->data, 32));
                break;
        case EVENT_FIELD_VAULT_TYPE:
                require(!number_read_int64(value->data, value->size, 32767, &number) && is_canonical(value->data));
                break;
        default:
                require(is_canonical(value->data));
        }
}

/* What PostgreSQL's JSONB is given is JSON by the same strict rules, and holds nothing that it cannot store. */
static void check_json(const char *text)
{
        struct arena arena = ARENA_NULL;
        struct json *root;
        const char *error;
        size_t error_at;

        require(is_text(text));
        require(!json_read(text, strlen(text), DECODE_DEPTH_MAX, &arena, &root, &error, &error_at) && !root->unstorable);
        arena_deinit(&arena);
}

static void check_event(const struct event *event)
{
        size_t i = 0;

        require(is_lower_hex(event->transaction_hash, 32) && is_lower_hex(event->block_hash, 32) &&
                is_lower_hex(event->address, 20));
        require(*event->network && is_text(event->network));
        require(event->block_number >= 0 && event->log_index >= 0 && event->transaction_index >= 0);
        require(event->block_timestamp >= -1 && event->block_timestamp <= (int64_t)1 << 40);
        if (event->type->kind == EVENT_GENERIC) {
                require(event->value_count == 2 && event->values[0].size && is_text(event->values[0].data));
                require(strlen(event->values[1].data) == event->values[1].size);
                check_json(event->values[1].data);
                return;
        }
        for (const struct event_field *field = event->type->fields; field->member; field++) {
                check_value(&event->values[i], field->form);
                i += field->form == EVENT_FIELD_DATA ? 2 : 1;
        }
        if (event->type->kind == EVENT_TRIPLE_CREATED)
                check_value(&event->values[i++], EVENT_FIELD_ID);
        require(i == event->value_count && i <= EVENT_VALUES_MAX);
}

static void check_faults(const struct decode_message *message)
{
        static const char *const classes[] = {"json", "type", "range", "missing", "network", "format"};

        for (size_t i = 0; i < message->fault_count && i < DECODE_FAULTS_MAX; i++) {
                const struct decode_fault *fault = &message->faults[i];
                bool known = false;

                for (size_t k = 0; k < ARRAY_LENGTH(classes); k++)
                        known |= !strcmp(fault->class, classes[k]);
                require(known && *fault->text && strlen(fault->text) < 400 && is_text(fault->text));
                if (fault->index == DECODE_WHOLE_MESSAGE)
                        require(message->fault_count == 1 && !message->event_count && !message->notice);
                else
                        require(!i || fault->index > fault[-1].index);
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct arena arena = ARENA_NULL, scratch = ARENA_NULL;
        struct decode_message message;
        int r = decode_message((const char *)data, size, size % 2 ? "net" : NULL, &arena, &scratch, &message);

        require(r == (message.fault_count ? DECODE_BAD : 0));
        check_faults(&message);
        for (size_t i = 0; i < message.event_count; i++) {
                check_event(&message.events[i]);
                require(!i || message.events[i].index > message.events[i - 1].index);
        }
        if (message.notice) {
                require(!message.event_count && !message.fault_count && *message.notice->network &&
                        is_text(message.notice->network));
                require(message.notice->fork_block >= 0 && message.notice->depth >= 0);
                check_json(message.notice->json);
        }
        arena_deinit(&arena);
        arena_deinit(&scratch);
        return 0;
}
