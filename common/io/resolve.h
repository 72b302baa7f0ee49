/*
 * A host's addresses. getaddrinfo(3) has no time limit: with name servers that say nothing it takes a minute and more, so it runs
 * in a thread of its own, which goes on alone where nobody waits for it any more.
 */
#pragma once

#include <netdb.h>
#include <stdbool.h>
#include "common/base/base.h"

struct resolve_wait {
        int64_t limit_ms;
        bool ends_at_stop;           /* give up when a stop is requested */
        void (*tick)(void *context); /* called every quarter of a second; may be NULL */
        void *context;
};

enum { RESOLVE_FAILED = 1, RESOLVE_STOPPED };

/* 0: *found, for freeaddrinfo. RESOLVE_FAILED: problem says why, with the host's name. RESOLVE_STOPPED: a stop was requested. */
MUST_CHECK int resolve_host(
        const char *host, const struct resolve_wait *wait, struct addrinfo **found, char *problem, size_t problem_size);
