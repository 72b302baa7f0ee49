#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include "ingest/decode/address.h"
#include "ingest/decode/decode.h"
#include "ingest/decode/json.h"
#include "ingest/decode/number.h"

#define ID_SIZE     32
#define SHOWN_MAX   80 /* bytes of a bad value that a fault shows */
#define NOTICE_NAME "__rindexer_reorg"
#define KNOWN_MAX   64 /* a power of two */

/* A member, and the words that lead to it. */
struct field {
        struct json *item;  /* NULL: absent */
        size_t index;       /* of the element it is in; DECODE_WHOLE_MESSAGE: the envelope */
        const char *inside; /* what stands between event_data[index] and the name */
        const char *name;
};

/* The sum of an address costs more than all else that is done with it, and a message names few accounts, again and again. */
struct known_address {
        unsigned char bytes[ADDRESS_SIZE];
        const char *text; /* NULL: none yet */
};

struct decoder {
        struct arena *arena;
        struct decode_message *out;
        const char *network;                   /* the only one to take, or NULL */
        size_t index;                          /* of the event that faults are about */
        size_t elements;                       /* in event_data: so many faults at most */
        struct field name, data, fallback;     /* the envelope's event_name, event_data and network */
        struct known_address known[KNOWN_MAX]; /* by the last byte */
};

/* ---- what is in the tree ---- */

static bool is_type(const struct json *item, enum json_type type)
{
        return item && item->type == type;
}

/* Of equal names the last one counts, as in JSONB. */
static struct json *member_get(const struct json *object, const char *name)
{
        struct json *found = NULL;

        for (struct json *item = object->child; item; item = item->next)
                if (*item->name == *name && !strcmp(item->name, name))
                        found = item;
        return found;
}

static struct field envelope_field(const struct json *envelope, const char *name)
{
        return (struct field){member_get(envelope, name), DECODE_WHOLE_MESSAGE, "", name};
}

static struct field element_field(struct json *element, size_t index)
{
        return (struct field){element, index, "", ""};
}

static struct field event_field(struct field element, const char *name)
{
        return (struct field){member_get(element.item, name), element.index, ".", name};
}

static struct field transaction_field(struct field transaction, const char *name)
{
        return (struct field){member_get(transaction.item, name), transaction.index, ".transaction_information.", name};
}

/* ---- faults ---- */

/* As it was written, shortened between characters. */
static const char *show(struct arena *arena, const struct json *item)
{
        const unsigned char *start = (const unsigned char *)item->source, *end = (const unsigned char *)item->end, *at = start;

        if (item->type == JSON_OBJECT)
                return "an object";
        if (item->type == JSON_ARRAY)
                return "an array";
        while (at < end && at - start < SHOWN_MAX)
                at += json_character_size(at, end);
        return arena_format(arena, "%.*s%s", (int)(at - start), item->source, at < end ? "…" : "");
}

static int fault_add(struct decoder *d, const char *class, const char *text)
{
        struct decode_message *out = d->out;

        if (!out->faults)
                out->faults = arena_alloc(d->arena, DECODE_FAULTS_MAX * sizeof(*out->faults));
        if (out->fault_count < DECODE_FAULTS_MAX)
                out->faults[out->fault_count] = (struct decode_fault){.index = d->index, .class = class, .text = text};
        out->fault_count++;
        return DECODE_BAD;
}

/*
 * "event_data[0].vaultType: 40000 is above 32767". What is absent is missing, whatever class and words say.
 * Always DECODE_BAD; gcc does not see that, so what a field function fills in starts as NULL.
 */
PRINTF_LIKE(4, 5) static int field_fault(struct decoder *d, struct field field, const char *class, const char *format, ...)
{
        char path[128], words[SHOWN_MAX * 4];
        va_list args;

        if (d->out->fault_count >= DECODE_FAULTS_MAX)
                return fault_add(d, class, NULL);
        va_start(args, format);
        vsnprintf(words, sizeof(words), format, args);
        va_end(args);
        if (field.index == DECODE_WHOLE_MESSAGE)
                snprintf(path, sizeof(path), "%s", field.name);
        else
                snprintf(path, sizeof(path), "event_data[%zu]%s%s", field.index, field.inside, field.name);
        if (field.item)
                return fault_add(d, class, arena_format(d->arena, "%s: %s %s", path, show(d->arena, field.item), words));
        return fault_add(d, "missing", arena_format(d->arena, "%s: is missing", path));
}

