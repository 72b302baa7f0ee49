/*
 * One batch under way: what a program's process function is given, and what it leaves for the worker to publish, dead-letter and
 * ack.
 */
#pragma once

#include <pthread.h>
#include "common/base/arena.h"
#include "common/io/db.h"
#include "common/stream/outcome.h"

struct metrics;

#define WORK_MUTEXES 8 /* as many as ingest has kinds of events, at least */

struct work {
        const void *config; /* the program's */
        void *state;        /* the worker's, made by the program */
        struct db *db;
        struct arena *arena; /* reset after the batch */
        const struct stream_batch *batch;
        struct metrics *metrics;
        pthread_mutex_t *mutexes; /* WORK_MUTEXES, shared by all workers, see work_run_each */
        int64_t deadline_ms, max_retries;

        struct stream_key *keys; /* what changed, to be published */
        size_t key_count, key_capacity;
        struct stream_dead_letter *dead_letters;
        size_t dead_letter_count, dead_letter_capacity;
        size_t units;           /* events or keys that were stored */
        size_t units_failed;    /* that went to dead letters */
        int64_t newest_block_s; /* newest block time in the batch, 0: none known */
};

/* Texts are borrowed until the batch is over. Keys may repeat. */
void work_add_key(struct work *work, const char *term_id, const char *curve_id, const char *reason, int64_t block_number);
void work_add_bucket(struct work *work, const char *bucket, const char *reason, int64_t block_number);
void work_add_dead_letter(struct work *work, const struct stream_entry *entry, const char *event_index, const char *error_class,
        const char *error, int64_t attempts);
/* Sorts the keys and leaves one of each, with its highest block. */
void work_fold_keys(struct work *work);
void work_deinit(struct work *work);

/*
 * Runs units 0 … count-1 through run, in as few calls as it can. Where PostgreSQL finds bad data, or time runs out, the range is
 * halved. A single unit with bad data is tried max_retries times and then handed to blame; a single unit over the deadline leaves
 * its entry pending, to be tried again later. Nothing else waits for either.
 */
struct work_bisect {
        int (*run)(struct work *work, void *context, size_t from, size_t count);                           /* as db_run */
        void (*blame)(struct work *work, void *context, size_t unit, const char *error, int64_t attempts); /* may be NULL */
        struct stream_entry *(*entry)(void *context, size_t unit); /* the one a unit came in; a NULL function: it has none */
        void *context;
};
MUST_CHECK int work_run(struct work *work, const struct work_bisect *bisect, size_t from, size_t count);

/*
 * Runs each of 0 … count-1 that is not done, under its mutex: two transactions that fill one table wait for each other at its hot
 * keys. What another worker is at comes later. Where all that is left is taken, waits for a mutex for a moment, then goes on
 * without. Returns as run, 0 where it has run all.
 */
MUST_CHECK int work_run_each(
        struct work *work, bool *done, size_t count, int (*run)(struct work *, void *, size_t which), void *context);
