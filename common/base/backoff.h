/* Retry delays as a value: doubling from base to cap, jitter over the upper half so that replicas spread. Milliseconds. */
#pragma once

#include "common/base/base.h"

/* of a worker after a failure of Redis or PostgreSQL */
#define BACKOFF_FIRST_MS 100
#define BACKOFF_LAST_MS  5000

struct backoff {
        unsigned base_ms, cap_ms, attempt;
        uint64_t seed;
};

void backoff_init(struct backoff *backoff, unsigned base_ms, unsigned cap_ms, uint64_t seed);
unsigned backoff_next(struct backoff *backoff); /* delay before the next try: in (d/2, d], d = min(cap, base * 2^attempt) */
/* The next number of a splitmix64 sequence (https://prng.di.unimi.it/splitmix64.c); any seed will do, 0 included. */
uint64_t backoff_random(uint64_t *seed);
void backoff_reset(struct backoff *backoff);
