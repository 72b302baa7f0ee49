/*
 * dlq: this stage's dead letters, listed, shown, tried again, dropped (spec section 7). A letter is this stage's where its stage
 * and group say so; its id is that of its entry in the stream of dead letters.
 */
#pragma once

#include "common/stage/service.h"

/* argv[0] is "dlq". Returns the exit code. */
int dead_letters_command(struct service *service, int argc, char **argv);
