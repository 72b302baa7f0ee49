/*
 * Housekeeping of one process, in three threads with their own connections:
 * - the monitor asks both servers twice a second how they are (health, true as of the last second); it waits for nothing longer
 * than half a second;
 * - the looker reads the streams' state for the gauges and the status page;
 * - the keeper notes how this replica is, trims the streams this stage reads, removes names of dead consumers, and queues again
 * what stayed behind in the outbox. None of it matters to what the tables say: a failure here is logged when it begins and when
 * it ends.
 */
#pragma once

#include "service.h"

struct keeper;

MUST_CHECK int keeper_start(struct keeper **out, struct service *service);
void keeper_join(struct keeper *keeper); /* after service_stopping() */
