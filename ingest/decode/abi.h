/*
 * A log of the contract -> the values of an event record, as the Solidity ABI encodes them. Pure.
 *
 * An event's fields stand in event_types in the order of its arguments; the first few are indexed and stand in the topics behind
 * the event's own one, the others in the data. Source: https://docs.soliditylang.org/en/latest/abi-spec.html#events; the
 * contract's ABI.
 */
#pragma once

#include "ingest/decode/event.h"

#define ABI_WORD_SIZE  32
#define ABI_TOPICS_MAX 4

struct abi_log {
        unsigned char topics[ABI_TOPICS_MAX][ABI_WORD_SIZE];
        size_t topic_count;
        const unsigned char *data;
        size_t size;
};

enum {
        ABI_OTHER = 1, /* of none of the five event types */
        ABI_BAD = 2,   /* of one of them, but not encoded as it must be, or beyond the limits of event.h */
};

/* The first topic of an event type's logs: keccak-256 of its signature, 0x and 64 lower-case digits; NULL for EVENT_GENERIC. */
const char *abi_topic(enum event_kind kind);

/* 0, ABI_OTHER or ABI_BAD. Sets type and values, and nothing else of event. What these point to is the arena's. */
MUST_CHECK int abi_decode(const struct abi_log *log, struct arena *arena, struct event *event);
