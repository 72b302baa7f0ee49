/*
 * Whether the program can work. Two monitors, one for each server, ask it several times a second over connections of their own,
 * and wait so short for an answer that health is true as of the last second.
 */
#pragma once

#include "common/base/log.h"
#include "common/stage/service.h"

/* The two monitors, each a thread until stop_requested(). context: the struct service. */
void *health_watch_redis(void *context);
void *health_watch_db(void *context);

/* A batch, or connecting for one, failed, or a batch went well. Returns the level to log a failure at: many workers meet it,
 * again and again; it is a warning when it is another one, and every half minute, else for debugging. */
enum log_level health_note_failure(struct service *service, const char *why);
void health_note_success(struct service *service);
/* Whether the servers answered within the last second, and take writes. */
void health_get_servers(struct service *service, bool *redis, bool *postgres);
/* Whether the program can work: both servers up, breaker closed, workers running, no stop requested. */
bool health_is_ready(struct service *service);
/* Whether every worker showed a sign of life within the last minute; waiting for a server is life. */
bool health_is_alive(struct service *service);
const char *health_breaker_name(enum breaker_state state);
