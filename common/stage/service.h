/*
 * A program under way. Lives as long as the process; threads get a pointer to it and share nothing else that changes but what has
 * its own lock or is atomic.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include "common/base/breaker.h"
#include "common/base/limiter.h"
#include "common/stage/config.h"
#include "common/stage/lane.h"
#include "common/stage/program.h"
#include "common/stream/owner.h"

#define SERVICE_WORKERS_MAX 256
#define SERVER_WHY_SIZE     500

/* Written by the monitors and by the start, see health.h. */
struct service_health {
        pthread_mutex_t lock;
        struct service_server {
                bool up;
                int64_t looked_ms;         /* monotonic: when it answered, or failed, last */
                int64_t since_ms;          /* wall clock: how long it has been as it is */
                char why[SERVER_WHY_SIZE]; /* it is not up */
                bool told;                 /* the log says that it is away */
        } redis, postgres;
        struct {
                char why[SERVER_WHY_SIZE];          /* of the last batch that failed; "": none since one went well */
                int64_t since_ms, last_ms, said_ms; /* monotonic */
        } failure;
        int64_t checked_ms;                 /* wall clock */
        char waiting[600];                  /* what the start waits for, "": nothing */
        char refused[PROGRAM_EXPLAIN_SIZE]; /* why the consumer group is not ours, "": it is (ownership.h) */
};

struct service {
        const struct program *program;
        void *config;                /* the program's struct */
        const struct config *shared; /* the same */
        bool json;                   /* a command that prints JSON */
        struct metrics *metrics;
        struct breaker breaker;
        struct limiter limiter;
        struct lane lane; /* of a stage whose input is keys */
        struct service_health health;
        struct stream_owner owner;                  /* who we are, under health.lock */
        atomic_bool owns;                           /* the consumer group is ours */
        atomic_llong owned_ms;                      /* when Redis last said so, monotonic */
        atomic_bool ready;                          /* workers run */
        atomic_llong alive_ms[SERVICE_WORKERS_MAX]; /* when each worker last showed a sign of life, monotonic */
        pthread_mutex_t mutexes[WORK_MUTEXES];      /* of the workers, see work_run_each */
};

/* Counts and logs what was lost before the group had read it. *lag (or NULL): the group's, negative: not known. */
MUST_CHECK int service_tell_gap(struct service *service, struct redis *redis, const char *stream, int64_t *lag);

bool service_reads_keys(const struct service *service); /* it follows another stage, and has an outbox */

/*
 * Connections with the service's settings, and with what REDIS_URL_FILE and DATABASE_URL_FILE hold by now: a rotated password is
 * read again. A failure is returned with *problem for the caller to log and free. tick: of a worker, which finishes its batch;
 * without one connecting to PostgreSQL ends when a stop is requested.
 */
MUST_CHECK int service_open_redis(const struct service *service, struct redis **out, int64_t timeout_ms, char **problem);
MUST_CHECK int service_open_db(
        struct service *service, struct db **out, int64_t timeout_ms, void (*tick)(void *), void *context, char **problem);

/* Whether PostgreSQL answers and takes writes; why not. */
MUST_CHECK int service_probe_db(struct db *db, int64_t timeout_ms, char why[SERVER_WHY_SIZE]);
