#include "common/cli/command.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "common/cli/check.h"
#include "common/cli/connect.h"
#include "common/cli/dead_letters.h"
#include "common/cli/status.h"
#include "common/cli/tell.h"
#include "common/cli/verify.h"

/* ---- help ---- */

static const char *const common_commands[][2] = {
        {"check [--json]", "preflight: servers, versions, encoding, eviction, persistence, privileges, schema, group, clock"},
        {"verify [--sample N] [--json]",
                "recompute this stage's tables in one snapshot and print every difference; N: look at about N keys a table"},
        {"rebuild [--json]", "recompute them in place, while the pipeline runs"},
        {"status [--watch] [--json]",
                "the pipeline at a glance: streams, lag, rate, time left, breaker, dead letters, reorgs, verify; "
                "exit code 0 where it works, 1 where it does not; runbooks: deploy/monitoring/runbooks.md"},
        {"dlq list|show ID [--json]", "this stage's dead letters"},
        {"dlq retry|drop ID...|--all [--json]", "handle them again, once the cause is gone; or remove them"},
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
        for (const struct program_command *command = program->commands; command && command->name; command++)
                print_command(command->usage, command->help);
        printf("\nExit codes: 0 done, 1 failed or differences found, 2 bad usage or configuration.\n\n"
               "Environment, with the values in force (secrets masked):\n");
        settings_print(program->settings, stdout);
}

static const struct program_command *find_command(const struct program *program, const char *name)
{
        for (const struct program_command *command = program->commands; command && command->name; command++)
                if (!strcmp(command->name, name))
                        return command;
        return NULL;
}

static bool is_common(const char *name)
{
        return !strcmp(name, "check") || !strcmp(name, "verify") || !strcmp(name, "rebuild") || !strcmp(name, "status") ||
               !strcmp(name, "dlq");
}

/* ---- options ---- */

struct options {
        int64_t sample;
        bool watch;
};

static int bad_usage(const struct program *program, const char *word)
{
        fprintf(stderr, "%s: bad argument %s; see %s --help\n", program->name, word, program->name);
        return 2;
}

static bool read_sample(const char *text, int64_t *sample)
{
        char *end;
        *sample = strtoll(text, &end, 10);
        return *text && !*end && *sample > 0;
}

static int read_options(const struct program *program, int argc, char **argv, struct options *options)
{
        *options = (struct options){0};
        for (int i = 2; i < argc; i++) {
                if (!strcmp(argv[i], "--watch") && !strcmp(argv[1], "status")) {
                        options->watch = true;
                } else if (!strcmp(argv[i], "--sample") && !strcmp(argv[1], "verify") && i + 1 < argc) {
                        if (!read_sample(argv[++i], &options->sample))
                                return bad_usage(program, argv[i]);
                } else {
                        return bad_usage(program, argv[i]);
                }
        }
        return 0;
}

static int refuse(const struct program *program, int argc, char **argv)
{
        struct options options;
        const struct program_command *own = find_command(program, argv[1]);
        const bool letters = !strcmp(argv[1], "dlq");
        if (!own && !is_common(argv[1])) {
                fprintf(stderr, "%s: unknown command %s; see %s --help\n", program->name, argv[1], program->name);
                return 2;
        }
        if (!own && !letters)
                return read_options(program, argc, argv, &options);
        if (own ? own->accepts(argc - 1, argv + 1) : dead_letters_accepts(argc - 1, argv + 1))
                return 0;
        fprintf(stderr, "%s: usage: %s %s\n", program->name, program->name,
                own ? own->usage
                    : "dlq list | show ID | retry ID…|--all | drop ID…|--all [--json]\n(ID: the first column of the list, or the "
                      "id of the entry)");
        return 2;
}

char **command_arguments(int *argc, char **argv, bool *json)
{
        static char word[] = "--json";
        char **out = memory_new((size_t)*argc * 2 + 1, sizeof(*out));
        int count = 0;
        *json = false;
        for (int i = 0; i < *argc; i++) {
                char *value = i && !strncmp(argv[i], "--", 2) ? strchr(argv[i], '=') : NULL;
                if (i && !strcmp(argv[i], word)) {
                        *json = true;
                        continue;
                }
                out[count++] = argv[i];
                if (value) {
                        *value = '\0';
                        out[count++] = value + 1;
                }
        }
        if (*json && count == 1) /* the service itself writes none */
                out[count++] = word;
        *argc = count;
        return out;
}

bool command_needs_no_settings(const struct program *program, int argc, char **argv, int *code)
{
        *code = 0;
        for (int i = 1; i < argc; i++) {
                if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h") || (i == 1 && !strcmp(argv[i], "help"))) {
                        print_help(program);
                        return true;
                }
                if (!strcmp(argv[i], "--version") || (i == 1 && (!strcmp(argv[i], "-V") || !strcmp(argv[i], "version")))) {
                        printf("%s %s (schema %" PRId64 ")\n", program->name, PROJECT_VERSION, program->database->known());
                        return true;
                }
        }
        if (argc < 2)
                return false;
        *code = refuse(program, argc, argv); /* a bad option is named before a missing variable */
        return *code != 0;
}

/* ---- rebuild ---- */

static int command_rebuild(struct service *service)
{
        AUTO(db) struct db *db = connect_schema(service);
        if (!db || connect_may(service, db, NEED_WRITE)) {
                tell_end(service, false, NULL, 0, "not begun, see stderr");
                return 1;
        }
        int r = service->program->rebuild(service, db);
        if (r)
                fprintf(stderr, "%s: rebuild failed: %s\n", service->program->name, db_error(db));
        tell_end(service, !r, NULL, 0, db_error(db));
        return r ? 1 : 0;
}

int command_run(struct service *service, int argc, char **argv)
{
        struct options options;
        const struct program_command *own = find_command(service->program, argv[1]);
        if (own)
                return own->run(service, argc - 1, argv + 1);
        if (!strcmp(argv[1], "dlq"))
                return dead_letters_command(service, argc - 1, argv + 1);
        int code = read_options(service->program, argc, argv, &options);
        if (code)
                return code;
        if (!strcmp(argv[1], "check"))
                return check_run(service);
        if (!strcmp(argv[1], "verify"))
                return verify_run(service, options.sample);
        if (!strcmp(argv[1], "rebuild"))
                return command_rebuild(service);
        return status_run(service, options.watch);
}
