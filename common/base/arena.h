/*
 * An arena: memory of one batch, given back as a whole. Pointers from it live until arena_reset or arena_deinit.
 *
 * Out of memory ends the process (abort with a message): no state is lost by it, since nothing is acked before its commit.
 */
#pragma once

#include "common/base/base.h"

struct arena {
        struct arena_block *blocks;
        size_t used; /* bytes handed out since the last reset */
};

#define ARENA_NULL ((struct arena){0})

void *arena_alloc(struct arena *arena, size_t size);                  /* aligned for any type, not zeroed */
char *arena_copy(struct arena *arena, const void *data, size_t size); /* a copy with a NUL behind it */
char *arena_format(struct arena *arena, const char *format, ...) PRINTF_LIKE(2, 3);
void arena_reset(struct arena *arena); /* keeps one block for the next batch */
void arena_deinit(struct arena *arena);
