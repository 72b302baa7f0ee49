/* The connections of a thread beside the workers: opened when they are needed, anew after a failure. */
#pragma once

#include "common/stage/service.h"

#define LINK_TIMEOUT_MS 5000

struct link {
        struct redis *redis;
        struct db *db;
        char redis_problem[SERVER_WHY_SIZE], db_problem[SERVER_WHY_SIZE]; /* why it could not be opened */
};

/* Whether the connection is there. */
bool link_open_redis(struct link *link, struct service *service);
bool link_open_db(struct link *link, struct service *service);
void link_close(struct link *link);
/* What failed last on them; "": nothing. */
const char *link_redis_error(const struct link *link);
const char *link_db_error(const struct link *link);
/* Logs it, as message. */
void link_tell_failure(const struct link *link, const char *message);
