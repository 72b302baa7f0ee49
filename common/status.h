/*
 * The streams at a look: groups, lag, rates, number of dead letters; and /health.
 */
#pragma once

#include "service.h"

#define STATUS_STREAMS_MAX (CONFIG_STREAMS_MAX + 2) /* and the internal ones */

struct status_row {
        const char *stream;
        struct stream_state state;
        bool own;    /* one that this program reads */
        double rate; /* entries a second acked since the look before; -1: not known yet */
};

struct status {
        struct status_row rows[STATUS_STREAMS_MAX];
        size_t count;
        int64_t letters; /* length of the dead letters' stream */
        int64_t looked_ms;
};

/* Looks at all streams this program knows: its inputs, the internal ones, the dead letters. others: streams of
 * other programs, ended by NULL; or NULL. before: an earlier look, for the rates; or NULL. */
MUST_CHECK int status_look(const struct service *service, struct redis *redis, const char *const *others,
        const struct status *before, struct status *out);
/* Entries a second that were acked of a row's stream between two looks; -1: not known. before may be NULL. */
double status_rate(const struct status *before, const struct status *now, const struct status_row *row);
/* JSON of it; breaker is the state's name. Freed with cJSON_Delete. */
struct cJSON *status_object(const struct service *service, const struct status *status, const char *breaker);
/* Whether the servers answered within the last second. */
void status_servers(struct service *service, bool *redis, bool *postgres);
/* Whether this program can work, which is what /readyz says. */
bool status_ready(struct service *service);
/* /health's body, and whether all is well. malloc'd. */
char *status_health(struct service *service, bool *healthy);
const char *status_breaker_name(enum breaker_state state);
/* For the command: the state of the breaker of the service that runs with these settings on this machine, "not running" where
 * none answers. */
void status_ask_breaker(const struct service *service, char name[16]);
