#include "command.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "check.h"
#include "clock.h"
#include "common_sql.h"
#include "glance.h"
#include "letters.h"
#include "migrations/schema.h"

#define CONNECT_TIMEOUT_MS 5000
#define VERIFY_TIMEOUT_MS  3600000

/* ---- help ---- */

static const char *const common_commands[][2] = {
        {"check [--json]", "preflight: servers, versions, encoding, eviction, persistence, privileges, schema, group, clock"},
        {"verify [--sample N] [--json]",
                "recompute this stage's tables in one snapshot and print every difference; N: look at about N keys a table"},
        {"rebuild", "recompute them in place, while the pipeline runs"},
        {"status [--watch] [--json]",
                "the pipeline at a glance: streams, lag, rate, time left, breaker, dead letters, reorgs, verify"},
        {"dlq list|show ID [--json]", "this stage's dead letters"},
        {"dlq retry|drop ID...|--all", "handle them again, once the cause is gone; or remove them"},
};

static void print_command(const char *usage, const char *help)
{
        if (strlen(usage) <= 24)
                printf("  %-24s %s\n", usage, help);
        else
                printf("  %s\n  %-24s %s\n", usage, "", help);
}

static void print_help(const struct program *program)
{
        printf("%s: %s\n\nExamples:\n%s\nUsage:\n  %s                run the service\n", program->name, program->summary,
                program->examples, program->name);
        printf("  %s COMMAND [OPTIONS]\n  %s --help | --version\n\nCommands:\n", program->name, program->name);
        for (size_t i = 0; i < ARRAY_LENGTH(common_commands); i++)
                print_command(common_commands[i][0], common_commands[i][1]);
        for (const struct service_command *command = program->commands; command && command->name; command++)
                print_command(command->usage, command->help);
        printf("\nExit codes: 0 done, 1 failed or differences found, 2 bad usage or configuration.\n\n"
               "Environment, with the values in force (secrets masked):\n");
        settings_print(program->settings, stdout);
}

static const struct service_command *find_command(const struct program *program, const char *name)
{
        for (const struct service_command *command = program->commands; command && command->name; command++)
                if (!strcmp(command->name, name))
                        return command;
        return NULL;
}

static bool is_common(const char *name)
{
        return !strcmp(name, "check") || !strcmp(name, "verify") || !strcmp(name, "rebuild") || !strcmp(name, "status") ||
               !strcmp(name, "dlq");
}

bool command_needs_no_settings(const struct program *program, int argc, char **argv, int *code)
{
        *code = 0;
        for (int i = 1; i < argc; i++) {
                if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) {
                        print_help(program);
                        return true;
                }
                if (!strcmp(argv[i], "--version")) {
                        printf("%s %s (schema %" PRId64 ")\n", program->name, PROJECT_VERSION, schema_known());
                        return true;
                }
        }
        if (argc < 2 || is_common(argv[1]) || find_command(program, argv[1]))
                return false;
        fprintf(stderr, "%s: unknown command %s; see %s --help\n", program->name, argv[1], program->name);
        *code = 2;
        return true;
}

/* ---- options ---- */

struct options {
        bool json, watch;
        int64_t sample; /* 0: all */
};

static int bad_usage(const struct service *service, const char *word)
{
        fprintf(stderr, "%s: bad argument %s; see %s --help\n", service->program->name, word, service->program->name);
        return 2;
}

static int read_options(const struct service *service, int argc, char **argv, struct options *options)
{
        *options = (struct options){0};
        for (int i = 2; i < argc; i++) {
                char *end = NULL;
                if (!strcmp(argv[i], "--json") && strcmp(argv[1], "rebuild")) {
                        options->json = true;
                } else if (!strcmp(argv[i], "--watch") && !strcmp(argv[1], "status")) {
                        options->watch = true;
                } else if (!strcmp(argv[i], "--sample") && !strcmp(argv[1], "verify") && i + 1 < argc) {
                        options->sample = strtoll(argv[++i], &end, 10);
                        if (*end || options->sample < 1)
                                return bad_usage(service, argv[i]);
                } else {
                        return bad_usage(service, argv[i]);
                }
        }
        return 0;
}

