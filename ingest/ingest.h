/* ingest's settings. */
#pragma once

#include "../common/config.h"

struct ingest_config {
        struct config shared;
        char **streams;
        char *network;
        int64_t copy_window_ms;
        bool trim_input, run_migrations;
        char *reserved_rpc, *reserved_contract, *reserved_depth, *reserved_interval; /* of a part that this version refuses */
};
