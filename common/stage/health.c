#include "common/stage/health.h"

#include <stdlib.h>
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/stop.h"
#include "common/stage/ownership.h"
#include "common_sql.h"

/*
 * A server is healthy when it has answered a ping within the last second. Connecting takes a far one several round trips, and is
 * not judged: the monitor goes on with it until it is there or has failed, and the server is not healthy meanwhile.
 */
#define INTERVAL_MS        250
#define TIMEOUT_MS         700 /* of a ping: with the interval within FRESH_MS */
#define CONNECT_TIMEOUT_MS 5000
#define FRESH_MS           1000
#define ALIVE_MS           60000
#define OWNED_INTERVAL_MS  5000

struct health {
        pthread_t redis_monitor, db_monitor;
};

static void note_server(struct service_health *health, struct service_server *server, bool up)
{
        pthread_mutex_lock(&health->lock);
        if (!server->since_ms || server->up != up)
                server->since_ms = clock_wall_ms();
        server->up = up;
        server->looked_ms = clock_ms();
        health->checked_ms = clock_wall_ms();
        pthread_mutex_unlock(&health->lock);
}

static void *watch_redis(void *argument)
{
        struct service *service = argument;
        AUTO(redis) struct redis *redis = NULL;
        int64_t owned_ms = 0;
        do {
                AUTO(text) char *problem = NULL;
                if (redis && !redis_alive(redis))
                        redis = redis_close(redis);
                bool up = redis || !service_open_redis(service, &redis, TIMEOUT_MS, &problem); /* of each round trip */
                up = up && !redis_call(redis, NULL, "PING", NULL);
                note_server(&service->health, &service->health.redis, up);
                const char *why; /* the next ping says it, too */
                if (up && atomic_load(&service->owns) && clock_is_due(&owned_ms, OWNED_INTERVAL_MS))
                        (void)!ownership_take(service, redis, NULL, &why);
        } while (!stop_wait(INTERVAL_MS));
        return NULL;
}

static void *watch_db(void *argument)
{
        struct service *service = argument;
        AUTO(db) struct db *db = NULL;
        const struct db_call ping = {.sql = &sql_00_ping};
        do {
                AUTO(text) char *problem = NULL;
                if (db && !db_alive(db))
                        db = db_close(db);
                bool up = db || !service_open_db(service, &db, CONNECT_TIMEOUT_MS, NULL, NULL, &problem);
                note_server(&service->health, &service->health.postgres, up && !db_run(db, &ping, 1, DB_AUTOCOMMIT, TIMEOUT_MS));
        } while (!stop_wait(INTERVAL_MS));
        return NULL;
}

int health_start(struct health **out, struct service *service)
{
        struct health *health = memory_new(1, sizeof(*health));
        int r = pthread_create(&health->redis_monitor, NULL, watch_redis, service);
        if (!r)
                r = pthread_create(&health->db_monitor, NULL, watch_db, service);
        *out = health;
        return -r; /* a thread that runs already ends with the process */
}

void health_join(struct health *health)
{
        if (!health)
                return;
        pthread_join(health->redis_monitor, NULL);
        pthread_join(health->db_monitor, NULL);
        free(health);
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
