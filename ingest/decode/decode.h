/*
 * JSON of one stream entry -> event records. Pure: no I/O, no state.
 *
 * The text must be one JSON value, at most DECODE_DEPTH_MAX levels deep, of a bounded number of values (json.h). Numbers keep
 * their own text to the last digit; an escaped NUL or lone surrogate spoils the event that would store it.
 */
#pragma once

#include "common/base/arena.h"
#include "ingest/decode/event.h"

#define DECODE_DEPTH_MAX 256

/* Why an event, or a whole message, can never be stored. class: "json", "type", "range", "missing", "network", "format". */
struct decode_fault {
        size_t index;      /* place in event_data; DECODE_WHOLE_MESSAGE where the message itself is bad */
        const char *class; /* static text */
        const char *text;  /* says the field and the value (shortened), in the arena */
};
#define DECODE_WHOLE_MESSAGE ((size_t)-1)
#define DECODE_FAULTS_MAX    100 /* bad events of a message that are told one by one */

struct decode_notice {
        const char *network;
        int64_t fork_block;
        int64_t depth;
        const char *json; /* event_data[0] as it came */
};

struct decode_message {
        struct event *events; /* the good ones, in order of event_data */
        size_t event_count;
        struct decode_fault *faults;  /* the first DECODE_FAULTS_MAX bad ones; exactly one with DECODE_WHOLE_MESSAGE where nothing
                                         could be read */
        size_t fault_count;           /* of all */
        struct decode_notice *notice; /* a reorg notice; then there are no events */
};

enum { DECODE_BAD = 1 };

/* network: the one network to take, NULL takes any. 0: out is filled, no faults. DECODE_BAD: out is filled, with faults. What out
 * points to is the arena's. scratch: memory of the call, reset by it and kept for the next. */
MUST_CHECK int decode_message(const char *text, size_t size, const char *network, struct arena *arena, struct arena *scratch,
        struct decode_message *out);
