#include "common/stage/lane.h"

void lane_init(struct lane *lane)
{
        *lane = (struct lane){.holder = -1};
        pthread_mutex_init(&lane->lock, NULL);
}

void lane_deinit(struct lane *lane)
{
        pthread_mutex_destroy(&lane->lock);
}

bool lane_take(struct lane *lane, int worker, int64_t now_ms)
{
        pthread_mutex_lock(&lane->lock);
        bool stuck = lane->busy_ms && now_ms - lane->busy_ms >= LANE_STUCK_MS;
        if (lane->holder < 0 || lane->holder == worker || stuck) {
                lane->holder = worker;
                lane->busy_ms = 0;
        }
        bool held = lane->holder == worker;
        pthread_mutex_unlock(&lane->lock);
        return held;
}

void lane_begin_batch(struct lane *lane, int worker, int64_t now_ms)
{
        pthread_mutex_lock(&lane->lock);
        if (lane->holder == worker)
                lane->busy_ms = now_ms;
        pthread_mutex_unlock(&lane->lock);
}

void lane_leave(struct lane *lane, int worker)
{
        pthread_mutex_lock(&lane->lock);
        if (lane->holder == worker)
                lane->holder = -1;
        pthread_mutex_unlock(&lane->lock);
}
