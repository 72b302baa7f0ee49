/*
 * What the status page and `status` show, as JSON: the streams, and what is too slow or too much for every look: the last 15
 * minutes, replicas, dead letters, and what PostgreSQL knows (row estimates, reorgs, outboxes, verify). In a service filled by
 * two threads, read by the HTTP server's.
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
/* Notes in PostgreSQL that this replica runs, how it is, and what it reads, for all overviews. */
MUST_CHECK int overview_note(struct service *service, struct db *db, bool ready);
/* Some milliseconds each; the old answers stay where it fails. The second sets the gauges of the program's last verify, too. */
MUST_CHECK int overview_ask_redis(struct overview *overview, const struct service *service, struct redis *redis);
MUST_CHECK int overview_ask_database(struct overview *overview, struct service *service, struct db *db);
/* All of it, from memory: while a server is away, what was seen last. breaker: its state's name. Freed with cJSON_Delete. */
struct cJSON *overview_object(struct overview *overview, const struct service *service, const char *breaker);
/* Appends what keeps the pipeline from working, as short texts; "servers" and what else it looks at are in root. */
void overview_add_problems(struct cJSON *root);
/* For a running service: with its own servers, since when they are up or away, what its start waits for, its counters, and
 * problems. malloc'd. */
char *overview_json(struct overview *overview, struct service *service);
/* Whether somebody asked for it within the last half minute. */
bool overview_is_watched(const struct overview *overview);
