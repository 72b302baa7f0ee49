/*
 * What a program says of itself: its streams, what it does with a batch, how its tables are verified. `service_main`
 * (common/main.h) does the rest: command line, configuration, waiting for the servers and the schema, workers, housekeeping,
 * HTTP, signals.
 */
#pragma once

#include "common/base/metrics.h"
#include "common/base/settings.h"
#include "common/io/db.h"
#include "common/stage/work.h"

struct service;

/* A subcommand: every program's (common/cli) or its own. Returns the exit code. */
struct program_command {
        const char *name, *usage, *help;
        bool (*accepts)(int argc, char **argv); /* whether it can read these arguments; argv[0] is the name */
        int (*run)(struct service *service, int argc, char **argv);
};

/* A check of verify: a table against its definition, a view; without the keys that another view names, NULL: none. */
struct program_check {
        const char *table, *definition, *waiting;
};

typedef void program_print(const void *options, const char *table, const char *key, const char *difference);

#define PROGRAM_EXPLAIN_SIZE 900

/* The database that the programs share: its schema, and the statements of the tables that the status view reads and writes. */
struct program_database {
        int64_t (*known)(void); /* the schema's version this program is made for */
        /* 0: the schema fits. Positive: it does not, explain says why. *version: where the database stands, 0: empty. */
        int (*check)(struct db *db, int64_t *version);
        void (*explain)(struct db *db, int result, char text[PROGRAM_EXPLAIN_SIZE]);
        const struct sql *identity;     /* the data's id, the place of the database that holds it, its schema */
        const struct sql *overview;     /* $1 program: see view/model.c */
        const struct sql *replica_note; /* $1 the replica as JSON, $2 the streams it reads */
        const struct sql *verify_table; /* $1 to $3 as in program_check, $4 sample; key and difference of each row */
        const struct sql *verify_note;  /* $1 program, $2 differences, $3 keys in flight, $4 sample, 0: all */
};

enum program_need { NEED_VERIFY, NEED_WRITE, NEED_RESET }; /* each needs what those before it do */

struct program {
        const char *name, *summary, *examples; /* for --help */
        const struct program_database *database;
        const struct settings_table *settings;
        size_t config_size;           /* of a struct that begins with struct config */
        void (*derive)(void *config); /* inputs, output and the like, once the settings are read */

        void *(*state_new)(const void *config); /* a worker's own */
        void (*state_free)(void *state);
        size_t (*estimate)(const struct stream_entry *entry); /* how many units an entry holds, about; NULL: one */
        int (*process)(struct work *work);                    /* 0, or negative: nothing is acked */

        /* Before the workers start (migrations). 0; else it is tried again, and *problem (static text, or left NULL: db_error)
         * says why. */
        int (*prepare)(struct service *service, struct db *db, const char **problem);
        /* Whether the settings fit what the database holds: 0, 1 and *problem (static text) says why not, or negative. May be
         * NULL. */
        int (*fits)(const struct service *service, struct db *db, const char **problem);
        void *(*beside)(void *service); /* a thread of its own beside the workers, until stop_requested(); may be NULL */

        /* A program whose input is keys has an outbox. $1 age in ms, $2 terms and $3 buckets that are pending: keys (term, curve
         * or NULL, block) whose rows are older and that no pending entry names. NULL: the input is events. */
        const struct sql *outbox_stale;

        struct metric *const *metrics; /* its own, besides those of every stage; ends at NULL; may be NULL */
        const struct sql *gauge_sql;   /* asked every now and then: a number for each of gauges, in their order */
        struct metric *const *gauges;  /* ends at NULL */

        /* Rights that are missing, beyond reading: an enum program_need, and what to do. */
        const struct sql *rights;
        const struct program_check *checks; /* verify's; ends at table NULL */
        const struct sql *in_flight;        /* how many keys are left out since a change of theirs is under way; may be NULL */
        int (*verify_begin)(struct service *service, struct db *db); /* before the snapshot is taken; may be NULL */
        int (*verify_more)(
                struct db *db, int64_t *differences, program_print *print, const void *options); /* in it; may be NULL */
        int (*rebuild)(struct service *service, struct db *db);
        const struct program_command *commands; /* ends at NULL */
};
