/* A rate limit shared by a program's workers: a token bucket that holds one second's worth. Time is handed in, milliseconds. */
#pragma once

#include <pthread.h>
#include "common/base/base.h"

struct limiter {
        pthread_mutex_t lock;
        int64_t per_second, refilled_ms;
        double tokens;
};

void limiter_init(struct limiter *limiter, int64_t per_second, int64_t now_ms); /* 0: no limit */
/* How many of `wanted` may be taken now; *wait_ms: when none, how long until one may. */
size_t limiter_take(struct limiter *limiter, size_t wanted, int64_t now_ms, int64_t *wait_ms);
/* Settles with what came: what was taken and not used goes back, what came beyond it is owed. */
void limiter_settle(struct limiter *limiter, size_t taken, size_t used);
