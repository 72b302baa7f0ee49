#include "common/base/clock.h"

#include <time.h>

static int64_t read_clock(clockid_t id)
{
        struct timespec now;
        clock_gettime(id, &now);
        return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t clock_ms(void)
{
        return read_clock(CLOCK_MONOTONIC);
}

int64_t clock_left(int64_t until_ms)
{
        int64_t left = until_ms - clock_ms();
        return left > 1 ? left : 1;
}

int64_t clock_wall_ms(void)
{
        return read_clock(CLOCK_REALTIME);
}

void clock_format(int64_t wall_ms, char text[32])
{
        time_t seconds = wall_ms / 1000;
        struct tm parts;
        gmtime_r(&seconds, &parts);
        strftime(text, 32, "%Y-%m-%dT%H:%M:%SZ", &parts);
}

void clock_sleep(int64_t ms)
{
        struct timespec left = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
        while (nanosleep(&left, &left) != 0)
                ;
}

bool clock_is_due(int64_t *last_ms, int64_t interval_ms)
{
        if (*last_ms && clock_ms() < *last_ms + interval_ms)
                return false;
        *last_ms = clock_ms();
        return true;
}
