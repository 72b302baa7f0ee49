#include "ingest/chain/changes.h"

#include <stdlib.h>

#define CHANGES_MAX 100000

void changes_add(struct changes *changes, const char *const *parts)
{
        uint64_t key = 14695981039346656037u; /* FNV-1a */
        if (changes->count == CHANGES_MAX)
                return;
        for (; *parts; parts++)
                for (const char *at = *parts; at == *parts || at[-1]; at++) /* its NUL, too */
                        key = (key ^ (unsigned char)*at) * 1099511628211u;
        changes->keys = memory_grow(changes->keys, &changes->capacity, changes->count + 1, sizeof(*changes->keys));
        changes->keys[changes->count++] = key;
}

static int compare(const void *left, const void *right)
{
        const uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;
        return (a > b) - (a < b);
}

size_t changes_repeated(const struct changes *changes, struct changes *before)
{
        size_t repeated = 0;
        if (!before->count)
                return 0;
        qsort(before->keys, before->count, sizeof(*before->keys), compare);
        for (size_t i = 0; i < changes->count; i++)
                repeated += bsearch(&changes->keys[i], before->keys, before->count, sizeof(*before->keys), compare) != NULL;
        return repeated;
}

void changes_deinit(struct changes *changes)
{
        free(changes->keys);
        *changes = (struct changes){0};
}
