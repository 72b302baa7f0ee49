#include "common/cli/command.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "common/base/clean.h"
#include "common/cli/commands.h"
#include "common/cli/connect.h"
#include "common/cli/tell.h"

/* ---- the common commands ---- */

/* 0: it is no number above 0. */
static int64_t positive(const char *text)
{
        int64_t number;
        return settings_number_parse(text, &number) ? number : 0;
}

/* Whether what stands behind the name is the command's option, over and over, or nothing. What is not is named. */
static bool options_accepts(int argc, char **argv)
{
        const bool numbered = !strcmp(argv[0], "verify");
        const char *option = numbered ? "--sample" : !strcmp(argv[0], "status") ? "--watch" : NULL;
        for (int i = 1; i < argc; i++)
                if (!option || strcmp(argv[i], option) || (numbered && (++i == argc || !positive(argv[i])))) {
                        fprintf(stderr, "bad argument %s\n", i < argc ? argv[i] : option);
                        return false;
                }
        return true;
}

static int run_verify(struct service *service, int argc, char **argv)
{
        return verify_run(service, argc > 1 ? positive(argv[argc - 1]) : 0);
}

static int run_status(struct service *service, int argc, char **argv)
{
        (void)argv;
        return status_run(service, argc > 1);
}

static int run_rebuild(struct service *service, int argc, char **argv)
{
        (void)argc, (void)argv;
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

static const struct program_command common_commands[] = {
        {"check", "check [--json]",
                "preflight: servers, versions, encoding, eviction, persistence, privileges, schema, group, clock",
                options_accepts, check_run},
        {"verify", "verify [--sample N] [--json]",
                "recompute this stage's tables in one snapshot and print every difference; N: look at about N keys a table",
                options_accepts, run_verify},
        {"rebuild", "rebuild [--json]", "recompute them in place, while the pipeline runs", options_accepts, run_rebuild},
        {"status", "status [--watch] [--json]",
                "the pipeline at a glance: streams, lag, rate, time left, breaker, dead letters, reorgs, verify; "
                "exit code 0 where it works, 1 where it does not; runbooks: deploy/monitoring/runbooks.md",
                options_accepts, run_status},
        {"dlq", "dlq list|show ID [--json]", "this stage's dead letters", dead_letters_accepts, dead_letters_run},
        {"dlq", "dlq retry|drop ID...|--all [--json]", "handle them again, once the cause is gone; or remove them",
                dead_letters_accepts, dead_letters_run},
        {0},
};

/* ---- help ---- */

static void print_commands(const struct program_command *command)
{
        for (; command && command->name; command++)
                printf(strlen(command->usage) <= 24 ? "  %-24s %s\n" : "  %s\n                           %s\n", command->usage,
                        command->help);
}

static void print_help(const struct program *program)
{
        printf("%s: %s\n\nExamples:\n%s\nUsage:\n  %s                run the service\n", program->name, program->summary,
                program->examples, program->name);
        printf("  %s COMMAND [OPTIONS]\n  %s --help | --version\n\nCommands:\n", program->name, program->name);
        print_commands(common_commands);
        print_commands(program->commands);
        printf("\nExit codes: 0 done, 1 failed or differences found, 2 bad usage or configuration.\n\n"
               "Environment, with the values in force (secrets masked):\n");
        settings_print(program->settings, stdout);
}

/* ---- the command line ---- */

static const struct program_command *find_command(const struct program *program, const char *name)
{
        const struct program_command *const tables[] = {common_commands, program->commands};
        for (size_t i = 0; i < ARRAY_LENGTH(tables); i++)
                for (const struct program_command *command = tables[i]; command && command->name; command++)
                        if (!strcmp(command->name, name))
                                return command;
        return NULL;
}

static int refuse(const struct program *program, int argc, char **argv)
{
        const struct program_command *command = find_command(program, argv[1]);
        if (!command)
                fprintf(stderr, "%s: unknown command %s; see %s --help\n", program->name, argv[1], program->name);
        else if (command->accepts(argc - 1, argv + 1))
                return 0;
        for (; command && command->name && !strcmp(command->name, argv[1]); command++)
                fprintf(stderr, "%s: usage: %s %s\n", program->name, program->name, command->usage);
        return 2;
}

char **command_arguments(int *argc, char **argv, bool *json)
{
        static char word[] = "--json";
        char **out = memory_new((size_t)*argc * 2 + 1, sizeof(*out));
        int count = 0;
        *json = false;
        for (int i = 0; i < *argc; i++) {
                clean_text(argv[i]);
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

int command_run(struct service *service, int argc, char **argv)
{
        return find_command(service->program, argv[1])->run(service, argc - 1, argv + 1);
}
