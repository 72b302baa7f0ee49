/* The URL that says where Redis is, taken apart: one server, several (the nodes of a cluster), or sentinels and a master's name.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include "common/base/base.h"

struct redis_host {
        char *name;
        int port;
};

#define REDIS_HOSTS_MAX 32

struct redis_url {
        struct redis_host hosts[REDIS_HOSTS_MAX]; /* of sentinels where there is a master's name */
        size_t count;
        char *user, *password; /* NULL: no login; user "": the default user */
        char *master;          /* NULL: no sentinels */
        long database;
        bool tls;
};

/* NULL: fine, else what is wrong with it (static text). Either way the caller releases what is in it. */
const char *redis_url_parse(struct redis_url *url, const char *text);
const char *redis_url_check(const char *text); /* the same for a setting */
void redis_url_deinit(struct redis_url *url);
#define AUTO_REDIS_URL __attribute__((cleanup(redis_url_deinit)))

/* Takes over what "host:port" names, as MOVED says it: the last colon counts, the host may be left out. False: it is nothing of
 * the kind. */
bool redis_host_set(struct redis_host *host, const char *text);
