#include "common/base/progress.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>
#include "common/base/clock.h"

#define DRAW_MS  200
#define PLAIN_MS 10000

void progress_begin(struct progress *progress, const char *what, const char *unit, int64_t total)
{
        int64_t now = clock_ms();
        *progress = (struct progress){.what = what, .unit = unit, .total = total, .started_ms = now, .said_ms = now};
}

void progress_add(struct progress *progress, int64_t count)
{
        char share[48] = "", left[48] = "";
        int64_t now = clock_ms();
        progress->done += count;
        if (now - progress->said_ms < (isatty(STDERR_FILENO) ? DRAW_MS : PLAIN_MS))
                return;
        progress->said_ms = now;
        double rate = (double)progress->done * 1000.0 / (double)(now - progress->started_ms);
        if (progress->total > 0) {
                int64_t missing = progress->total > progress->done ? progress->total - progress->done : 0;
                snprintf(share, sizeof(share), " of %" PRId64, progress->total);
                if (rate > 0)
                        snprintf(left, sizeof(left), ", %.0f s left", (double)missing / rate);
        }
        fprintf(stderr, "%s%s: %" PRId64 "%s %s, %.0f a second%s%s", isatty(STDERR_FILENO) ? "\r\033[K" : "", progress->what,
                progress->done, share, progress->unit, rate, left, isatty(STDERR_FILENO) ? "" : "\n");
}

void progress_end(struct progress *progress)
{
        double seconds = (double)(clock_ms() - progress->started_ms) / 1000.0;
        fprintf(stderr, "%s%s: %" PRId64 " %s in %.1f s\n", isatty(STDERR_FILENO) ? "\r\033[K" : "", progress->what,
                progress->done, progress->unit, seconds);
}
