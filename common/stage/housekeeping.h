/*
 * Housekeeping of one process, a thread with connections of its own: trims the streams this stage reads, removes names of dead
 * consumers, and queues keys again that stayed behind in the outbox. The tables do not depend on any of it but the last: a
 * failure is logged when it begins.
 */
#pragma once

#include "common/stage/service.h"

struct housekeeping;

/* 0, or a negative errno. */
MUST_CHECK int housekeeping_start(struct housekeeping **out, struct service *service);
void housekeeping_join(struct housekeeping *housekeeping); /* after stop_requested(); NULL is fine */
