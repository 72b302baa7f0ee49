/*
 * `status [--watch] [--json]`: what the status page shows, in a terminal. Looks at the servers itself, so it works where no
 * service runs; the breaker's state is that of the service on this machine.
 */
#pragma once

#include "common/stage/service.h"

/* watch: every second until it is killed, through outages too; else once, after the second that a rate takes. Returns the exit
 * code: 0 where the pipeline works, 1 where it does not, or Redis is away. */
int status_run(struct service *service, bool watch);
