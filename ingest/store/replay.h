/*
 * ingest replay [--from ID] [--reset [--accept-loss]]: reads the input streams again, past any group, and handles every entry as
 * the service does. What is there already stays as it is, so it may run beside the service. --reset empties all tables first; it
 * refuses where the streams no longer hold all that the tables hold.
 */
#pragma once

#include "common/stage/service.h"

bool replay_accepts(int argc, char **argv);
int replay_command(struct service *service, int argc, char **argv);
/* Logs a warning where a replay with --reset did not come to its end. */
MUST_CHECK int replay_warn_unfinished(struct db *db, int64_t deadline_ms);
