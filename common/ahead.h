/*
 * What is to come from the pipeline's input: a stage behind the first one does well to let it gather. Which streams that is the
 * first stage says in the table pipeline_stream.
 */
#pragma once

#include <stdbool.h>
#include "db.h"
#include "redis.h"

struct ahead {
        struct db_rows *streams;
        size_t busy;  /* the one where entries were being worked at when last looked, by place */
        int replicas; /* of the program that asks, at least 1 */
};

/* As db_run. Zeroed before; needs ahead_deinit in any case. */
MUST_CHECK int ahead_read(struct ahead *ahead, struct db *db, const char *program, int64_t timeout_ms);
void ahead_deinit(struct ahead *ahead);
#define AUTO_AHEAD __attribute__((cleanup(ahead_deinit)))
/* Whether the first stage has said what it reads; the functions below want it. Streams of which Redis says nothing do not count.
 */
bool ahead_is_known(const struct ahead *ahead);
/* Whether the first stage works at entries; where not, *waiting: how many there are for it. */
bool ahead_is_busy(struct ahead *ahead, struct redis *redis, const char *group, int64_t *waiting);
/* For how long the entries have waited that the first stage reads next, in ms; 0 where they are no backlog. */
int64_t ahead_backlog_age(const struct ahead *ahead, struct redis *redis, const char *group);
