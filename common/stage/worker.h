/*
 * A worker: one consumer of the group with its own connections. Step after step it connects, reads a batch, has the program
 * process it, publishes and acks. It connects to PostgreSQL when it has read its first batch.
 *
 * Whatever fails, the batch is dropped from memory and read again from the pending entries: that one way serves crashes, outages,
 * claims and restarts alike. After a failure a connection that failed is made anew, the breaker is told, and the worker waits.
 * While the breaker is not closed a step is a probe of both servers.
 */
#pragma once

#include "common/stage/service.h"

struct worker;

/* What a program processes batches with: a worker, or a command that does a worker's work. The caller sets db and batch. */
void worker_open_work(struct work *work, struct service *service, struct arena *arena);
void worker_close_work(struct work *work, const struct service *service);

/* 0, or a negative errno. */
MUST_CHECK int worker_start(struct worker **out, struct service *service, int number);
/* Waits for its end, after stop_requested(), and frees it. */
void worker_join(struct worker *worker);
