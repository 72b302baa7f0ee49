/*
 * Which rows a pass of reconciling has changed. Two passes in a row that change the same row, without a reorg notice in between,
 * are a failure: what is written does not stay.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include "common/base/base.h"

struct changes {
        uint64_t *keys; /* a hash a change */
        size_t count, capacity;
};

/* One more, of parts that end at NULL. After 100,000 no more are remembered. */
void changes_add(struct changes *changes, const char *const *parts);
/* How many of them `before`, which is sorted, has, too. */
size_t changes_repeated(const struct changes *changes, struct changes *before);
void changes_deinit(struct changes *changes);
