#include "common/stage/startup.h"

#include <stdio.h>
#include <string.h>
#include "common/base/backoff.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/stop.h"
#include "common/stage/ownership.h"

#define WAIT_TIMEOUT_MS 5000
#define SAY_AGAIN_MS    30000

static void note_waiting(struct service *service, const char *line)
{
        pthread_mutex_lock(&service->health.lock);
        snprintf(service->health.waiting, sizeof(service->health.waiting), "%s", line);
        pthread_mutex_unlock(&service->health.lock);
}

/* Says what is waited for when that changes, and again every half minute. */
static void tell_waiting(struct service *service, int64_t *said_ms, const char *what, const char *why)
{
        char line[sizeof(service->health.waiting)];
        snprintf(line, sizeof(line), "%s: %s", what, why);
        if (!strcmp(line, service->health.waiting) && clock_ms() - *said_ms < SAY_AGAIN_MS)
                return;
        note_waiting(service, line);
        *said_ms = clock_ms();
        log_write(LOG_WARN, "waiting", "for=%s reason=%s", what, why);
}

static void warn_of_redis_config(struct redis *redis)
{
        AUTO(redis_reply) struct redis_reply *policy = NULL;
        AUTO(redis_reply) struct redis_reply *append = NULL;
        AUTO(redis_reply) struct redis_reply *save = NULL;
        if (redis_call(redis, &policy, "CONFIG", "GET", "maxmemory-policy", NULL) ||
                redis_call(redis, &append, "CONFIG", "GET", "appendonly", NULL) ||
                redis_call(redis, &save, "CONFIG", "GET", "save", NULL)) {
                log_write(LOG_INFO, "Redis does not tell its configuration; eviction and persistence are not checked", NULL);
                return;
        }
        const char *value = redis_reply_text(redis_reply_item(policy, 1), NULL);
        if (value && strcmp(value, "noeviction"))
                log_write(LOG_WARN, "Redis may evict streams when memory runs out; set maxmemory-policy to noeviction",
                        "maxmemory_policy=%s", value);
        const char *aof = redis_reply_text(redis_reply_item(append, 1), NULL),
                   *rdb = redis_reply_text(redis_reply_item(save, 1), NULL);
        if (aof && !strcmp(aof, "no") && rdb && !*rdb)
                log_write(LOG_WARN, "Redis does not persist: a restart loses the input streams; set appendonly to yes", NULL);
}

static bool is_redis_there(struct service *service, int64_t *said_ms)
{
        AUTO(redis) struct redis *redis = NULL;
        AUTO(text) char *problem = NULL;
        if (service_open_redis(service, &redis, WAIT_TIMEOUT_MS, &problem)) {
                tell_waiting(service, said_ms, "redis", problem);
                return false;
        }
        warn_of_redis_config(redis);
        return true;
}

/* Whether the consumer group is of this database; ownership_take has said so where it is not. */
static bool is_group_ours(struct service *service, struct db *db, int64_t *said_ms)
{
        AUTO(redis) struct redis *redis = NULL;
        AUTO(text) char *problem = NULL;
        const char *why = NULL;
        if (service_open_redis(service, &redis, WAIT_TIMEOUT_MS, &problem)) {
                tell_waiting(service, said_ms, "redis", problem);
                return false;
        }
        struct stream_owner self = {0};
        int r = ownership_read(service, db, &self, &why);
        if (!r)
                r = ownership_take(service, redis, &self, &why);
        if (r < 0)
                tell_waiting(service, said_ms, "consumer group", why);
        else
                note_waiting(service, "");
        return !r;
}

static bool is_postgres_there(struct service *service, int64_t *said_ms)
{
        AUTO(db) struct db *db = NULL;
        AUTO(text) char *problem = NULL;
        int64_t version;
        if (service_open_db(service, &db, WAIT_TIMEOUT_MS, NULL, NULL, &problem)) {
                tell_waiting(service, said_ms, "postgresql", problem);
                return false;
        }
        char closed[SERVER_WHY_SIZE];
        if (service_probe_db(db, WAIT_TIMEOUT_MS, closed)) {
                tell_waiting(service, said_ms, "postgresql", closed);
                return false;
        }
        const char *why = NULL, *encoding = db_parameter(db, "server_encoding");
        if (encoding && strcmp(encoding, "UTF8")) {
                tell_waiting(service, said_ms, "database encoding",
                        "the database is not UTF8 and cannot hold every event: make one with ENCODING 'UTF8'");
                return false;
        }
        if (service->program->prepare && service->program->prepare(service, db, &why)) {
                tell_waiting(service, said_ms, "postgresql", why ? why : db_error(db));
                return false;
        }
        int r = service->program->database->check(db, &version);
        if (r) {
                char text[PROGRAM_EXPLAIN_SIZE];
                service->program->database->explain(db, r, text);
                tell_waiting(service, said_ms, "schema", text);
                return false;
        }
        return is_group_ours(service, db, said_ms);
}

bool startup_wait(struct service *service)
{
        int64_t said_ms = 0;
        struct backoff backoff;
        backoff_init(&backoff, BACKOFF_FIRST_MS, 2000, (uint64_t)clock_wall_ms());
        while (!is_redis_there(service, &said_ms))
                if (stop_wait(backoff_next(&backoff)))
                        return false;
        backoff_reset(&backoff);
        note_waiting(service, "");
        while (!is_postgres_there(service, &said_ms))
                if (stop_wait(backoff_next(&backoff)))
                        return false;
        note_waiting(service, "");
        return true;
}
