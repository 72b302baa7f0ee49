/*
 * Batches whose entries name keys: those of a stage that follows another one.
 *
 * An entry names a term, or a bucket of terms and stands for all that waits in the outbox for them. Terms fall into KEYS_BUCKETS
 * buckets by the first six bits of their ids, as the tables' vault_bucket() has it. What is published in turn has the entry's
 * form: a term for a term, a bucket for a bucket.
 *
 * A stage that can do whole buckets does all that the batch names, its terms' buckets too, in one pass: later entries of a
 * backlog then find nothing left. Where PostgreSQL refuses that, or a row is locked, each bucket is tried alone; what fails again
 * is done term by term, for KEYS_BY_TERM_MS and ten times as long as the try took, so that one term holds up no other.
 */
#pragma once

#include "common/stage/work.h"

#define KEYS_BUCKETS    64
#define KEYS_BY_TERM_MS 5000

/* What a worker remembers from batch to batch; a program's state_new and state_free. */
void *keys_state_new(const void *config);
void keys_state_free(void *state);

struct keys_stage {
        /* Does all that waits in these buckets; NULL: the stage works by term. Where it fails but for the connection, `terms` is
         * asked. An urgent stop may end it early with DB_DEADLINE. As db_run. */
        int (*buckets)(struct work *work, const bool buckets[KEYS_BUCKETS]);
        /* Does what waits for these terms, and nothing else. As db_run. */
        int (*terms)(struct work *work, const char *const *terms, size_t count);
        /* $1 bucket numbers, $2 a term id or '', $3 a number: so many of the terms that wait in the buckets, behind this one. */
        const struct sql *waiting_terms;
};

/* Dead-letters entries that name neither, and runs the others. work->state: of keys_state_new. 0, or negative: nothing is acked.
 */
MUST_CHECK int keys_process(struct work *work, const struct keys_stage *stage);

/* The number of a term's bucket; term_id: 0x and 64 lower-case hex digits. */
unsigned keys_bucket(const char *term_id);
/* Whether the entry names a bucket and comes from a backlog: more like it is on its way. */
bool keys_entry_is_backlog(const struct stream_entry *entry, unsigned *bucket);
/* In place of the batch's keys, their buckets: what a batch from a backlog publishes. */
void keys_fold_to_buckets(struct work *work);