/* ---- fields by their form ---- */

static int field_text(struct decoder *d, struct field field, const char **text)
{
        if (!is_type(field.item, JSON_STRING))
                return field_fault(d, field, "type", "is not a string");
        *text = field.item->text;
        return 0;
}

static int field_object(struct decoder *d, struct field field)
{
        if (!is_type(field.item, JSON_OBJECT))
                return field_fault(d, field, "type", "is not an object");
        return 0;
}

/* The text of a JSON number or of a string; which of them is a number is number.h's business. */
static int field_digits(struct decoder *d, struct field field, const char **text)
{
        if (!is_type(field.item, JSON_STRING) && !is_type(field.item, JSON_NUMBER))
                return field_fault(d, field, "type", "is not a number");
        *text = field.item->text;
        return 0;
}

static int field_int64(struct decoder *d, struct field field, int64_t max, int64_t *value)
{
        const char *text = NULL;
        int r;

        if (field_digits(d, field, &text))
                return DECODE_BAD;
        r = number_read_int64(text, strlen(text), max, value);
        if (r == NUMBER_RANGE)
                return field_fault(d, field, "range", "is above %lld", (long long)max);
        if (r)
                return field_fault(d, field, "format", "is not a whole number in decimal or 0x digits");
        return 0;
}

static int field_amount(struct decoder *d, struct field field, const char **value)
{
        char decimal[NUMBER_U256_DIGITS + 1];
        const char *text = NULL;
        int r;

        if (field_digits(d, field, &text))
                return DECODE_BAD;
        r = number_read_u256(text, strlen(text), decimal);
        if (r == NUMBER_RANGE)
                return field_fault(d, field, "range", "is above 2^256-1");
        if (r)
                return field_fault(d, field, "format", "is not a whole number in decimal or 0x digits");
        *value = arena_copy(d->arena, decimal, strlen(decimal));
        return 0;
}

/* Exactly so many bytes. There is room for one more, which the text could hold if it had no 0x. */
static int field_bytes(struct decoder *d, struct field field, size_t size, unsigned char *bytes)
{
        const char *hex = NULL;
        size_t length, count;

        if (field_text(d, field, &hex))
                return DECODE_BAD;
        length = strlen(hex);
        if (length > 2 * size + 2 || number_read_hex(hex, length, bytes, &count) || count != size)
                return field_fault(d, field, "format", "is not %zu bytes of hex", size);
        return 0;
}

/* In lower case with 0x. */
static int field_hex(struct decoder *d, struct field field, size_t size, const char **text)
{
        unsigned char bytes[ID_SIZE + 1];
        char *digits;

        if (field_bytes(d, field, size, bytes))
                return DECODE_BAD;
        digits = arena_alloc(d->arena, 2 * size + 3);
        number_write_hex(bytes, size, digits);
        *text = digits;
        return 0;
}

static int field_address(struct decoder *d, struct field field, const char **text)
{
        unsigned char bytes[ADDRESS_SIZE + 1];
        struct known_address *known;

        if (field_bytes(d, field, ADDRESS_SIZE, bytes))
                return DECODE_BAD;
        known = &d->known[bytes[ADDRESS_SIZE - 1] % KNOWN_MAX];
        if (!known->text || memcmp(known->bytes, bytes, ADDRESS_SIZE) != 0) {
                char *checked = arena_alloc(d->arena, ADDRESS_TEXT_SIZE + 1);

                address_format(bytes, checked);
                memcpy(known->bytes, bytes, ADDRESS_SIZE);
                known->text = checked;
        }
        *text = known->text;
        return 0;
}

/* Two values: the text, or the bytes. */
static int field_data(struct decoder *d, struct field field, struct event_value values[2])
{
        const char *text = NULL;
        unsigned char *bytes;
        size_t length, count;

        if (field_text(d, field, &text))
                return DECODE_BAD;
        length = strlen(text);
        bytes = arena_alloc(d->arena, length / 2 + 1);
        if (number_read_hex(text, length, bytes, &count))
                return field_fault(d, field, "format", "is not hex of an even number of digits");
        bytes[count] = '\0';
        event_set_data(values, bytes, count);
        return 0;
}

/* ---- events ---- */

static void value_add(struct event *event, const char *text)
{
        event->values[event->value_count++] = (struct event_value){.data = text, .size = strlen(text)};
}

