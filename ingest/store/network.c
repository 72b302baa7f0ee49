#include "ingest/store/network.h"

#include <string.h>
#include "ingest_sql.h"

int network_read(struct db *db, int64_t deadline_ms, char **network)
{
        AUTO(db_rows) struct db_rows *rows = NULL;
        const struct db_call call = {.sql = &sql_10_network_get, .rows = &rows};
        int r = db_run(db, &call, 1, DB_AUTOCOMMIT, deadline_ms);
        if (!r && db_rows_count(rows))
                *network = memory_copy(db_rows_text(rows, 0, 0));
        return r > 0 ? -1 : r;
}

int network_pin(struct db *db, int64_t deadline_ms, const char *network)
{
        char *pinned = NULL;
        const struct db_param param = db_text(network);
        const struct db_call pin = {.sql = &sql_10_network_pin, .params = &param, .param_count = 1};
        int r = db_run(db, &pin, 1, DB_AUTOCOMMIT, deadline_ms) ? -1 : network_read(db, deadline_ms, &pinned);
        if (!r && strcmp(pinned, network))
                r = NETWORK_OTHER;
        free(pinned);
        return r;
}
