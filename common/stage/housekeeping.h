/*
 * Housekeeping of one process, a thread with connections of its own: trims the streams this stage reads, removes names of dead
 * consumers, and queues keys again that stayed behind in the outbox. The tables do not depend on any of it but the last: a
 * failure is logged when it begins.
 */
#pragma once

#include "common/stage/service.h"

/* context: the struct service. Ends after stop_requested(). */
void *housekeeping_run(void *context);
