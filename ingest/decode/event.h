/*
 * The event types, as one table: what a member of the JSON is called, what it must be, which column it fills.
 *
 * To add an event type: a row in event.c, its insert and copy statements in ingest/sql, a migration with its table and triggers.
 * Source: the contract's ABI and rindexer 0.41's Redis stream output.
 */
#pragma once

#include "common/base/arena.h"

enum event_kind {
        EVENT_ATOM_CREATED,
        EVENT_TRIPLE_CREATED,
        EVENT_DEPOSITED,
        EVENT_REDEEMED,
        EVENT_SHARE_PRICE_CHANGED,
        EVENT_GENERIC, /* any other name */
        EVENT_KINDS
};

enum event_field_form {
        EVENT_FIELD_ADDRESS,    /* 20 bytes of hex -> EIP-55 text */
        EVENT_FIELD_ID,         /* 32 bytes of hex -> lower-case text with 0x */
        EVENT_FIELD_AMOUNT,     /* 0 … 2^256-1 -> decimal text */
        EVENT_FIELD_VAULT_TYPE, /* 0 … 32767 -> decimal text */
        EVENT_FIELD_DATA, /* hex of any even length -> two values: text (valid UTF-8 without NUL), else bytes; the other is NULL
                           */
};

struct event_field {
        const char *member; /* ABI name in the JSON */
        enum event_field_form form;
};

#define EVENT_FIELDS_MAX 9
#define EVENT_VALUES_MAX 10

struct event_type {
        enum event_kind kind;
        const char *name;                                /* event_name; NULL for EVENT_GENERIC */
        const char *table;                               /* the event table, also used as a label in logs and dead letters */
        struct event_field fields[EVENT_FIELDS_MAX + 1]; /* ends at member NULL */
        const char *columns[EVENT_VALUES_MAX + 1];       /* of the table, one a value, in the same order; ends at NULL */
};

#define EVENT_VAULT_TYPE_MAX 32767
#define EVENT_TIMESTAMP_MAX  ((int64_t)1 << 40)

extern const struct event_type event_types[EVENT_KINDS];

/* SQL NULL is data == NULL; an empty text has data != NULL and size 0. Memory belongs to the batch's arena. */
struct event_value {
        const char *data;
        size_t size;
};

/*
 * One decoded event. values[] stands in the order of type->fields, EVENT_FIELD_DATA taking two places. TripleCreated has one more
 * behind them: counter_term_id. EVENT_GENERIC has two: event_name, and the event without transaction_information as JSON text.
 */
struct event {
        const struct event_type *type;
        size_t index; /* place in event_data */
        struct event_value values[EVENT_VALUES_MAX];
        size_t value_count;
        const char *transaction_hash; /* 0x and 64 lower-case digits */
        const char *block_hash;       /* likewise */
        const char *address;          /* 0x and 40 lower-case digits */
        const char *network;
        int64_t block_number;
        int64_t log_index;
        int64_t transaction_index;
        int64_t block_timestamp; /* Unix seconds, -1 where the producer has none */
};

/* The two values of EVENT_FIELD_DATA. bytes has a NUL behind its size, and lives as long as the values. */
void event_set_data(struct event_value values[2], const unsigned char *bytes, size_t size);
/* The id of a triple's counter triple: keccak256(keccak256("COUNTER_SALT") ‖ term id), as the contract computes it. */
const char *event_counter_term_id(struct arena *arena, const char *term_id);
