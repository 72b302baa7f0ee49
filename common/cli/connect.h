/* The connections of a command. Limits of time that a role or a database sets do not hold for it. Where one cannot be had, a
 * message on stderr says why, and NULL is returned. */
#pragma once

#include "common/stage/service.h"

struct db *connect_db(struct service *service);
struct db *connect_schema(struct service *service); /* one whose schema this program knows */
/* Whether rights are missing that the command needs (program.rights), which is said before anything is done. 0: none is. */
MUST_CHECK int connect_may(const struct service *service, struct db *db, enum program_need need);
struct redis *connect_redis(struct service *service);
