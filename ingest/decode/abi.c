#include "ingest/decode/abi.h"

#include <string.h>
#include "ingest/decode/address.h"
#include "ingest/decode/number.h"

/* A topic is the hash of the event's signature, "TripleCreated(address,bytes32,…)". */
static const struct {
        const char *topic;
        size_t indexed; /* so many of its fields stand in topics */
} layouts[EVENT_KINDS] = {
        [EVENT_ATOM_CREATED] = {"0xfd579ad7468b1720e08f84efe16900074f3ffdaaeaa82e675e5aec69bf393189", 2},
        [EVENT_TRIPLE_CREATED] = {"0xf13505b910c49b286cf7fbaf1a78620cf7d8bda0e8e39c1baed620c08af686e7", 2},
        [EVENT_DEPOSITED] = {"0xf717428d3271f4ca44ee92a96ecda708463de1c200f30db4e295def5e8db6b4a", 3},
        [EVENT_REDEEMED] = {"0x5ab85658e5658520d47644e1417584159fc8edb9712149792a9337ff5e1048a4", 3},
        [EVENT_SHARE_PRICE_CHANGED] = {"0xcc9bc63a4b047be4850fcbada8d7ed7aa097ed4f6c3b55bebc7e108ea1d2f824", 2},
};

const char *abi_topic(enum event_kind kind)
{
        return layouts[kind].topic;
}

/* A word as a number, where it fits below a size. */
static int word_size(const unsigned char word[ABI_WORD_SIZE], size_t below, size_t *value)
{
        *value = 0;
        for (size_t i = 0; i < ABI_WORD_SIZE; i++) {
                *value = *value << 8 | word[i];
                if (*value >= below)
                        return ABI_BAD;
        }
        return 0;
}

/* A bytes argument: its word says where in the data its length stands, then its content follows, filled up to whole words. */
static int read_bytes(
        const struct abi_log *log, const unsigned char word[ABI_WORD_SIZE], struct arena *arena, struct event_value values[2])
{
        size_t at, count, left;
        if (word_size(word, log->size, &at) || log->size - at < ABI_WORD_SIZE)
                return ABI_BAD;
        left = log->size - at - ABI_WORD_SIZE;
        if (word_size(log->data + at, left + 1, &count))
                return ABI_BAD;
        event_set_data(values, (const unsigned char *)arena_copy(arena, log->data + at + ABI_WORD_SIZE, count), count);
        return 0;
}

static int read_address(const unsigned char word[ABI_WORD_SIZE], char text[ADDRESS_TEXT_SIZE + 1])
{
        static const unsigned char zeros[ABI_WORD_SIZE - ADDRESS_SIZE];
        if (memcmp(word, zeros, sizeof(zeros)) != 0)
                return ABI_BAD;
        address_format(word + sizeof(zeros), text);
        return 0;
}

static int read_value(const struct abi_log *log, const unsigned char word[ABI_WORD_SIZE], enum event_field_form form,
        struct arena *arena, struct event *event)
{
        char hex[2 * ABI_WORD_SIZE + 3], text[NUMBER_U256_DIGITS + 1];
        const char *found = text;
        size_t number;
        number_write_hex(word, ABI_WORD_SIZE, hex);
        switch (form) {
        case EVENT_FIELD_ADDRESS:
                if (read_address(word, text))
                        return ABI_BAD;
                break;
        case EVENT_FIELD_ID:
                found = hex;
                break;
        case EVENT_FIELD_VAULT_TYPE:
                if (word_size(word, EVENT_VAULT_TYPE_MAX + 1, &number))
                        return ABI_BAD;
                __attribute__((fallthrough));
        case EVENT_FIELD_AMOUNT:
                if (number_read_u256(hex, sizeof(hex) - 1, text))
                        return ABI_BAD;
                break;
        case EVENT_FIELD_DATA:
                event->value_count += 2;
                return read_bytes(log, word, arena, event->values + event->value_count - 2);
        }
        event->values[event->value_count++] =
                (struct event_value){.data = arena_copy(arena, found, strlen(found)), .size = strlen(found)};
        return 0;
}

static int find_kind(const struct abi_log *log, enum event_kind *kind)
{
        char topic[2 * ABI_WORD_SIZE + 3];
        if (!log->topic_count)
                return ABI_OTHER;
        number_write_hex(log->topics[0], ABI_WORD_SIZE, topic);
        for (*kind = 0; *kind < EVENT_KINDS; (*kind)++)
                if (layouts[*kind].topic && !strcmp(layouts[*kind].topic, topic))
                        return 0;
        return ABI_OTHER;
}

int abi_decode(const struct abi_log *log, struct arena *arena, struct event *event)
{
        enum event_kind kind;
        if (find_kind(log, &kind))
                return ABI_OTHER;
        size_t indexed = layouts[kind].indexed;
        event->type = &event_types[kind];
        event->value_count = 0;
        if (log->topic_count != indexed + 1)
                return ABI_BAD;
        for (size_t i = 0; event->type->fields[i].member; i++) {
                if (i >= indexed && (i - indexed + 1) * ABI_WORD_SIZE > log->size)
                        return ABI_BAD;
                const unsigned char *word = i < indexed ? log->topics[i + 1] : log->data + (i - indexed) * ABI_WORD_SIZE;
                if (read_value(log, word, event->type->fields[i].form, arena, event))
                        return ABI_BAD;
        }
        if (kind == EVENT_TRIPLE_CREATED) {
                const char *counter = event_counter_term_id(arena, event->values[1].data);
                event->values[event->value_count++] = (struct event_value){.data = counter, .size = strlen(counter)};
        }
        return 0;
}
