/*
 * The lane of a stage whose input is keys: one of its workers reads new entries at a time, so that keys that come again and again
 * are done once, over connections that are warm. A worker keeps the lane until it fails, or has not come to read for
 * LANE_STUCK_MS (a lock that somebody holds): then any other takes it. Pending entries need no lane.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include "common/base/base.h"

#define LANE_STUCK_MS 3000 /* longer than a pass over a backlog takes; a lost holder delays new entries by no more */

struct lane {
        pthread_mutex_t lock;
        int holder;      /* a worker's number, -1: free */
        int64_t came_ms; /* when the holder last came to read, monotonic */
};

void lane_init(struct lane *lane);
void lane_deinit(struct lane *lane);
/* Before each read. Returns whether the worker has the lane now. */
bool lane_take(struct lane *lane, int worker, int64_t now_ms);
/* Gives it back, if the worker has it. */
void lane_leave(struct lane *lane, int worker);
