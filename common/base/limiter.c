#include "common/base/limiter.h"

void limiter_init(struct limiter *limiter, int64_t per_second, int64_t now_ms)
{
        *limiter =
                (struct limiter){.lock = PTHREAD_MUTEX_INITIALIZER, .per_second = per_second, .refilled_ms = now_ms, .tokens = 1};
}

size_t limiter_take(struct limiter *limiter, size_t wanted, int64_t now_ms, int64_t *wait_ms)
{
        *wait_ms = 0;
        if (!limiter->per_second)
                return wanted;
        pthread_mutex_lock(&limiter->lock);
        limiter->tokens += (double)(now_ms - limiter->refilled_ms) * (double)limiter->per_second / 1000.0;
        limiter->refilled_ms = now_ms;
        if (limiter->tokens > (double)limiter->per_second)
                limiter->tokens = (double)limiter->per_second;
        size_t given = limiter->tokens < 1 ? 0 : limiter->tokens < (double)wanted ? (size_t)limiter->tokens : wanted;
        limiter->tokens -= (double)given;
        if (!given)
                *wait_ms = 1 + (int64_t)((1.0 - limiter->tokens) * 1000.0 / (double)limiter->per_second);
        pthread_mutex_unlock(&limiter->lock);
        return given;
}

void limiter_settle(struct limiter *limiter, size_t taken, size_t used)
{
        if (!limiter->per_second || taken == used)
                return;
        pthread_mutex_lock(&limiter->lock);
        limiter->tokens += (double)taken - (double)used;
        pthread_mutex_unlock(&limiter->lock);
}
