#include "common/cli/connect.h"

#include <stdio.h>
#include "common_sql.h"

#define TIMEOUT_MS 5000

struct db *connect_db(struct service *service)
{
        struct db *db = NULL;
        AUTO(text) char *problem = NULL;
        if (service_open_db(service, &db, TIMEOUT_MS, NULL, NULL, &problem))
                fprintf(stderr, "%s: cannot connect to PostgreSQL (DATABASE_URL): %s\n", service->program->name, problem);
        if (!db || !db_query(db, &sql_00_session, NULL, 0, NULL, TIMEOUT_MS))
                return db;
        fprintf(stderr, "%s: PostgreSQL: %s\n", service->program->name, db_error(db));
        return db_close(db);
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

int connect_may(const struct service *service, struct db *db, enum program_need need)
{
        AUTO(db_rows) struct db_rows *rows = NULL;
        int missing = 0;
        if (db_query(db, service->program->rights, NULL, 0, &rows, TIMEOUT_MS)) {
                fprintf(stderr, "%s: PostgreSQL: %s\n", service->program->name, db_error(db));
                return -1;
        }
        for (size_t i = 0; i < db_rows_count(rows); i++)
                if (db_rows_number(rows, i, 0) <= (int64_t)need) {
                        fprintf(stderr, "%s: permission denied, nothing was changed: %s\n", service->program->name,
                                db_rows_text(rows, i, 1));
                        missing++;
                }
        return missing;
}
