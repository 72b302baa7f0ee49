/*
 * One model of the whole pipeline, as JSON: the status page, /status and `status` only print it. It holds the streams, and what
 * is too slow or too much for every look: the last 15 minutes, replicas, dead letters, and what PostgreSQL knows (row estimates,
 * reorgs, outboxes, verify). In a service it is filled by two threads and read by the HTTP server's.
 */
#pragma once

#include "common/view/streams.h"

struct model;
struct cJSON;

/* What the HTTP server and the threads of watch.h work with. */
struct view {
        struct service *service;
        struct model *model;
};

struct model *model_new(void);
struct model *model_free(struct model *model); /* returns NULL; NULL is fine */

/* The streams of the pipeline as PostgreSQL knows them, ended by NULL; the names stay as long as the model. */
void model_get_streams(struct model *model, const char *out[VIEW_STREAMS_MAX + 1]);
/* Takes note of a look at the streams; history takes one in ten seconds. */
void model_note_streams(struct model *model, const struct view_streams *now);
/* Some milliseconds each; the old answers stay where it fails. The second sets the gauges of the program's last verify, too. */
MUST_CHECK int model_ask_dead_letters(struct model *model, const struct service *service, struct redis *redis);
MUST_CHECK int model_ask_database(struct model *model, const struct service *service, struct db *db);
/* All of it, from memory: while a server is away, what was seen last, marked as old. breaker: its state's name. Freed with
 * cJSON_Delete. */
struct cJSON *model_object(
        struct model *model, const struct service *service, const char *breaker, bool redis_up, bool postgres_up);
/* For a running service: with its own servers, since when they are up or away, what its start waits for, and the
 * verdict of pipeline_judge. malloc'd. */
char *model_json(struct model *model, struct service *service);
/* Whether somebody asked for it within the last half minute. */
bool model_is_watched(const struct model *model);
