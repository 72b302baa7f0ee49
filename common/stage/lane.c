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
        if (lane->holder < 0 || now_ms - lane->came_ms >= LANE_STUCK_MS)
                lane->holder = worker;
        bool has = lane->holder == worker;
        if (has)
                lane->came_ms = now_ms;
        pthread_mutex_unlock(&lane->lock);
        return has;
}

void lane_leave(struct lane *lane, int worker)
{
        pthread_mutex_lock(&lane->lock);
        if (lane->holder == worker)
                lane->holder = -1;
        pthread_mutex_unlock(&lane->lock);
}
