/*
 * Start order does not matter: waits for Redis, PostgreSQL and the schema, and says what it waits for, when that changes and
 * every half minute.
 */
#pragma once

#include "common/stage/service.h"

/* Returns whether all is there: false where a stop was requested before. */
bool startup_wait(struct service *service);
