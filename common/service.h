/*
 * What the three programs share of running: a program describes itself in struct program, service_main does the rest — command
 * line, configuration, waiting for Redis, PostgreSQL and the schema, workers, housekeeping, HTTP, signals.
 *
 * Lifetimes: struct service lives as long as the process; threads get a pointer to it and share nothing else that changes but
 * what has its own lock (breaker, metrics, health).
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include "breaker.h"
#include "config.h"
#include "crew.h"
#include "limiter.h"
#include "metrics.h"
#include "queued.h"
#include "work.h"

struct service;

#define WORKERS_MAX 256

/* A subcommand of one program alone. Returns the exit code. */
struct service_command {
        const char *name, *usage, *help;
        int (*run)(struct service *service, int argc, char **argv);
};

/* A check of verify: a statement ($1: look at one key in so many) that returns table, key and difference of each row that
 * differs. */
struct service_check {
        const char *table;
        const struct sql *differences;
};

typedef void service_print(const void *options, const char *table, const char *key, const char *difference);

struct program {
        const char *name, *summary, *examples; /* for --help */
        const struct settings_table *settings;
        size_t config_size;                         /* of a struct that begins with struct config */
        const char *const *(*inputs)(void *config); /* streams it reads, NULL-ended */
        const char *(*output)(const void *config);  /* stream its keys go to; NULL: none */
        bool (*trims_inputs)(const void *config);   /* NULL: always */
        bool gathers; /* one pass over a key does all that waits for it: a busy stage does well to wait for more */

        void *(*state_new)(const void *config); /* a worker's own; may be NULL */
        void (*state_free)(void *state);
        size_t (*weigh)(const struct stream_entry *entry); /* about how many units an entry holds; NULL: one */
        int (*process)(struct work *work);                 /* 0, or negative: nothing is acked */

        /* Before the workers start (migrations). 0; else it is tried again, and *problem (static text, or left NULL: db_error)
         * says why. */
        int (*prepare)(struct service *service, struct db *db, const char **problem);
        const struct sql *
                outbox_stale; /* $1 age in ms: keys (term, curve or NULL, block) whose outbox rows are older; NULL: no backfill */

        void *(*beside)(void *service); /* a thread of its own beside the workers, until service_stopping(); may be NULL */

        const struct sql *gauge_sql; /* asked every now and then for one number, shown as gauge */
        struct metric *gauge;

        const struct service_check *checks; /* verify's; ends at table NULL */
        const struct sql *in_flight;        /* how many keys are left out since a change of theirs is under way; may be NULL */
        int (*verify_begin)(struct service *service, struct db *db); /* before the snapshot is taken; may be NULL */
        int (*verify_more)(
                struct db *db, int64_t *differences, service_print *print, const void *options); /* in it; may be NULL */
        int (*rebuild)(struct service *service, struct db *db);
        const struct service_command *commands; /* ends at NULL */
};

/* Up to the second, written by the monitor. */
struct health {
        pthread_mutex_t lock;
        struct server {
                bool up;
                int64_t looked_ms; /* monotonic: when it answered, or failed, last */
                int64_t since_ms;  /* wall clock: how long it has been as it is */
        } redis, postgres;
        int64_t checked_ms; /* wall clock */
        char waiting[600];  /* written by the start: what it waits for, "": nothing */
};

struct service {
        const struct program *program;
        void *config;                /* the program's struct */
        const struct config *shared; /* the same */
        struct metrics *metrics;
        struct breaker breaker;
        struct health health;
        struct overview *overview;          /* what /status says; NULL in commands */
        atomic_bool ready;                  /* workers run */
        atomic_llong alive_ms[WORKERS_MAX]; /* when each worker last showed a sign of life, monotonic */
        atomic_llong begun_ms[WORKERS_MAX]; /* monotonic: since when each worker is at what it has not done yet; 0: at nothing */
        pthread_mutex_t turns[WORK_TURNS];  /* of the workers; a stage that gathers uses the first, see worker.c */
        atomic_int at[WORKERS_MAX];   /* which of its streams each worker takes a backlog from, by place; 0: none, 1: the first */
        atomic_int replicas;          /* of the program, at the last look ahead; 0: not known yet */
        atomic_llong gather_until_ms; /* monotonic: a busy stage that gathers reads nothing before */
        atomic_llong backlog_ms;      /* monotonic: when a stage that gathers last saw the first one at a backlog; 0: never */
        atomic_bool has_begun;        /* to read: until then it does not know whether it will be busy */
        struct crew crew;
        struct limiter limiter;
        struct queued queued; /* keys that wait in the program's output */
};

int service_main(const struct program *program, int argc, char **argv);

/* True once a signal asked to stop. service_wait sleeps until then or for ms; returns whether to stop. */
bool service_stopping(void);
bool service_wait(int64_t ms);

/* Connections with the service's settings; a failure is returned with *problem for the caller to log and free. */
MUST_CHECK int service_open_redis(const struct service *service, struct redis **out, int64_t timeout_ms, char **problem);
MUST_CHECK int service_open_db(
        struct service *service, struct db **out, int64_t timeout_ms, void (*tick)(void *), void *context, char **problem);
