#include "schema.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "common/base/clock.h"
#include "common/base/stop.h"
#include "migrations_sql.h"

#define LOOK_MS    10000
#define MIGRATE_MS 3600000

int64_t schema_known(void)
{
        int64_t version = 0;
        for (const struct migration *m = migrations; m->name; m++)
                version = m->version;
        return version;
}

static const struct migration *find(int64_t version)
{
        for (const struct migration *m = migrations; m->name; m++)
                if (m->version == version)
                        return m;
        return NULL;
}

/* Positive SCHEMA_* or 0 where the database can be judged by its list; *listed: whether there is a list at all. */
static int look(struct db *db, bool *listed)
{
        AUTO(db_rows) struct db_rows *rows = NULL;
        int r = db_query(db, &sql_00_schema_look, NULL, 0, &rows, LOOK_MS);
        if (r)
                return r < 0 ? r : -1;
        const char *tables = db_rows_text(rows, 0, 2);
        bool there = !strcmp(db_rows_text(rows, 0, 0), "t"), ours = !strcmp(db_rows_text(rows, 0, 1), "t");
        *listed = there;
        if (db_rows_text(rows, 0, 3))
                return SCHEMA_UNUSABLE;
        if (db_rows_text(rows, 0, 4))
                return SCHEMA_UNSOUND;
        if (there && !ours)
                return SCHEMA_FOREIGN;
        return !there && tables ? SCHEMA_FOREIGN : 0;
}

static int judge_list(struct db *db, int64_t *version)
{
        bool fits = true;
        AUTO(db_rows) struct db_rows *rows = NULL;
        int r = db_query(db, &sql_00_schema_list, NULL, 0, &rows, LOOK_MS);
        if (r)
                return r < 0 ? r : -1;
        for (size_t i = 0; i < db_rows_count(rows); i++) {
                *version = db_rows_number(rows, i, 0);
                const struct migration *known = find(*version);
                if (known && strcmp(known->checksum, db_rows_text(rows, i, 1)))
                        return SCHEMA_EDITED;
                fits = fits && (*version <= schema_known() || !strcmp(db_rows_text(rows, i, 2), "t"));
        }
        return *version < schema_known() ? SCHEMA_OLD : fits ? 0 : SCHEMA_NEW;
}

int schema_check(struct db *db, int64_t *version)
{
        bool listed = false;
        *version = 0;
        int r = look(db, &listed);
        if (r && r != SCHEMA_UNSOUND)
                return r;
        int fits = listed ? judge_list(db, version) : SCHEMA_OLD;
        return fits ? fits : r;
}

static int fold(int r)
{
        return r > 0 ? -1 : r;
}

/* One migration, unless another replica was faster: its place in the list is taken under the lock. */
static int apply(struct db *db, const struct migration *migration, bool *applied)
{
        AUTO(db_rows) struct db_rows *rows = NULL;
        const struct db_call start[] = {
                {.sql = &sql_00_schema_lock}, {.sql = &sql_00_schema_create}, {.sql = &sql_00_schema_list, .rows = &rows}};
        const struct db_param params[] = {db_number(migration->version), db_text(migration->name), db_text(migration->checksum),
                db_text(migration->additive ? "true" : "false")};
        const struct db_call note = {.sql = &sql_00_schema_note, .params = params, .param_count = ARRAY_LENGTH(params)};
        int r = db_run(db, start, 2, DB_BEGIN, MIGRATE_MS);
        if (!r)
                r = db_run(db, start + 2, 1, DB_AUTOCOMMIT, MIGRATE_MS);
        for (size_t i = 0; !r && i < db_rows_count(rows); i++)
                if (db_rows_number(rows, i, 0) == migration->version)
                        return fold(db_run(db, NULL, 0, DB_COMMIT, LOOK_MS));
        if (!r)
                r = db_script(db, migration->text, MIGRATE_MS);
        if (!r)
                r = db_run(db, &note, 1, DB_COMMIT, MIGRATE_MS);
        *applied = !r;
        return fold(r);
}

int schema_migrate(const struct service *service, struct db *db, schema_tell *tell)
{
        int64_t version;
        int r = schema_check(db, &version);
        if (r != SCHEMA_OLD)
                return r;
        for (const struct migration *m = migrations; m->name; m++) {
                bool applied = false, waits = false;
                if (m->version <= version)
                        continue;
                const int64_t until = clock_ms() + MIGRATE_MS;
                while ((r = apply(db, m, &applied)) && clock_ms() < until && db_lock_failed(db) && !stop_requested()) {
                        if (!waits)
                                tell(service, NULL);
                        waits = true;
                }
                if (r)
                        return r;
                if (applied)
                        tell(service, m);
        }
        return 0;
}

/* A column of what look saw. */
static void read_look(struct db *db, int column, char out[PROGRAM_EXPLAIN_SIZE / 2])
{
        AUTO(db_rows) struct db_rows *rows = NULL;
        const char *text =
                db_query(db, &sql_00_schema_look, NULL, 0, &rows, LOOK_MS) ? db_error(db) : db_rows_text(rows, 0, column);
        snprintf(out, PROGRAM_EXPLAIN_SIZE / 2, "%s", text ? text : "schema_migrations");
}

void schema_explain(struct db *db, int result, char text[PROGRAM_EXPLAIN_SIZE])
{
        char seen[PROGRAM_EXPLAIN_SIZE / 2];
        switch (result) {
        case SCHEMA_FOREIGN:
                read_look(db, 2, seen);
                snprintf(text, PROGRAM_EXPLAIN_SIZE,
                        "the database has tables of our names (%s) but no schema_migrations of ours; give this pipeline a "
                        "database or schema of its own",
                        seen);
                return;
        case SCHEMA_OLD:
                snprintf(text, PROGRAM_EXPLAIN_SIZE,
                        "the schema is older than this program: run `ingest migrate`, or start ingest with RUN_MIGRATIONS=true");
                return;
        case SCHEMA_NEW:
                snprintf(text, PROGRAM_EXPLAIN_SIZE,
                        "the schema is newer than this program: run the version of the program that belongs to it");
                return;
        case SCHEMA_EDITED:
                snprintf(text, PROGRAM_EXPLAIN_SIZE,
                        "a migration was applied with another text than this program has: use the build that made this database, "
                        "or a new database");
                return;
        case SCHEMA_UNUSABLE:
        case SCHEMA_UNSOUND:
                read_look(db, result == SCHEMA_UNUSABLE ? 3 : 4, seen);
                snprintf(text, PROGRAM_EXPLAIN_SIZE, "%s", seen);
                return;
        default:
                snprintf(text, PROGRAM_EXPLAIN_SIZE, "%s", db_error(db));
        }
}

const struct program_database schema_database = {
        .known = schema_known,
        .check = schema_check,
        .explain = schema_explain,
        .identity = &sql_60_identity,
        .overview = &sql_60_overview,
        .replica_note = &sql_60_replica_note,
        .verify_table = &sql_60_verify_table,
        .verify_note = &sql_60_verify_note,
};
