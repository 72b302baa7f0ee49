#include <malloc.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "common/base/base.h"

void memory_init(void)
{
        mallopt(M_MMAP_THRESHOLD, 4 << 20);
        mallopt(M_TRIM_THRESHOLD, 8 << 20); /* twice that, as glibc has it until one of them is set */
}

_Noreturn void memory_end(void)
{
        static const char message[] = "out of memory: the process ends\n";
        (void)!write(STDERR_FILENO, message, sizeof(message) - 1);
        abort();
}

static void *checked(void *memory)
{
        if (!memory)
                memory_end();
        return memory;
}

void *memory_new(size_t count, size_t size)
{
        return checked(calloc(count, size));
}

void *memory_grow(void *data, size_t *capacity, size_t needed, size_t size)
{
        if (needed <= *capacity)
                return data;
        *capacity = *capacity ? *capacity : 64;
        while (*capacity < needed)
                *capacity *= 2;
        return checked(realloc(data, *capacity * size));
}

char *memory_copy(const char *text)
{
        return checked(strdup(text));
}

char *memory_copy_part(const char *text, size_t size)
{
        return checked(strndup(text, size));
}

FILE *memory_stream(char **text, size_t *size)
{
        return checked(open_memstream(text, size));
}

void memory_stream_end(FILE *stream)
{
        const bool failed = ferror(stream);
        if (fclose(stream) || failed)
                memory_end();
}
