/* ingest's settings. */
#pragma once

#include "common/stage/config.h"

struct ingest_config {
        struct config shared;
        char **streams;
        char *network;
        int64_t copy_window_ms;
        bool trim_input, run_migrations;
        char *rpc_url, *contract; /* NULL: not set */
        int64_t reconcile_depth, reconcile_interval_ms;
};
