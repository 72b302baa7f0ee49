/* Time: monotonic for waiting, wall clock for saying when. Milliseconds. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

int64_t clock_ms(void);                            /* CLOCK_MONOTONIC */
int64_t clock_left(int64_t until_ms);              /* from clock_ms() on; 1 at least */
int64_t clock_wall_ms(void);                       /* Unix time */
void clock_format(int64_t wall_ms, char text[32]); /* 2026-01-30T12:00:00Z */
void clock_sleep(int64_t ms);
/* Whether interval_ms have passed since *last_ms, which is now then; 0: never yet. */
bool clock_is_due(int64_t *last_ms, int64_t interval_ms);
