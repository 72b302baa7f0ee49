/*
 * Settings from the environment, as one table: name, kind, default, help, and where the value goes. The same table prints --help.
 *
 * All bad values are found in one go (spec: exit 2, nothing touched). NAME_FILE reads the value from a file (one trailing newline
 * is dropped) where the row allows it; NAME and NAME_FILE both set is refused. An empty variable counts as unset.
 */
#pragma once

#include <stdbool.h>
#include <stdio.h>
#include "base.h"

enum setting_kind {
        SETTING_TEXT,   /* char *  */
        SETTING_NUMBER, /* int64_t, min … max; plain decimal digits only */
        SETTING_SWITCH, /* bool: true/false, 1/0, yes/no, on/off, any case */
        SETTING_CHOICE, /* int: place in choices, a NULL-ended list */
        SETTING_LIST,   /* char **, NULL-ended: comma-separated, blanks around items dropped, empty items and repeated items refused */
};

struct setting {
        const char *name;
        enum setting_kind kind;
        const char *fallback; /* default as text; NULL: stays NULL/unset (TEXT, LIST only) */
        const char *help;
        size_t offset; /* into the program's settings struct */
        int64_t min, max;
        const char *const *choices;
        bool required;
        bool from_file; /* NAME_FILE is allowed */
        bool secret;    /* userinfo passwords in URLs and password= parameters are masked as *** when printed */
        /* NULL, or says what is wrong with a TEXT value: a static text, NULL when it is fine */
        const char *(*check)(const char *value);
};

struct settings_table {
        const struct setting *rows; /* ends at name NULL */
        const struct settings_table *next; /* more rows */
};

enum { SETTINGS_BAD = 1 };

/* Fills target. SETTINGS_BAD: *problems (malloc'd, caller frees) has one line per bad variable: "NAME: what is wrong, what is allowed". */
MUST_CHECK int settings_read(const struct settings_table *table, void *target, char **problems);

/* The table for --help: name, effective value (or its default, secrets masked), meaning. Bad values are shown as they are. */
void settings_print(const struct settings_table *table, FILE *out);

void settings_deinit(const struct settings_table *table, void *target);
