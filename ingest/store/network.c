#include "ingest/store/network.h"

#include <string.h>
#include "ingest_sql.h"

int network_read(struct db *db, int64_t deadline_ms, char **network)
{
        AUTO(db_rows) struct db_rows *rows = NULL;
        int r = db_query(db, &sql_10_network_get, NULL, 0, &rows, deadline_ms);
        if (!r && db_rows_count(rows))
                *network = memory_copy(db_rows_text(rows, 0, 0));
        return r > 0 ? -1 : r;
}

int network_pin(struct db *db, int64_t deadline_ms, const char *network)
{
        char *pinned = NULL;
        const struct db_param param = db_text(network);
        int r = db_query(db, &sql_10_network_pin, &param, 1, NULL, deadline_ms) ? -1 : network_read(db, deadline_ms, &pinned);
        if (!r) /* none: somebody has emptied the table since */
                r = !pinned ? -1 : strcmp(pinned, network) ? NETWORK_OTHER : 0;
        free(pinned);
        return r;
}
