#include "common/stage/health.h"

#include <stdio.h>
#include <string.h>
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/stop.h"
#include "common/stage/ownership.h"
#include "common/stream/state.h"

/*
 * A server is healthy when it has answered within the last second that it takes writes: one that only answers does not help the
 * workers, and an idle one would not notice. Connecting takes a far one several round trips, and is not judged: the monitor goes
 * on with it until it is there or has failed, and the server is not healthy meanwhile.
 */
#define INTERVAL_MS        250
#define TIMEOUT_MS         700 /* of a probe: with the interval within FRESH_MS */
#define CONNECT_TIMEOUT_MS 5000
#define FRESH_MS           1000
#define ALIVE_MS           60000
#define OWNED_INTERVAL_MS  5000
#define SAY_AGAIN_MS       30000 /* who looks at the end of a log finds why */
#define SAY_AWAY_MS        5000  /* a restart, a failover is shorter as a rule */

/* An idle worker would not say that a server is away. */
static void note_server(struct service *service, struct service_server *server, const char *name, bool up, const char *why)
{
        struct service_health *health = &service->health;
        pthread_mutex_lock(&health->lock);
        if (!server->since_ms || server->up != up)
                server->since_ms = clock_wall_ms();
        server->up = up;
        snprintf(server->why, sizeof(server->why), "%s", up ? "" : why);
        server->looked_ms = clock_ms();
        health->checked_ms = clock_wall_ms();
        const bool told = server->told, away = !up && atomic_load(&service->ready);
        server->told = away && (told || clock_wall_ms() - server->since_ms >= SAY_AWAY_MS);
        const bool tell = told != server->told;
        pthread_mutex_unlock(&health->lock);
        if (tell && away)
                log_write(LOG_WARN, "a server is away, or takes no writes", "server=%s error=%s", name, why);
        else if (tell)
                log_write(LOG_INFO, "the server is back", "server=%s", name);
}

void *health_watch_redis(void *context)
{
        struct service *service = context;
        const char *stream = service->shared->inputs[0];
        AUTO(redis) struct redis *redis = NULL;
        int64_t owned_ms = 0;
        do {
                AUTO(text) char *problem = NULL;
                if (redis && !redis_alive(redis))
                        redis = redis_close(redis);
                bool up = redis || !service_open_redis(service, &redis, TIMEOUT_MS, &problem); /* of each round trip */
                up = up && !stream_probe(redis, stream, service->shared->group);
                note_server(service, &service->health.redis, "redis", up, redis ? redis_error(redis) : problem);
                const char *why; /* the next probe says it, too */
                if (up && atomic_load(&service->owns) && clock_is_due(&owned_ms, OWNED_INTERVAL_MS))
                        (void)!ownership_take(service, redis, NULL, &why);
        } while (!stop_wait(INTERVAL_MS));
        return NULL;
}

void *health_watch_db(void *context)
{
        struct service *service = context;
        AUTO(db) struct db *db = NULL;
        do {
                AUTO(text) char *problem = NULL;
                char why[SERVER_WHY_SIZE];
                if (db && !db_alive(db))
                        db = db_close(db);
                bool up = db || !service_open_db(service, &db, CONNECT_TIMEOUT_MS, NULL, NULL, &problem);
                note_server(service, &service->health.postgres, "postgresql", up && !service_probe_db(db, TIMEOUT_MS, why),
                        db ? why : problem);
        } while (!stop_wait(INTERVAL_MS));
        return NULL;
}

/* What tells one failure from another: errors of PostgreSQL name a table or a file, which is another one each time. */
static const char *kind_of(const char *why)
{
        const char *state = strstr(why, "(SQLSTATE ");
        return state ? state : why;
}

enum log_level health_note_failure(struct service *service, const char *why)
{
        const int64_t now = clock_ms();
        pthread_mutex_lock(&service->health.lock);
        const bool again = !strcmp(kind_of(service->health.failure.why), kind_of(why));
        const bool news = !again || now - service->health.failure.said_ms >= SAY_AGAIN_MS;
        if (!*service->health.failure.why)
                service->health.failure.since_ms = now;
        if (news)
                service->health.failure.said_ms = now;
        service->health.failure.last_ms = now;
        snprintf(service->health.failure.why, sizeof(service->health.failure.why), "%s", why);
        pthread_mutex_unlock(&service->health.lock);
        return news ? LOG_WARN : LOG_DEBUG;
}

void health_note_success(struct service *service)
{
        pthread_mutex_lock(&service->health.lock);
        *service->health.failure.why = '\0';
        pthread_mutex_unlock(&service->health.lock);
}

void health_get_servers(struct service *service, bool *redis, bool *postgres)
{
        int64_t fresh_ms = clock_ms() - FRESH_MS; /* a server that takes longer is not healthy */
        pthread_mutex_lock(&service->health.lock);
        *redis = service->health.redis.up && service->health.redis.looked_ms >= fresh_ms;
        *postgres = service->health.postgres.up && service->health.postgres.looked_ms >= fresh_ms;
        pthread_mutex_unlock(&service->health.lock);
}

bool health_is_ready(struct service *service)
{
        bool redis, postgres;
        health_get_servers(service, &redis, &postgres);
        return redis && postgres && breaker_get(&service->breaker) == BREAKER_CLOSED && atomic_load(&service->ready) &&
               atomic_load(&service->owns) && !stop_requested();
}

bool health_is_alive(struct service *service)
{
        bool alive = true;
        for (int64_t i = 0; atomic_load(&service->ready) && i < service->shared->workers; i++)
                alive = alive && clock_ms() - atomic_load(&service->alive_ms[i]) < ALIVE_MS;
        return alive;
}

const char *health_breaker_name(enum breaker_state state)
{
        static const char *const names[] = {
                [BREAKER_CLOSED] = "Closed", [BREAKER_OPEN] = "Open", [BREAKER_HALF_OPEN] = "HalfOpen"};
        return names[state];
}
