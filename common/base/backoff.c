#include "common/base/backoff.h"

uint64_t backoff_random(uint64_t *seed)
{
        uint64_t z = *seed += 0x9E3779B97F4A7C15;

        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
        return z ^ (z >> 31);
}

void backoff_init(struct backoff *backoff, unsigned base_ms, unsigned cap_ms, uint64_t seed)
{
        *backoff = (struct backoff){.base_ms = base_ms, .cap_ms = cap_ms, .seed = seed};
}

unsigned backoff_next(struct backoff *backoff)
{
        uint64_t delay = backoff->cap_ms;

        /* from the 32nd doubling on any base is above any cap: no need to count further */
        if (backoff->attempt < 32) {
                uint64_t doubled = (uint64_t)backoff->base_ms << backoff->attempt++;

                delay = doubled < delay ? doubled : delay;
        }
        if (delay == 0)
                return 0;
        return (unsigned)(delay - backoff_random(&backoff->seed) % (delay - delay / 2));
}

void backoff_reset(struct backoff *backoff)
{
        backoff->attempt = 0;
}
