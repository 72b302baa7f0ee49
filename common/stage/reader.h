/*
 * Reading: which entries a worker takes next, as one consumer of the group.
 *
 * New entries. The first read of a batch waits for something; further ones take what is there, up to BATCH_MAX_EVENTS. In a
 * backlog of several streams a batch is of one stream, for events of one kind cost less in one go; of every FAIR_READ such
 * batches one is of all streams, so that none waits for the others. A stage whose input is keys takes the lane first
 * (lane.h), and gathers: while all that it has read comes from a backlog of an earlier stage it goes on reading, until none has
 * come for 400 ms, five seconds at most (spec "In a backlog").
 *
 * Pending entries of this consumer: what an earlier life, a failed batch or a claim left. A pass reads each of them once, oldest
 * first; new entries wait until it ends.
 *
 *   no pass ──(connected, batch failed, claimed, slow entries due)──▶ pass under way ──(nothing pending behind it)──▶ no pass
 *
 * What becomes pending while a pass is under way may lie behind its place: then another pass follows. An entry that was left
 * pending for being slow is tried again SLOW_RETRY_MS later, in a pass. In a pass after a failure or a new connection an entry
 * that was delivered more than MAX_RETRIES times is read alone.
 *
 * Claims: every CLAIM_IDLE_MS / 2 a reader takes over entries that others left pending for CLAIM_IDLE_MS, and begins a pass. It
 * keeps its own fresh (reader_keep), also while a batch takes long or PostgreSQL is away.
 */
#pragma once

#include "common/stage/service.h"

struct reader {
        struct service *service;
        int number; /* of its worker */
        struct stream_consumer consumer;
        struct stream_batch batch;
        size_t streams;
        size_t *averages;  /* units of an entry, lately, by stream; 0: not known */
        size_t *largest;   /* bytes of the largest entry, lately, by stream */
        bool full;         /* the last read of new entries took as many units as a batch may hold */
        size_t full_reads; /* reads behind a full one */
        uint64_t random;

        bool pass, pass_again, one_by_one; /* one_by_one: entries delivered over and over are read alone */
        char (*passed)[80];                /* the pass's place, one id a stream */
        const char **after;                /* the same, for stream_read */

        int64_t claim_due, keep_due; /* monotonic ms */
        int64_t slow_due;            /* when entries left for being slow are tried again; 0: there are none */
};

void reader_init(struct reader *reader, struct service *service, int number, const char *name);
void reader_deinit(struct reader *reader);

/* Connects where it is not connected, makes the groups, begins a pass. Negative: *problem (malloc'd) says why. */
MUST_CHECK int reader_connect(struct reader *reader, int64_t timeout_ms, char **problem);
void reader_disconnect(struct reader *reader);
bool reader_is_connected(const struct reader *reader);

/* The next batch, into reader->batch; it may be empty. Negative: Redis failed, redis_error says how. */
MUST_CHECK int reader_read(struct reader *reader);
/* The batch is done, or failed: what is pending then is read again. */
void reader_end_batch(struct reader *reader, bool failed);
/* *backlog: the batch was full and more waits behind it. */
MUST_CHECK int reader_is_in_backlog(struct reader *reader, bool *backlog);

/* To be called a few times a second while the worker waits for anything: shows that it is alive, keeps its entries fresh. */
void reader_keep(void *reader);
/* Waits for ms or until a stop is requested, keeping the pending entries fresh. */
void reader_rest(struct reader *reader, int64_t ms);
