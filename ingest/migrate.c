#include "migrate.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "../common/command.h"
#include "../common/log.h"
#include "../migrations/schema.h"
#include "ingest.h"

static void tell_log(const struct migration *migration)
{
        log_write(LOG_INFO, "migration applied", "name=%s", migration->name);
}

static void tell_user(const struct migration *migration)
{
        printf("applied %s\n", migration->name);
        fflush(stdout);
}

int migrate_at_start(struct service *service, struct db *db)
{
        const struct ingest_config *config = service->config;
        if (!config->run_migrations)
                return 0;
        int r = schema_migrate(db, tell_log);
        return r < 0 ? r : 0; /* a schema that does not fit is what the caller looks for next */
}

static int report(struct db *db, int r)
{
        char text[SCHEMA_EXPLAIN_SIZE];
        if (!r)
                return 0;
        schema_explain(db, r, text);
        fprintf(stderr, "ingest: %s\n", text);
        return 1;
}

static int show_status(struct db *db)
{
        int64_t version;
        int r = schema_check(db, &version);
        for (const struct migration *m = migrations; r >= 0 && m->name; m++)
                printf("%-8s %s\n", m->version <= version ? "applied" : "missing", m->name);
        return report(db, r);
}

int migrate_command(struct service *service, int argc, char **argv)
{
        bool status = argc == 2 && !strcmp(argv[1], "--status");
        if (argc > 1 && !status) {
                fprintf(stderr, "ingest: usage: ingest migrate [--status]\n");
                return 2;
        }
        AUTO(db) struct db *db = command_open_db(service);
        if (!db)
                return 1;
        if (status)
                return show_status(db);
        int r = schema_migrate(db, tell_user);
        if (!r)
                printf("the schema is at version %" PRId64 "\n", schema_known());
        return report(db, r);
}
