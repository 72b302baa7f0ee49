/*
 * A circuit breaker, shared by a program's workers. Time is handed in (CLOCK_MONOTONIC milliseconds), so tests need no clock.
 *
 * closed: work goes on; `threshold` consecutive failures open it. open: nobody works until timeout_ms have passed. half-open: one
 * worker probes, and has to say how that went; its success closes, its failure opens again. While it is open, a success or
 * failure of work begun before neither closes it nor prolongs the wait.
 *
 * Consecutive means consecutive in time: one loss of a server is one failure, however many workers notice it. After a counted
 * failure others are ignored for as long as a worker waits before its next try (see backoff.h): 100 ms, 200 ms, … 5 s.
 */
#pragma once

#include <pthread.h>
#include "common/base/base.h"

enum breaker_state { BREAKER_CLOSED, BREAKER_OPEN, BREAKER_HALF_OPEN };

struct breaker {
        pthread_mutex_t lock;
        enum breaker_state state;
        unsigned threshold, failures;
        int64_t timeout_ms, opened_ms;
        int64_t quiet_until_ms; /* failures before it are the last one, noticed again */
        int probing;            /* a probe is under way */
};

void breaker_init(struct breaker *breaker, unsigned threshold, int64_t timeout_ms); /* both above 0 */
/* 0: go on. Positive: milliseconds to wait before asking again (1 … timeout). */
MUST_CHECK int64_t breaker_ask(struct breaker *breaker, int64_t now_ms);
enum breaker_state breaker_succeed(struct breaker *breaker);              /* the state it had before */
enum breaker_state breaker_fail(struct breaker *breaker, int64_t now_ms); /* the state it has now */
enum breaker_state breaker_get(struct breaker *breaker);