static int value_read(struct decoder *d, struct field field, enum event_field_form form, struct event *event)
{
        const char *text = NULL;
        int64_t number;
        int r = DECODE_BAD;

        switch (form) {
        case EVENT_FIELD_ADDRESS:
                r = field_address(d, field, &text);
                break;
        case EVENT_FIELD_ID:
                r = field_hex(d, field, ID_SIZE, &text);
                break;
        case EVENT_FIELD_AMOUNT:
                r = field_amount(d, field, &text);
                break;
        case EVENT_FIELD_VAULT_TYPE:
                r = field_int64(d, field, EVENT_VAULT_TYPE_MAX, &number);
                if (!r)
                        text = arena_format(d->arena, "%d", (int)number);
                break;
        case EVENT_FIELD_DATA:
                r = field_data(d, field, event->values + event->value_count);
                if (!r)
                        event->value_count += 2;
                return r;
        }
        if (!r)
                value_add(event, text);
        return r;
}

/* The event's own network, or the envelope's; checked against the one to take. */
static int network_read(struct decoder *d, struct field field, const char **network)
{
        const char *text = NULL;

        if (d->fallback.item && (!field.item || field.item->type == JSON_NULL))
                field = d->fallback;
        if (field_text(d, field, &text))
                return DECODE_BAD;
        if (!*text || field.item->unstorable)
                return field_fault(d, field, "format", "is no name of a network");
        if (d->network && strcmp(text, d->network) != 0)
                return field_fault(d, field, "network", "is not \"%s\", the network to take", d->network);
        *network = arena_copy(d->arena, text, strlen(text));
        return 0;
}

static int transaction_read(struct decoder *d, struct field transaction, struct event *event)
{
        struct field timestamp;

        if (field_object(d, transaction) || network_read(d, transaction_field(transaction, "network"), &event->network) ||
                field_hex(d, transaction_field(transaction, "address"), ADDRESS_SIZE, &event->address) ||
                field_hex(d, transaction_field(transaction, "block_hash"), ID_SIZE, &event->block_hash) ||
                field_int64(d, transaction_field(transaction, "block_number"), INT64_MAX, &event->block_number) ||
                field_hex(d, transaction_field(transaction, "transaction_hash"), ID_SIZE, &event->transaction_hash) ||
                field_int64(d, transaction_field(transaction, "log_index"), INT64_MAX, &event->log_index) ||
                field_int64(d, transaction_field(transaction, "transaction_index"), INT64_MAX, &event->transaction_index))
                return DECODE_BAD;
        event->block_timestamp = -1;
        timestamp = transaction_field(transaction, "block_timestamp");
        if (timestamp.item && timestamp.item->type != JSON_NULL)
                return field_int64(d, timestamp, EVENT_TIMESTAMP_MAX, &event->block_timestamp);
        return 0;
}

static int storable(struct decoder *d, struct field field, const char *what, const char *unstorable)
{
        return unstorable ? field_fault(d, field, "format", "%sholds %s, which PostgreSQL cannot store", what, unstorable) : 0;
}

/* The element's members as they were written, but for transaction_information. */
static int generic_read(struct decoder *d, struct field element, struct event *event)
{
        const char *name = d->name.item->text, *unstorable = NULL;
        char *json = arena_alloc(d->arena, (size_t)(element.item->end - element.item->source) + 1);
        size_t size = 1;

        if (storable(d, d->name, "", d->name.item->unstorable))
                return DECODE_BAD;
        *json = '{';
        for (const struct json *item = element.item->child; item; item = item->next) {
                if (!strcmp(item->name, "transaction_information"))
                        continue;
                if (size > 1)
                        json[size++] = ',';
                memcpy(json + size, item->member, (size_t)(item->end - item->member));
                size += (size_t)(item->end - item->member);
                unstorable = unstorable ? unstorable : item->unstorable;
        }
        json[size++] = '}';
        json[size] = '\0';
        value_add(event, arena_copy(d->arena, name, strlen(name)));
        event->values[event->value_count++] = (struct event_value){.data = json, .size = size};
        return storable(d, element, "that ", unstorable);
}

static int event_read(struct decoder *d, const struct event_type *type, struct field element, struct event *event)
{
        *event = (struct event){.type = type, .index = d->index};
        if (field_object(d, element) || transaction_read(d, event_field(element, "transaction_information"), event))
                return DECODE_BAD;
        if (type->kind == EVENT_GENERIC)
                return generic_read(d, element, event);
        for (const struct event_field *f = type->fields; f->member; f++)
                if (value_read(d, event_field(element, f->member), f->form, event))
                        return DECODE_BAD;
        if (type->kind == EVENT_TRIPLE_CREATED)
                value_add(event, event_counter_term_id(d->arena, event->values[1].data));
        return 0;
}

