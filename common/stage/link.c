#include "common/stage/link.h"

#include <stdio.h>
#include "common/base/log.h"

bool link_open_redis(struct link *link, struct service *service)
{
        AUTO(text) char *problem = NULL;
        if (link->redis && !redis_alive(link->redis))
                link->redis = redis_close(link->redis);
        if (!link->redis && service_open_redis(service, &link->redis, LINK_TIMEOUT_MS, &problem))
                snprintf(link->redis_problem, sizeof(link->redis_problem), "%s", problem);
        return link->redis;
}

bool link_open_db(struct link *link, struct service *service)
{
        AUTO(text) char *problem = NULL;
        if (link->db && !db_alive(link->db))
                link->db = db_close(link->db);
        if (!link->db && service_open_db(service, &link->db, LINK_TIMEOUT_MS, NULL, NULL, &problem))
                snprintf(link->db_problem, sizeof(link->db_problem), "%s", problem);
        return link->db;
}

void link_close(struct link *link)
{
        link->redis = redis_close(link->redis);
        link->db = db_close(link->db);
        *link->redis_problem = *link->db_problem = '\0';
}

const char *link_redis_error(const struct link *link)
{
        return link->redis ? redis_error(link->redis) : link->redis_problem;
}

const char *link_db_error(const struct link *link)
{
        return link->db ? db_error(link->db) : link->db_problem;
}

void link_tell_failure(const struct link *link, const char *message)
{
        const char *redis = link_redis_error(link), *db = link_db_error(link);
        log_write(LOG_WARN, message, "redis=%s postgresql=%s", *redis ? redis : "fine", *db ? db : "fine");
}
