/*
 * Settings from the environment, as one table: name, kind, default, help, and where the value goes. The same table prints --help.
 *
 * All bad values are found in one go (spec: exit 2, nothing touched). NAME_FILE reads the value from a file (one trailing newline
 * is dropped) where the row allows it; NAME and NAME_FILE both set is refused. An empty variable counts as unset.
 */
#pragma once

#include <stdbool.h>
#include <stdio.h>
#include "common/base/base.h"

enum setting_kind {
        SETTING_TEXT,   /* char *  */
        SETTING_NUMBER, /* int64_t, min … max; plain decimal digits only */
        SETTING_SWITCH, /* bool: true/false, 1/0, yes/no, on/off, any case */
        SETTING_CHOICE, /* int: place in choices, a NULL-ended list; any case */
        SETTING_LIST,   /* char **, NULL-ended: comma-separated, blanks around items dropped, empty and repeated items refused */
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
        bool secret;    /* a URL or connection string with secrets in it (clean.h): masked as ***, in problems as well */
        /* NULL, or says what is wrong with a TEXT or LIST value, as in "NAME: 'value': must start with redis://"; NULL when it is
         * fine */
        const char *(*check)(const char *value);
};

/* Rows of the simpler kinds. */
#define SETTING_OF_TEXT(variable, place, preset, checked_by, meaning)                                                            \
        {                                                                                                                        \
                .name = variable, .kind = SETTING_TEXT, .fallback = preset, .help = meaning, .offset = place,                    \
                .check = checked_by                                                                                              \
        }
#define SETTING_OF_SWITCH(variable, place, preset, meaning)                                                                      \
        {                                                                                                                        \
                .name = variable, .kind = SETTING_SWITCH, .fallback = preset, .help = meaning, .offset = place                   \
        }
#define SETTING_OF_NUMBER(variable, place, preset, least, most, meaning)                                                         \
        {                                                                                                                        \
                .name = variable, .kind = SETTING_NUMBER, .fallback = preset, .help = meaning, .offset = place, .min = least,    \
                .max = most                                                                                                      \
        }

struct settings_table {
        const struct setting *rows;        /* ends at name NULL */
        const struct settings_table *next; /* more rows */
};

enum { SETTINGS_BAD = 1 };

/*
 * Fills target; release it with settings_deinit. SETTINGS_BAD: *problems (malloc'd, caller frees) has one line per bad variable:
 * "NAME: 'value' is not what is allowed"; else it is NULL. Unless 0 is returned, target holds nothing to release.
 */
MUST_CHECK int settings_read(const struct settings_table *table, void *target, char **problems);

/*
 * A SETTING_TEXT as its file is now (NAME_FILE), malloc'd: mounted secrets change under a running program. A copy of `before`
 * where the setting is not from a file, or where *problem (static text, else NULL) says why the file's value is not used.
 */
char *settings_text_now(const struct settings_table *table, const char *name, const char *before, const char **problem);

/* Whether text is a number from 0 to 2^63-1 in plain digits, and nothing else. */
bool settings_number_parse(const char *text, int64_t *out);

/* Logs a warning for each variable of the environment that is set, is none of the table's and is near one of them (WORKER). */
void settings_warn_of_near_names(const struct settings_table *table);

/* The table for --help: name, effective value (or its default, secrets masked), meaning. Bad values are shown as they are. */
void settings_print(const struct settings_table *table, FILE *out);

void settings_deinit(const struct settings_table *table, void *target);
