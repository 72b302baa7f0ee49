/*
 * Redis through hiredis: one connection, binary-safe commands, pipelines. The only user of hiredis.
 *
 * A connection is dead after its first I/O error (hiredis README): redis_alive turns false, close it and open anew. An error
 * reply leaves it alive: REDIS_REFUSED where the command was at fault, negative where the server was (spec section 5: LOADING,
 * OOM, MISCONF, NOPERM, EXECABORT, BUSY). It does not where a new connection would lead elsewhere. redis_error says what
 * happened. Sources: https://redis.io/docs/reference/protocol-spec/, hiredis 0.14 README.
 */
#pragma once

#include <stdbool.h>
#include "common/base/base.h"

struct redis;
struct redis_reply;

enum { REDIS_REFUSED = 1 };

struct redis_options {
        const char *url;                            /* redis_url_check passes it */
        const char *ca_file, *cert_file, *key_file; /* for rediss://, PEM; NULL: the system's authorities, no certificate */
        const char *const *keys; /* that it is for, NULL-ended; in a cluster all in one hash slot. NULL: unknown */
        int64_t timeout_ms;      /* of connecting, then of each reply */
};

/*
 * The server that takes writes of the keys: the master that a sentinel names and that says so itself; of several hosts, the first
 * that is no replica; in a cluster the master of the keys' hash slot, whichever node was asked. Errors that mean it is another
 * one by now (READONLY, MOVED, ASK, CLUSTERDOWN) end the connection; the next one asks anew. *problem: malloc'd text on failure,
 * host by host.
 */
MUST_CHECK int redis_open(struct redis **out, const struct redis_options *options, char **problem);
struct redis *redis_close(struct redis *redis);
AUTO_DEFINE(struct redis *, redis, redis_close)
bool redis_alive(const struct redis *redis);
/* How the server was found: by which sentinel, as which node of a cluster. "": the URL names it, and nothing else. */
const char *redis_route(const struct redis *redis);
/* What failed last, cleaned: no secret, no control character. */
const char *redis_error(struct redis *redis);
/* Whether it begins like that, as the server said it. */
bool redis_error_is(const struct redis *redis, const char *code);

/* One command: words that are pushed, then sent. Pushed bytes are copied. */
struct redis_command {
        char *data;
        size_t size, capacity;
        size_t *ends; /* where each word ends */
        size_t count, slots;
};
void redis_command_push(struct redis_command *command, const char *text);
void redis_command_push_bytes(struct redis_command *command, const void *data, size_t size);
void redis_command_push_number(struct redis_command *command, int64_t number);
void redis_command_reset(struct redis_command *command);
void redis_command_deinit(struct redis_command *command);
#define AUTO_COMMAND __attribute__((cleanup(redis_command_deinit)))

MUST_CHECK int redis_send(struct redis *redis, struct redis_command *command); /* queued; leaves the command empty */
MUST_CHECK int redis_receive(struct redis *redis, struct redis_reply **out);   /* the next reply, in order of sending */
/* Sends and receives; wait_ms is added to the connection's time limit (for commands that block). out may be NULL. */
MUST_CHECK int redis_run(struct redis *redis, struct redis_command *command, int64_t wait_ms, struct redis_reply **out);
/* The same with the words as arguments, NULL at the end. */
MUST_CHECK int redis_call(struct redis *redis, struct redis_reply **out, ...) __attribute__((sentinel));

/* For a reply that its command cannot have: what is still to come is in doubt, too, so the connection ends. Returns -1. */
int redis_reject_reply(struct redis *redis);

size_t redis_reply_count(const struct redis_reply *reply);                             /* elements of an array, else 0 */
const struct redis_reply *redis_reply_item(const struct redis_reply *reply, size_t i); /* NULL past the end */
const char *redis_reply_text(const struct redis_reply *reply, size_t *size);           /* NULL where it is no string; NUL-ended */
int64_t redis_reply_number(const struct redis_reply *reply);                           /* an integer, or a string of digits */
bool redis_reply_is_nil(const struct redis_reply *reply);
/* As redis_receive judges it, an error inside an array (EXEC). */
MUST_CHECK int redis_reply_judge(struct redis *redis, const struct redis_reply *reply);
/* The value behind a name in an array of name, value, name, value …; NULL: not there. */
const struct redis_reply *redis_reply_field(const struct redis_reply *reply, const char *name);
/* The value of a line "name:value" of INFO's answer, "" where there is none. */
void redis_info_value(const struct redis_reply *info, const char *name, char value[64]);
struct redis_reply *redis_reply_free(struct redis_reply *reply);
AUTO_DEFINE(struct redis_reply *, redis_reply, redis_reply_free)
