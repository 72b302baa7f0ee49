/* Migrations at start, and `ingest migrate [--status]`. */
#pragma once

#include "common/stage/service.h"

bool migrate_accepts(int argc, char **argv);
int migrate_command(struct service *service, int argc, char **argv);
MUST_CHECK int migrate_at_start(struct service *service, struct db *db);