struct db *command_open_db(struct service *service)
{
        struct db *db = NULL;
        AUTO(text) char *problem = NULL;
        if (service_open_db(service, &db, CONNECT_TIMEOUT_MS, NULL, NULL, &problem))
                fprintf(stderr, "%s: cannot connect to PostgreSQL (DATABASE_URL): %s\n", service->program->name, problem);
        return db;
}

struct redis *command_open_redis(struct service *service)
{
        struct redis *redis = NULL;
        AUTO(text) char *problem = NULL;
        if (service_open_redis(service, &redis, CONNECT_TIMEOUT_MS, &problem))
                fprintf(stderr, "%s: cannot connect to Redis (REDIS_URL): %s\n", service->program->name, problem);
        return redis;
}

struct db *command_open_schema(struct service *service)
{
        struct db *db = command_open_db(service);
        int64_t version = 0;
        int r = db ? schema_check(db, &version) : 0;
        if (!r)
                return db;
        char text[SCHEMA_EXPLAIN_SIZE];
        schema_explain(db, r, text);
        fprintf(stderr, "%s: %s\n", service->program->name, text);
        return db_close(db);
}

/* ---- verify ---- */

static void print_difference(const void *context, const char *table, const char *key, const char *text)
{
        const struct options *options = context;
        if (!options->json) {
                printf("%s %s: %s\n", table, key, text);
                return;
        }
        cJSON *line = cJSON_CreateObject();
        cJSON_AddStringToObject(line, "table", table);
        cJSON_AddStringToObject(line, "key", key);
        cJSON_AddStringToObject(line, "difference", text);
        char *printed = cJSON_PrintUnformatted(line);
        puts(printed);
        free(printed);
        cJSON_Delete(line);
}

/* --sample N: one key in so many, by the planner's idea of how many there are. */
static int sample_step(struct db *db, const struct service_check *check, int64_t sample, int64_t *every)
{
        AUTO(db_rows) struct db_rows *rows = NULL;
        const struct db_param table = db_text(check->table);
        const struct db_call call = {.sql = &sql_00_table_size, .params = &table, .param_count = 1, .rows = &rows};
        *every = 1;
        if (!sample)
                return 0;
        int r = db_run(db, &call, 1, DB_AUTOCOMMIT, VERIFY_TIMEOUT_MS);
        if (!r && db_rows_number(rows, 0, 0) / sample > 1)
                *every = db_rows_number(rows, 0, 0) / sample;
        return r;
}

static int verify_table(struct db *db, const struct service_check *check, const struct options *options, int64_t *differences)
{
        AUTO(db_rows) struct db_rows *rows = NULL;
        char step[24];
        int64_t every;
        int r = sample_step(db, check, options->sample, &every);
        if (r)
                return r;
        snprintf(step, sizeof(step), "%" PRId64, every);
        const struct db_param param = db_text(step);
        const struct db_call call = {.sql = check->differences, .params = &param, .param_count = 1, .rows = &rows};
        r = db_run(db, &call, 1, DB_AUTOCOMMIT, VERIFY_TIMEOUT_MS);
        if (r)
                return r;
        for (size_t i = 0; i < db_rows_count(rows); i++)
                print_difference(options, db_rows_text(rows, i, 0), db_rows_text(rows, i, 1), db_rows_text(rows, i, 2));
        *differences += (int64_t)db_rows_count(rows);
        fprintf(stderr, "%-24s %zu differences%s\n", check->table, db_rows_count(rows), every > 1 ? " (sampled)" : "");
        return 0;
}

static int count_in_flight(struct db *db, const struct sql *sql, int64_t *count)
{
        AUTO(db_rows) struct db_rows *rows = NULL;
        const struct db_call call = {.sql = sql, .rows = &rows};
        *count = 0;
        if (!sql)
                return 0;
        int r = db_run(db, &call, 1, DB_AUTOCOMMIT, VERIFY_TIMEOUT_MS);
        if (!r)
                *count = db_rows_number(rows, 0, 0);
        return r;
}

