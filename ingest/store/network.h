/* The one network whose events a database holds, pinned in it for all replicas and for good. */
#pragma once

#include "common/io/db.h"

enum { NETWORK_OTHER = 1 };
/* Pins this network. 0; NETWORK_OTHER where another one is pinned; negative. */
MUST_CHECK int network_pin(struct db *db, int64_t deadline_ms, const char *network);
/* The pinned one, malloc'd; *network stays NULL where none is yet. */
MUST_CHECK int network_read(struct db *db, int64_t deadline_ms, char **network);
