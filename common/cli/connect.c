#include "common/cli/connect.h"

#include <stdio.h>

#define TIMEOUT_MS 5000

struct db *connect_db(struct service *service)
{
        struct db *db = NULL;
        AUTO(text) char *problem = NULL;
        if (service_open_db(service, &db, TIMEOUT_MS, NULL, NULL, &problem))
                fprintf(stderr, "%s: cannot connect to PostgreSQL (DATABASE_URL): %s\n", service->program->name, problem);
        return db;
}

struct redis *connect_redis(struct service *service)
{
        struct redis *redis = NULL;
        AUTO(text) char *problem = NULL;
        if (service_open_redis(service, &redis, TIMEOUT_MS, &problem))
                fprintf(stderr, "%s: cannot connect to Redis (REDIS_URL): %s\n", service->program->name, problem);
        return redis;
}

struct db *connect_schema(struct service *service)
{
        struct db *db = connect_db(service);
        int64_t version = 0;
        int r = db ? service->program->database->check(db, &version) : 0;
        if (!r)
                return db;
        char text[PROGRAM_EXPLAIN_SIZE];
        service->program->database->explain(db, r, text);
        fprintf(stderr, "%s: %s\n", service->program->name, text);
        return db_close(db);
}
