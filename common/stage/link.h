/* The connections of a thread beside the workers: opened when they are needed, anew after a failure. */
#pragma once

#include "common/stage/service.h"

#define LINK_TIMEOUT_MS 5000

struct link {
        struct redis *redis;
        struct db *db;
};

/* Whether the connection is there. */
bool link_open_redis(struct link *link, struct service *service);
bool link_open_db(struct link *link, struct service *service);
void link_close(struct link *link);
/* Logs what failed on them, as message. */
void link_tell_failure(const struct link *link, const char *message);
