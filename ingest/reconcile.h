/*
 * The event tables against the chain itself (README, "Reconciling with the chain"): ranges of blocks are read from a node,
 * compared with what stands in the tables, and where they differ the chain's verdict is written (migrations 0011, 0016).
 *
 * Nothing waits for it: it has connections of its own and works beside the workers; only where a range differs it takes the lock
 * that inserts share, for one short transaction. What is read is never trusted as a whole: each block that a verdict is about is
 * asked for by number after its logs were read, and an event that seems not to be in its block is looked for by the block's hash.
 */
#pragma once

#include "../common/service.h"

/* The name that rows from the chain have as their stream; no input stream can be called so. */
#define RECONCILE_STREAM "chain"

int reconcile_command(struct service *service, int argc, char **argv);
/* The service's part, in a thread of its own: after notices, the gap at start, every RECONCILE_INTERVAL_MS. Ends with the
 * service, and at once without RPC_URL. */
void *reconcile_beside(void *service);
