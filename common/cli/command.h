/*
 * The command line: help, version, and the subcommands that every program has (check, verify, rebuild, status, dlq); a program's
 * own come from its description. Data goes to stdout, messages to stderr. Exit codes: 0 done, 1 failed or differences found, 2
 * bad usage or configuration.
 */
#pragma once

#include "common/stage/service.h"

/* What was typed, cleaned for a terminal in place; --name=value taken apart, and --json out of its place, wherever it stands.
 * The caller frees the list, not its texts. */
char **command_arguments(int *argc, char **argv, bool *json);
/* --help, --version and bad usage: true, with *code set; false: go on with the settings read. */
bool command_needs_no_settings(const struct program *program, int argc, char **argv, int *code);
int command_run(struct service *service, int argc, char **argv);
