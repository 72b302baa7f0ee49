/*
 * The lane of a stage whose input is keys: one of its workers reads new entries at a time, so that keys that come again and again
 * are done once. Any worker may take the lane when it is free, or when its holder has been at one batch for LANE_STUCK_MS (a
 * lock that somebody holds). Pending entries need no lane.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include "common/base/base.h"

#define LANE_STUCK_MS 3000 /* longer than a pass over a backlog takes; a lost holder delays new entries by no more */

struct lane {
        pthread_mutex_t lock;
        int holder;      /* a worker's number, -1: free */
        int64_t busy_ms; /* since when the holder has had its batch, monotonic; 0: it is reading */
};

void lane_init(struct lane *lane);
void lane_deinit(struct lane *lane);
/* Takes it where it can be had. Returns whether the worker holds it now. */
bool lane_take(struct lane *lane, int worker, int64_t now_ms);
/* The worker has read its batch. */
void lane_begin_batch(struct lane *lane, int worker, int64_t now_ms);
/* Gives it back, if the worker holds it. */
void lane_leave(struct lane *lane, int worker);