static void events_read(struct decoder *d, const struct event_type *type, struct json *first, size_t limit)
{
        struct decode_message *out = d->out;
        struct event event;

        d->elements = 0;
        for (struct json *element = first; element && d->elements < limit; element = element->next)
                d->elements++;
        d->index = 0;
        for (struct json *element = first; d->index < d->elements; element = element->next, d->index++) {
                if (event_read(d, type, element_field(element, d->index), &event))
                        continue;
                if (!out->events)
                        out->events = arena_alloc(d->arena, (d->elements - d->index) * sizeof(event));
                out->events[out->event_count++] = event;
        }
}

/* ---- messages ---- */

/* All that is wrong with a notice is wrong with its message. */
static int notice_read(struct decoder *d, struct json *first, size_t limit)
{
        struct decode_notice *notice = arena_alloc(d->arena, sizeof(*notice));
        struct field element = element_field(first, 0), type;
        const char *text = NULL;

        if (first && first->next && limit > 1)
                return field_fault(d, d->data, "format", "of more than one element is no reorg notice");
        if (field_object(d, element))
                return DECODE_BAD;
        type = event_field(element, "type");
        if (field_text(d, type, &text))
                return DECODE_BAD;
        if (strcmp(text, "reorg") != 0)
                return field_fault(d, type, "format", "is not \"reorg\"");
        if (network_read(d, event_field(element, "network"), &notice->network) ||
                field_int64(d, event_field(element, "fork_block"), INT64_MAX, &notice->fork_block) ||
                field_int64(d, event_field(element, "depth"), INT64_MAX, &notice->depth))
                return DECODE_BAD;
        if (storable(d, element, "that ", first->unstorable))
                return DECODE_BAD;
        notice->json = arena_copy(d->arena, first->source, (size_t)(first->end - first->source));
        d->out->notice = notice;
        return 0;
}

static const struct event_type *type_find(const char *name)
{
        for (size_t i = 0; i < ARRAY_LENGTH(event_types); i++)
                if (event_types[i].name && !strcmp(event_types[i].name, name))
                        return &event_types[i];
        return &event_types[EVENT_GENERIC];
}

static int envelope_read(struct decoder *d, struct json *envelope)
{
        const char *name = NULL;
        struct json *first;
        size_t limit;

        if (envelope->type != JSON_OBJECT)
                return field_fault(
                        d, (struct field){envelope, DECODE_WHOLE_MESSAGE, "", "the message"}, "type", "is not an object");
        d->name = envelope_field(envelope, "event_name");
        d->data = envelope_field(envelope, "event_data");
        d->fallback = envelope_field(envelope, "network");
        if (field_text(d, d->name, &name))
                return DECODE_BAD;
        if (!*name)
                return field_fault(d, d->name, "format", "is empty");
        if (!is_type(d->data.item, JSON_ARRAY) && !is_type(d->data.item, JSON_OBJECT))
                return field_fault(d, d->data, "type", "is neither an array nor an object");
        /* older producers write one event without an array; what follows it is a member of the envelope */
        first = is_type(d->data.item, JSON_ARRAY) ? d->data.item->child : d->data.item;
        limit = is_type(d->data.item, JSON_ARRAY) ? SIZE_MAX : 1;
        if (!strcmp(name, NOTICE_NAME))
                return notice_read(d, first, limit);
        events_read(d, type_find(name), first, limit);
        return d->out->fault_count ? DECODE_BAD : 0;
}

int decode_message(const char *text, size_t size, const char *network, struct arena *arena, struct arena *scratch,
        struct decode_message *out)
{
        struct decoder d = {.arena = arena, .out = out, .network = network, .index = DECODE_WHOLE_MESSAGE, .elements = 1};
        struct json *root;
        const char *error;
        size_t error_at;

        *out = (struct decode_message){0};
        arena_reset(scratch);
        if (json_read(text, size, DECODE_DEPTH_MAX, scratch, &root, &error, &error_at))
                return fault_add(&d, "json", arena_format(arena, "byte %zu: %s", error_at, error));
        return envelope_read(&d, root);
}
