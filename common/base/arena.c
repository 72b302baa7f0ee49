/*
 * Regular blocks double from BLOCK_MIN to BLOCK_MAX; the newest, which is the largest, is the one that serves and the one that a
 * reset keeps. A request too large for sharing a block gets one of its own behind it, so that one huge message is not held on to.
 */
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "common/base/arena.h"

/* Under AddressSanitizer what was not handed out, or was taken back, is poisoned; elsewhere these macros do nothing. */
#if __has_include(<sanitizer/asan_interface.h>)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(at, size)   ((void)(at), (void)(size))
#define ASAN_UNPOISON_MEMORY_REGION(at, size) ((void)(at), (void)(size))
#endif

#define BLOCK_MIN ((size_t)64 << 10)
#define BLOCK_MAX ((size_t)1 << 20)
#define ALIGNMENT _Alignof(max_align_t)

struct arena_block {
        struct arena_block *next;
        size_t size, used;
        _Alignas(max_align_t) char data[];
};

static struct arena_block *block_new(size_t size)
{
        struct arena_block *block = size <= SIZE_MAX - sizeof(*block) ? malloc(sizeof(*block) + size) : NULL;

        if (!block)
                memory_end();
        *block = (struct arena_block){.size = size};
        ASAN_POISON_MEMORY_REGION(block->data, size);
        return block;
}

static struct arena_block *block_add(struct arena *arena, size_t size)
{
        struct arena_block *head = arena->blocks, *block;
        size_t regular = BLOCK_MIN;

        if (head && head->size <= BLOCK_MAX)
                regular = head->size < BLOCK_MAX ? 2 * head->size : BLOCK_MAX;
        if (size <= regular / 4) {
                block = block_new(regular);
                block->next = head;
                arena->blocks = block;
                return block;
        }
        if (!head)
                return arena->blocks = block_new(size < BLOCK_MIN ? BLOCK_MIN : size);
        block = block_new(size);
        block->next = head->next;
        head->next = block;
        return block;
}

void *arena_alloc(struct arena *arena, size_t size)
{
        struct arena_block *block = arena->blocks;
        size_t room = size <= SIZE_MAX - ALIGNMENT ? (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT : SIZE_MAX;
        char *memory;

        if (!block || block->size - block->used < room)
                block = block_add(arena, room);
        memory = block->data + block->used;
        block->used += room;
        arena->used += room;
        ASAN_UNPOISON_MEMORY_REGION(memory, size);
        return memory;
}

char *arena_copy(struct arena *arena, const void *data, size_t size)
{
        char *copy = arena_alloc(arena, size < SIZE_MAX ? size + 1 : size);

        if (size)
                memcpy(copy, data, size);
        copy[size] = '\0';
        return copy;
}

/* gcc 12 with UBSan warns of a null format without the attribute */
__attribute__((nonnull(2))) char *arena_format(struct arena *arena, const char *format, ...)
{
        char most[256], *text;
        va_list args;
        int size;

        va_start(args, format);
        size = vsnprintf(most, sizeof(most), format, args);
        va_end(args);
        if (size < (int)sizeof(most))
                return arena_copy(arena, most, size < 0 ? 0 : (size_t)size);
        text = arena_alloc(arena, (size_t)size + 1);
        va_start(args, format);
        vsnprintf(text, (size_t)size + 1, format, args);
        va_end(args);
        return text;
}

static void blocks_free(struct arena_block *block)
{
        while (block) {
                struct arena_block *next = block->next;

                free(block);
                block = next;
        }
}

void arena_reset(struct arena *arena)
{
        struct arena_block *kept = arena->blocks;

        if (!kept || kept->size > BLOCK_MAX) {
                arena_deinit(arena);
                return;
        }
        blocks_free(kept->next);
        kept->next = NULL;
        kept->used = 0;
        ASAN_POISON_MEMORY_REGION(kept->data, kept->size);
        arena->used = 0;
}

void arena_deinit(struct arena *arena)
{
        blocks_free(arena->blocks);
        *arena = ARENA_NULL;
}
