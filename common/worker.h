/*
 * A worker: one consumer of the group with its own connections. It reads, has the program process, publishes and acks, one batch
 * after another. Whatever fails, the batch is dropped from memory and read again from the pending entries: that one way serves
 * crashes, outages, claims and restarts alike.
 */
#pragma once

#include "service.h"

struct worker;

MUST_CHECK int worker_start(struct worker **out, struct service *service, unsigned number);
/* Waits for its end, after service_stopping(), and frees it. */
void worker_join(struct worker *worker);
