/*
 * Stopping a process: SIGTERM or SIGINT asks for it, every wait looks for it. A second signal, or patience_ms after the first
 * one, ends the process with exit code 1. The only global state of the project.
 */
#pragma once

#include <stdbool.h>
#include "common/base/base.h"

/* Call it before the first thread: signals are blocked and read by a thread of their own. 0, or a negative errno. */
MUST_CHECK int stop_init(int64_t patience_ms);
bool stop_requested(void);
/* A stop is requested, and half of patience_ms has passed: long work has to end where it stands. */
bool stop_is_urgent(void);
/* Sleeps until a stop is requested, ms at most. Returns whether it is. Without stop_init: sleeps. */
bool stop_wait(int64_t ms);
