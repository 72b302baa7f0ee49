/*
 * The status page's JSON: the streams as `status` shows them, and what is too slow or too much for every look: the last 15
 * minutes, replicas, dead letters, and what PostgreSQL knows (row estimates, reorgs, outboxes, verify). Filled by two threads,
 * read by the HTTP server's.
 */
#pragma once

#include "status.h"

struct overview;

struct overview *overview_new(void);
struct overview *overview_free(struct overview *overview); /* returns NULL; NULL is fine */

/* The streams of the pipeline as PostgreSQL knows them, ended by NULL; the names stay as long as the overview. */
void overview_streams(struct overview *overview, const char *out[STATUS_STREAMS_MAX + 1]);
/* Takes note of a look at the streams; history takes one in ten seconds. */
void overview_sample(struct overview *overview, const struct status *now);
/* Asks both servers, and sets the gauges of the program's last verify. Some milliseconds; the old answers stay where it fails. */
MUST_CHECK int overview_ask(struct overview *overview, struct service *service, struct redis *redis, struct db *db);
/* JSON of it all, from memory: while a server is away, what was seen last, and since when it is away. malloc'd. */
char *overview_json(struct overview *overview, struct service *service);
