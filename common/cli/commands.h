/* The commands that every program has, each in the file of its name. They return the exit code. */
#pragma once

#include "common/stage/service.h"

/* The preflight: one line each on what the service needs of Redis and PostgreSQL. */
int check_run(struct service *service, int argc, char **argv);

/*
 * Recomputes the program's tables from the level below, in one snapshot, and prints every row that differs. Keys whose change is
 * under way in an outbox are left out. sample: about so many keys a table; 0: all. 1 where rows differ, or it did not come to its
 * end.
 */
int verify_run(struct service *service, int64_t sample);

/*
 * What the status page shows, in a terminal. Looks at the servers itself, so it works where no service runs; the breaker's state
 * is that of the service on this machine. watch: every second until it is killed, through outages too; else once, after the
 * second that a rate takes. 0 where the pipeline works, 1 where it does not, or Redis is away.
 */
int status_run(struct service *service, bool watch);

/*
 * dlq: this stage's dead letters, listed, shown, tried again, dropped (spec section 7). A letter is this stage's where its stage
 * and group say so; its id is that of its entry in the stream of dead letters.
 */
bool dead_letters_accepts(int argc, char **argv);
int dead_letters_run(struct service *service, int argc, char **argv);