static int verify_snapshot(
        struct service *service, struct db *db, const struct options *options, int64_t *differences, int64_t *in_flight)
{
        int r = db_run(db, NULL, 0, DB_SNAPSHOT, VERIFY_TIMEOUT_MS);
        if (!r)
                r = count_in_flight(db, service->program->in_flight, in_flight);
        for (const struct service_check *check = service->program->checks; !r && check->table; check++)
                r = verify_table(db, check, options, differences);
        if (!r && service->program->verify_more)
                r = service->program->verify_more(db, differences, print_difference, options);
        return r ? r : db_run(db, NULL, 0, DB_ROLLBACK, CONNECT_TIMEOUT_MS);
}

/* For the status page and the alert. Who may only read can verify all the same. */
static void note_verify(
        const struct service *service, struct db *db, const struct options *options, int64_t differences, int64_t in_flight)
{
        char numbers[3][24];
        snprintf(numbers[0], sizeof(numbers[0]), "%" PRId64, differences);
        snprintf(numbers[1], sizeof(numbers[1]), "%" PRId64, in_flight);
        snprintf(numbers[2], sizeof(numbers[2]), "%" PRId64, options->sample);
        const struct db_param params[] = {
                db_text(service->program->name), db_text(numbers[0]), db_text(numbers[1]), db_text(numbers[2])};
        const struct db_call call = {.sql = &sql_60_verify_note, .params = params, .param_count = ARRAY_LENGTH(params)};
        if (db_run(db, &call, 1, DB_AUTOCOMMIT, VERIFY_TIMEOUT_MS))
                fprintf(stderr, "%s: the result is not kept for the status page: %s\n", service->program->name, db_error(db));
}

static int command_verify(struct service *service, const struct options *options)
{
        int64_t differences = 0, in_flight = 0, started = clock_ms();
        AUTO(db) struct db *db = command_open_schema(service);
        if (!db)
                return 1;
        int before = service->program->verify_begin ? service->program->verify_begin(service, db) : 0;
        if (before || verify_snapshot(service, db, options, &differences, &in_flight)) {
                fprintf(stderr, "%s: verify did not come to its end: %s\n", service->program->name,
                        *db_error(db) ? db_error(db) : "see above");
                return 1;
        }
        note_verify(service, db, options, differences, in_flight);
        fprintf(stderr, "%s verify: %" PRId64 " differences, %" PRId64 " keys in flight left out, %.1f s\n",
                service->program->name, differences, in_flight, (double)(clock_ms() - started) / 1000.0);
        return differences ? 1 : 0;
}

/* ---- rebuild ---- */

static int command_rebuild(struct service *service)
{
        AUTO(db) struct db *db = command_open_schema(service);
        if (!db)
                return 1;
        int r = service->program->rebuild(service, db);
        if (r)
                fprintf(stderr, "%s: rebuild failed: %s\n", service->program->name, db_error(db));
        return r ? 1 : 0;
}

static int run(struct service *service, int argc, char **argv)
{
        struct options options;
        const struct service_command *own = find_command(service->program, argv[1]);
        if (own)
                return own->run(service, argc - 1, argv + 1);
        if (!strcmp(argv[1], "dlq"))
                return letters_command(service, argc - 1, argv + 1);
        int code = read_options(service, argc, argv, &options);
        if (code)
                return code;
        if (!strcmp(argv[1], "check"))
                return check_run(service, options.json);
        if (!strcmp(argv[1], "verify"))
                return command_verify(service, &options);
        if (!strcmp(argv[1], "rebuild"))
                return command_rebuild(service);
        return glance_run(service, options.watch, options.json);
}

int command_run(struct service *service, int argc, char **argv)
{
        int code = run(service, argc, argv);
        if (!fflush(stdout) && !ferror(stdout))
                return code;
        fprintf(stderr, "%s: what it found cannot be written: %s\n", service->program->name, strerror(errno));
        return code ? code : 1;
}
