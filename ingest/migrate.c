#include "ingest/migrate.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "common/cli/tell.h"
#include "common/cli/connect.h"
#include "common/base/log.h"
#include "migrations/schema.h"
#include "ingest/ingest.h"

#define WAITS "another program migrates, or is at a table that is to be changed"

static void tell_log(const struct service *service, const struct migration *applied)
{
        (void)service;
        if (applied)
                log_write(LOG_INFO, "migration applied", "name=%s", applied->name);
        else
                log_write(LOG_WARN, "waiting", "for=schema reason=%s", WAITS);
}

/* A name is a file's: nothing in it needs escaping. */
static void tell_user(const struct service *service, const struct migration *applied)
{
        if (applied)
                printf(service->json ? "{\"applied\":\"%s\"}\n" : "applied %s\n", applied->name);
        else
                fprintf(stderr, "ingest: waiting: " WAITS "\n");
        fflush(stdout);
}

int migrate_at_start(struct service *service, struct db *db)
{
        const struct ingest_config *config = service->config;
        if (!config->run_migrations)
                return 0;
        int r = schema_migrate(service, db, tell_log);
        return r < 0 ? r : 0; /* a schema that does not fit is what the caller looks for next */
}

static int report(struct db *db, int r)
{
        char text[PROGRAM_EXPLAIN_SIZE];
        if (!r)
                return 0;
        schema_explain(db, r, text);
        fprintf(stderr, "ingest: %s\n", text);
        return 1;
}

static int show_status(struct db *db, bool json)
{
        int64_t version;
        int r = schema_check(db, &version);
        for (const struct migration *m = migrations; r >= 0 && m->name; m++) {
                bool applied = m->version <= version, last = !m[1].name;
                if (json) /* a name is a file's: nothing in it needs escaping */
                        printf("%s{\"name\":\"%s\",\"applied\":%s}%s\n", m == migrations ? "[" : " ", m->name,
                                applied ? "true" : "false", last ? "]" : ",");
                else
                        printf("%-8s %s\n", applied ? "applied" : "missing", m->name);
        }
        return report(db, r);
}

bool migrate_accepts(int argc, char **argv)
{
        return argc == 1 || (argc == 2 && !strcmp(argv[1], "--status"));
}

int migrate_command(struct service *service, int argc, char **argv)
{
        const bool status = argc > 1, json = service->json;
        (void)argv;
        AUTO(db) struct db *db = connect_db(service);
        if (!db) {
                tell_end(service, false, NULL, 0, "not begun, see stderr");
                return 1;
        }
        if (status)
                return show_status(db, json);
        int r = schema_migrate(service, db, tell_user);
        char text[PROGRAM_EXPLAIN_SIZE] = "";
        if (r)
                schema_explain(db, r, text);
        tell_end(service, !r, r ? NULL : "version", schema_known(), text);
        if (!r && !json)
                printf("the schema is at version %" PRId64 "\n", schema_known());
        return report(db, r);
}
