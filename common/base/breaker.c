#include "common/base/breaker.h"

#include "common/base/backoff.h"

/* how long the others sleep while one probes: they must not miss its success by much */
enum { PROBE_WAIT_MS = 200 };

static int64_t quiet_ms(unsigned failures)
{
        int64_t nominal = failures > 6 ? BACKOFF_LAST_MS : BACKOFF_FIRST_MS << (failures - 1);
        return nominal > BACKOFF_LAST_MS ? BACKOFF_LAST_MS : nominal;
}

void breaker_init(struct breaker *breaker, unsigned threshold, int64_t timeout_ms)
{
        *breaker = (struct breaker){
                .lock = PTHREAD_MUTEX_INITIALIZER, .threshold = threshold, .timeout_ms = timeout_ms, .quiet_until_ms = INT64_MIN};
}

int64_t breaker_ask(struct breaker *breaker, int64_t now_ms)
{
        int64_t wait = 0, passed;

        pthread_mutex_lock(&breaker->lock);
        passed = now_ms - breaker->opened_ms;
        if (breaker->state == BREAKER_OPEN && passed < breaker->timeout_ms) {
                /* now may have been read before another worker opened it */
                wait = passed > 0 ? breaker->timeout_ms - passed : breaker->timeout_ms;
        } else if (breaker->state != BREAKER_CLOSED && breaker->probing) {
                wait = breaker->timeout_ms < PROBE_WAIT_MS ? breaker->timeout_ms : PROBE_WAIT_MS;
        } else if (breaker->state != BREAKER_CLOSED) {
                breaker->state = BREAKER_HALF_OPEN;
                breaker->probing = 1;
        }
        pthread_mutex_unlock(&breaker->lock);
        return wait;
}

enum breaker_state breaker_succeed(struct breaker *breaker)
{
        enum breaker_state before;

        pthread_mutex_lock(&breaker->lock);
        before = breaker->state;
        if (before != BREAKER_OPEN) {
                breaker->state = BREAKER_CLOSED;
                breaker->failures = 0;
                breaker->quiet_until_ms = INT64_MIN;
                breaker->probing = 0;
        }
        pthread_mutex_unlock(&breaker->lock);
        return before;
}

enum breaker_state breaker_fail(struct breaker *breaker, int64_t now_ms)
{
        enum breaker_state now;

        pthread_mutex_lock(&breaker->lock);
        if (breaker->state == BREAKER_CLOSED && now_ms >= breaker->quiet_until_ms)
                breaker->quiet_until_ms = now_ms + quiet_ms(++breaker->failures);
        if (breaker->state == BREAKER_HALF_OPEN ||
                (breaker->state == BREAKER_CLOSED && breaker->failures >= breaker->threshold)) {
                breaker->state = BREAKER_OPEN;
                breaker->opened_ms = now_ms;
                breaker->probing = 0;
        }
        now = breaker->state;
        pthread_mutex_unlock(&breaker->lock);
        return now;
}

enum breaker_state breaker_get(struct breaker *breaker)
{
        enum breaker_state state;

        pthread_mutex_lock(&breaker->lock);
        state = breaker->state;
        pthread_mutex_unlock(&breaker->lock);
        return state;
}
