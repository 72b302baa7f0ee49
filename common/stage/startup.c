#include "common/stage/startup.h"

#include <stdio.h>
#include <string.h>
#include "common/base/backoff.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/stop.h"
#include "common/stage/link.h"
#include "common/stage/ownership.h"

#define SAY_AGAIN_MS  30000
#define PAUSE_LAST_MS 2000

struct startup {
        struct service *service;
        struct link link;
        int64_t said_ms;
        bool warned; /* of Redis' configuration */
};

static void note_waiting(struct service *service, const char *line)
{
        pthread_mutex_lock(&service->health.lock);
        snprintf(service->health.waiting, sizeof(service->health.waiting), "%s", line);
        pthread_mutex_unlock(&service->health.lock);
}

/* Says what is waited for when that changes, and again every half minute. Returns false. */
static bool wait_for(struct startup *startup, const char *what, const char *why)
{
        struct service *service = startup->service;
        char line[sizeof(service->health.waiting)];
        snprintf(line, sizeof(line), "%s: %s", what, why);
        if (!strcmp(line, service->health.waiting) && clock_ms() - startup->said_ms < SAY_AGAIN_MS)
                return false;
        note_waiting(service, line);
        startup->said_ms = clock_ms();
        log_write(LOG_WARN, "waiting", "for=%s reason=%s", what, why);
        return false;
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

static bool is_redis_there(struct startup *startup)
{
        if (!link_open_redis(&startup->link, startup->service))
                return wait_for(startup, "redis", link_redis_error(&startup->link));
        if (!startup->warned)
                warn_of_redis_config(startup->link.redis);
        startup->warned = true;
        if (!strncmp(startup->service->health.waiting, "redis:", 6))
                note_waiting(startup->service, "");
        return true;
}

static bool is_postgres_there(struct startup *startup)
{
        char closed[SERVER_WHY_SIZE];
        if (!link_open_db(&startup->link, startup->service))
                return wait_for(startup, "postgresql", link_db_error(&startup->link));
        if (service_probe_db(startup->link.db, LINK_TIMEOUT_MS, closed))
                return wait_for(startup, "postgresql", closed);
        const char *encoding = db_parameter(startup->link.db, "server_encoding");
        if (encoding && strcmp(encoding, "UTF8"))
                return wait_for(startup, "database encoding",
                        "the database is not UTF8 and cannot hold every event: make one with ENCODING 'UTF8'");
        return true;
}

static bool is_schema_there(struct startup *startup)
{
        struct service *service = startup->service;
        struct db *db = startup->link.db;
        char text[PROGRAM_EXPLAIN_SIZE];
        const char *why = NULL;
        int64_t version;
        if (service->program->prepare && service->program->prepare(service, db, &why))
                return wait_for(startup, "postgresql", why ? why : db_error(db));
        int r = service->program->database->check(db, &version);
        if (!r)
                return true;
        service->program->database->explain(db, r, text);
        return wait_for(startup, "schema", text);
}

/* Whether the consumer group is of this database; ownership_take has said so where it is not. */
static bool is_group_ours(struct startup *startup)
{
        struct service *service = startup->service;
        struct stream_owner self = {0};
        const char *why = NULL;
        int r = ownership_read(service, startup->link.db, &self, &why);
        if (!r)
                r = ownership_take(service, startup->link.redis, &self, &why);
        if (r < 0)
                return wait_for(startup, "consumer group", why);
        note_waiting(service, "");
        return !r;
}

bool startup_wait(struct service *service)
{
        struct startup startup = {.service = service};
        struct backoff backoff;
        backoff_init(&backoff, BACKOFF_FIRST_MS, PAUSE_LAST_MS, (uint64_t)clock_wall_ms());
        for (;;) {
                bool there = is_redis_there(&startup) && is_postgres_there(&startup) && is_schema_there(&startup) &&
                             is_group_ours(&startup);
                link_close(&startup.link); /* what a role, a database sets counts for new sessions */
                if (there || stop_wait(backoff_next(&backoff)))
                        return there;
        }
}
