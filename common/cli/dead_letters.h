/*
 * dlq: this stage's dead letters, listed, shown, tried again, dropped (spec section 7). A letter is this stage's where its stage
 * and group say so; its id is that of its entry in the stream of dead letters.
 */
#pragma once

#include "common/stage/service.h"

/* argv[0] is "dlq". accepts: whether these arguments make sense; command: returns the exit code. */
bool dead_letters_accepts(int argc, char **argv);
int dead_letters_command(struct service *service, int argc, char **argv);
