/*
 * `verify`: recomputes the program's tables from the level below, in one snapshot, and prints every row that differs. Keys whose
 * change is under way in an outbox are left out.
 */
#pragma once

#include "common/stage/service.h"

/* sample: about so many keys a table; 0: all. Returns the exit code: 1 where rows differ, or it did not come to its end. */
int verify_run(struct service *service, int64_t sample);
