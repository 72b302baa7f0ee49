/*
 * Progress of long work on stderr: what, how much of how much, rate, time left. On a terminal one line that is drawn again,
 * elsewhere a plain line every ten seconds.
 */
#pragma once

#include <stdint.h>

struct progress {
        const char *what, *unit;
        int64_t total, done; /* total 0: not known */
        int64_t started_ms, said_ms;
};

void progress_begin(struct progress *progress, const char *what, const char *unit, int64_t total);
void progress_add(struct progress *progress, int64_t count);
/* Says how much it was and how long it took. */
void progress_end(struct progress *progress);
