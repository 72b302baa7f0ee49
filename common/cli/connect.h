/* The connections of a command. Where one cannot be had, a message on stderr says why, and NULL is returned. */
#pragma once

#include "common/stage/service.h"

struct db *connect_db(struct service *service);
struct db *connect_schema(struct service *service); /* one whose schema this program knows */
struct redis *connect_redis(struct service *service);
