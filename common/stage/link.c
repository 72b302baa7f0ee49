#include "common/stage/link.h"

#include "common/base/log.h"

bool link_open_redis(struct link *link, struct service *service)
{
        AUTO(text) char *problem = NULL;
        if (link->redis && !redis_alive(link->redis))
                link->redis = redis_close(link->redis);
        if (!link->redis && service_open_redis(service, &link->redis, LINK_TIMEOUT_MS, &problem))
                log_write(LOG_DEBUG, "cannot connect", "server=redis error=%s", problem);
        return link->redis;
}

bool link_open_db(struct link *link, struct service *service)
{
        AUTO(text) char *problem = NULL;
        if (link->db && !db_alive(link->db))
                link->db = db_close(link->db);
        if (!link->db && service_open_db(service, &link->db, LINK_TIMEOUT_MS, NULL, NULL, &problem))
                log_write(LOG_DEBUG, "cannot connect", "server=postgresql error=%s", problem);
        return link->db;
}

void link_close(struct link *link)
{
        link->redis = redis_close(link->redis);
        link->db = db_close(link->db);
}

static const char *error_or_fine(const char *error)
{
        return *error ? error : "fine";
}

void link_tell_failure(const struct link *link, const char *message)
{
        log_write(LOG_WARN, message, "redis=%s postgresql=%s",
                link->redis ? error_or_fine(redis_error(link->redis)) : "not connected",
                link->db ? error_or_fine(db_error(link->db)) : "not connected");
}
