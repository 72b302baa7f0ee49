/*
 * The event tables against the chain itself (README, "Reconciling with the chain"): the command, and the service's part of it.
 * What is done with a range of blocks: range.h.
 *
 * Nothing waits for it: it has connections of its own and works beside the workers.
 */
#pragma once

#include "common/stage/service.h"

bool reconcile_accepts(int argc, char **argv);
int reconcile_command(struct service *service, int argc, char **argv);
/* Before the workers begin: from where on the service is to reconcile. */
MUST_CHECK int reconcile_prepare(struct db *db, int64_t deadline_ms);
/* The service's part, in a thread of its own: after notices, the gap at start, every RECONCILE_INTERVAL_MS. Ends with the
 * service, and at once without RPC_URL. */
void *reconcile_beside(void *service);
