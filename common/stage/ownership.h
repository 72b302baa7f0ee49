/*
 * Whether the consumer group is of this program's database (stream/owner.h). It is asked at start, with each new connection to
 * PostgreSQL, where groups are made, and every few seconds by the monitor of Redis: that is the sign of life which a copy of the
 * database waits for. While the group is another database's, nothing is read and nothing is acked.
 */
#pragma once

#include "common/stage/service.h"
#include "common/stream/owner.h"

enum { OWNERSHIP_OTHER = 1 };

/* Who we are, as the database says. Negative: db_error, or *problem says why. */
MUST_CHECK int ownership_read(const struct service *service, struct db *db, struct stream_owner *self, const char **problem);
/* Whether the database that this process found last is the one at this place. */
bool ownership_is(struct service *service, const char *place);
/* For commands: asks of every input stream, and takes nothing. OWNERSHIP_OTHER: the text says whose it is. Else as
 * ownership_take. */
MUST_CHECK int ownership_ask(
        const struct service *service, struct redis *redis, struct db *db, char text[PROGRAM_EXPLAIN_SIZE], const char **problem);
/* Takes the group of every input stream. self: of ownership_read; NULL: as it was last. OWNERSHIP_OTHER: it is another's, which
 * is logged, shown and counted. Negative: PostgreSQL or Redis failed; *problem, static or the connection's own text, says why. */
MUST_CHECK int ownership_take(
        struct service *service, struct redis *redis, const struct stream_owner *self, const char **problem);
/* Before an ack of what was committed in the database at this place: whether the group is still of that one. Asks only where the
 * answer was no, or is some seconds old: this process stood still, and the group may have changed hands. As ownership_take. */
MUST_CHECK int ownership_confirm(struct service *service, const char *place, struct redis *redis, const char **problem);
