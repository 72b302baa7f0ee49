#include "common/base/settings.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>
#include "common/base/clean.h"
#include "common/base/log.h"

enum {
        FILE_SIZE_MAX = 8192,
        PRINT_WIDTH = 100,
        NAME_SIZE_MAX = 63,
        NEAR_MAX = 2,
        LONG_NAME = 8,          /* shorter names are near each other by chance */
        PRINT_VALUE_WIDTH = 24, /* after a longer value the meaning starts on a line of its own */
};

static void value_print(FILE *out, const struct setting *row, const char *value)
{
        char *hidden = memory_new(strlen(value) + 1, 1);

        if (row->secret)
                clean_hide(value, hidden);
        for (size_t i = 0; value[i]; i++) {
                if (!hidden[i])
                        fputc(iscntrl((unsigned char)value[i]) ? '?' : value[i], out);
                else if (!hidden[i + 1])
                        fputs("***", out);
        }
        free(hidden);
}

/* Where a value comes from */

static const char *env_get(const char *name)
{
        const char *value = getenv(name);

        return value && *value ? value : NULL;
}

/* Without the byte order mark that an editor put before it, and without the blanks and line ends around it. */
static char *copy_trimmed(const char *text)
{
        static const char blanks[] = " \t\r\n";
        size_t size;

        text += strncmp(text, "\xef\xbb\xbf", 3) ? 0 : 3;
        text += strspn(text, blanks);
        for (size = strlen(text); size && strchr(blanks, text[size - 1]); size--)
                ;
        return memory_copy_part(text, size);
}

/* The content of a small text file, malloc'd; NULL: *problem says why. A pipe is refused: it gives its content once, or never. */
static char *file_read(const char *path, const char **problem)
{
        char text[FILE_SIZE_MAX + 2], *copy;
        struct stat about;
        int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
        ssize_t size = fd < 0 ? -1 : read(fd, text, FILE_SIZE_MAX + 1);

        *problem = size < 0 ? strerror(errno) : size > FILE_SIZE_MAX ? "larger than 8 KB" : NULL;
        if (fd >= 0) {
                if (!fstat(fd, &about) && S_ISFIFO(about.st_mode))
                        *problem = "it is a pipe; it is read again and again, so give a file";
                close(fd);
        }
        if (*problem)
                return NULL;
        text[size] = '\0';
        copy = copy_trimmed(text);
        if (strlen(text) < (size_t)size || !*copy) {
                *problem = strlen(text) < (size_t)size ? "it holds a NUL byte" : "it is empty";
                free(copy);
                return NULL;
        }
        return copy;
}

/* The text of a setting, malloc'd, NULL where it is unset and has no default; SETTINGS_BAD: the reason is printed. */
static int text_get(const struct setting *row, char **text, FILE *problems)
{
        char name[128];
        const char *value = env_get(row->name), *path, *problem;

        *text = NULL;
        snprintf(name, sizeof name, "%s_FILE", row->name);
        path = row->from_file ? env_get(name) : NULL;
        if (path && value) {
                fprintf(problems, "%s: set together with %s; only one of them is allowed\n", row->name, name);
                return SETTINGS_BAD;
        }
        if (path) {
                *text = file_read(path, &problem);
                if (*text)
                        return 0;
                fprintf(problems, "%s: cannot read '", name);
                value_print(problems, row, path); /* it may be the secret itself, set under the wrong name */
                fprintf(problems, "': %s\n", problem);
                return SETTINGS_BAD;
        }
        value = value ? value : row->fallback;
        if (value)
                *text = row->from_file ? copy_trimmed(value) : memory_copy(value);
        return 0;
}

/* What it means */

bool settings_number_parse(const char *text, int64_t *out)
{
        int64_t value = 0;

        if (!*text)
                return false;
        for (; *text; text++) {
                if (*text < '0' || *text > '9' || __builtin_mul_overflow(value, 10, &value) ||
                        __builtin_add_overflow(value, *text - '0', &value))
                        return false;
        }
        *out = value;
        return true;
}

/* The place of text in a NULL-ended list, -1 where it is not there. */
static int choice_find(const char *const *choices, const char *text)
{
        for (int i = 0; choices[i]; i++)
                if (strcasecmp(choices[i], text) == 0)
                        return i;
        return -1;
}

static const char *const switches[] = {"false", "true", "0", "1", "no", "yes", "off", "on", NULL}; /* odd places mean true */

/* One block holds the pointers and the text they point into. NULL: *problem says what is wrong. */
static char **list_parse(const char *text, const char **problem)
{
        static const char blanks[] = " \t\r\n";
        size_t count = 1, n = 0;
        char **list, *rest, *item;

        for (const char *p = text; *p; p++)
                count += *p == ',';
        *problem = NULL;
        list = memory_new(1, (count + 1) * sizeof *list + strlen(text) + 1);
        rest = memcpy((char *)(list + count + 1), text, strlen(text) + 1);
        while ((item = strsep(&rest, ","))) {
                item += strspn(item, blanks);
                for (size_t end = strlen(item); end > 0 && strchr(blanks, item[end - 1]); end--)
                        item[end - 1] = '\0';
                if (!*item)
                        *problem = "has an empty item";
                for (size_t i = 0; i < n; i++)
                        if (!*problem && strcmp(list[i], item) == 0)
                                *problem = "has an item twice";
                list[n++] = item;
        }
        if (!*problem)
                return list;
        free(list);
        return NULL;
}

/* What is allowed, after "is not " */
static void kind_print(FILE *out, const struct setting *row)
{
        const char *const *choices = row->kind == SETTING_SWITCH ? switches : row->choices;

        if (row->kind == SETTING_NUMBER) {
                fprintf(out, "a whole number from %lld to %lld", (long long)row->min, (long long)row->max);
                return;
        }
        fputs("one of ", out);
        for (size_t i = 0; choices[i]; i++)
                fprintf(out, "%s%s", i > 0 ? ", " : "", choices[i]);
}

/* Puts the value into the program's struct. */
static int value_read(const struct setting *row, const char *text, void *field, FILE *problems)
{
        const char *problem = NULL;
        int64_t number = 0;
        int choice = -1;
        bool good = false;

        switch (row->kind) {
        case SETTING_TEXT:
                problem = row->check ? row->check(text) : NULL;
                *(char **)field = problem ? NULL : memory_copy(text);
                good = !problem;
                break;
        case SETTING_LIST:
                problem = row->check ? row->check(text) : NULL;
                *(char ***)field = problem ? NULL : list_parse(text, &problem);
                good = !problem;
                break;
        case SETTING_NUMBER:
                good = settings_number_parse(text, &number) && number >= row->min && number <= row->max;
                *(int64_t *)field = number;
                break;
        case SETTING_SWITCH:
                choice = choice_find(switches, text);
                good = choice >= 0;
                *(bool *)field = choice % 2 == 1;
                break;
        case SETTING_CHOICE:
                choice = choice_find(row->choices, text);
                good = choice >= 0;
                *(int *)field = choice;
                break;
        }
        if (good)
                return 0;
        fprintf(problems, "%s: '", row->name);
        value_print(problems, row, text);
        fputs(problem ? "': " : "' is not ", problems);
        if (problem)
                fputs(problem, problems);
        else
                kind_print(problems, row);
        fputc('\n', problems);
        return SETTINGS_BAD;
}

static int row_read(const struct setting *row, void *field, FILE *problems)
{
        char *text;
        int r = text_get(row, &text, problems);

        if (r)
                return r;
        if (text) {
                if (row->secret)
                        clean_remember(text);
                r = value_read(row, text, field, problems);
        } else if (row->required) {
                fprintf(problems, "%s: not set, and it has no default; set it", row->name);
                if (row->from_file)
                        fprintf(problems, ", or %s_FILE to the path of a file that holds it", row->name);
                fputc('\n', problems);
                r = SETTINGS_BAD;
        }
        free(text);
        return r;
}

static bool is_owned(const struct setting *row)
{
        return row->kind == SETTING_TEXT || row->kind == SETTING_LIST;
}

int settings_read(const struct settings_table *table, void *target, char **problems)
{
        size_t size;
        FILE *out = memory_stream(problems, &size);
        int result = 0;

        for (const struct settings_table *t = table; t; t = t->next)
                for (const struct setting *row = t->rows; row->name; row++)
                        if (is_owned(row))
                                memset((char *)target + row->offset, 0, sizeof(void *));
        for (const struct settings_table *t = table; t; t = t->next) {
                for (const struct setting *row = t->rows; row->name; row++) {
                        if (row_read(row, (char *)target + row->offset, out))
                                result = SETTINGS_BAD;
                }
        }
        memory_stream_end(out);
        if (result) {
                settings_deinit(table, target);
                return result;
        }
        free(*problems);
        *problems = NULL;
        return 0;
}

static const struct setting *row_find(const struct settings_table *table, const char *name)
{
        for (const struct settings_table *t = table; t; t = t->next)
                for (const struct setting *row = t->rows; row->name; row++)
                        if (strcmp(row->name, name) == 0)
                                return row;
        abort();
}

char *settings_text_now(const struct settings_table *table, const char *name, const char *before, const char **problem)
{
        const struct setting *row = row_find(table, name);
        char variable[128], *text = NULL;
        const char *path;

        *problem = NULL;
        snprintf(variable, sizeof variable, "%s_FILE", name);
        path = row->from_file ? env_get(variable) : NULL;
        if (path)
                text = file_read(path, problem);
        if (text && row->secret)
                clean_remember(text);
        if (text && row->check)
                *problem = row->check(text);
        if (text && !*problem)
                return text;
        free(text);
        return memory_copy(before);
}

/* Levenshtein's distance, whatever the case; more than `most` counts as most + 1. */
static size_t name_distance(const char *a, size_t size, const char *b, size_t most)
{
        size_t row[NAME_SIZE_MAX + 1], length = strlen(b);

        if (size > NAME_SIZE_MAX || length > NAME_SIZE_MAX || (size > length ? size - length : length - size) > most)
                return most + 1;
        for (size_t j = 0; j <= length; j++)
                row[j] = j;
        for (size_t i = 1; i <= size; i++) {
                size_t diagonal = row[0];
                row[0] = i;
                for (size_t j = 1; j <= length; j++) {
                        size_t change = diagonal + (toupper((unsigned char)a[i - 1]) != b[j - 1]),
                               more = row[j] < row[j - 1] ? row[j] : row[j - 1];
                        diagonal = row[j];
                        row[j] = change < more + 1 ? change : more + 1;
                }
        }
        return row[length];
}

/* A letter or two are different, or one of them goes on with another word: CLAIM_IDLE, REDIS_STREAMS_NAME. */
static bool name_is_near(const char *variable, size_t size, const char *name)
{
        const size_t length = strlen(name), common = size < length ? size : length;

        if (name_distance(variable, size, name, NEAR_MAX) <= (length < LONG_NAME ? 1 : NEAR_MAX))
                return true;
        return common >= LONG_NAME && !strncasecmp(variable, name, common) &&
               (size < length ? name[common] == '_' : variable[common] == '_');
}

void settings_warn_of_near_names(const struct settings_table *table)
{
        for (char **variable = environ; *variable; variable++) {
                size_t size = strcspn(*variable, "="),
                       base = size > 5 && !strncmp(*variable + size - 5, "_FILE", 5) ? size - 5 : size;
                const char *near = NULL;
                bool known = false;
                for (const struct settings_table *t = table; t; t = t->next)
                        for (const struct setting *row = t->rows; row->name; row++) {
                                const size_t length = strlen(row->name);
                                known = known || ((size == length || (row->from_file && base == length)) &&
                                                         !strncmp(*variable, row->name, length));
                                if (name_is_near(*variable, size, row->name))
                                        near = row->name;
                        }
                AUTO(text) char *name = memory_copy_part(*variable, size);
                if (near && !known)
                        log_write(LOG_WARN, "a variable that is not known is ignored; is another one meant?",
                                "variable=%s near=%s", name, near);
        }
}

void settings_deinit(const struct settings_table *table, void *target)
{
        for (const struct settings_table *t = table; t; t = t->next) {
                for (const struct setting *row = t->rows; row->name; row++) {
                        void *owned;

                        if (is_owned(row)) { /* copied: char * and char ** have no common type to be read through */
                                memcpy(&owned, (char *)target + row->offset, sizeof owned);
                                free(owned);
                                memset((char *)target + row->offset, 0, sizeof owned);
                        }
                }
        }
}

/* --help */

/* Columns, not bytes. */
static size_t text_width(const char *text, size_t size)
{
        size_t width = 0;

        for (size_t i = 0; i < size; i++)
                width += ((unsigned char)text[i] & 0xC0) != 0x80;
        return width;
}

static void wrapped_print(FILE *out, const char *text, size_t indent)
{
        for (size_t column = indent, size, width; *text; text += size + strspn(text + size, " ")) {
                size = strcspn(text, " ");
                width = text_width(text, size);
                if (column > indent && column + 1 + width > PRINT_WIDTH) {
                        fprintf(out, "\n%*s", (int)indent, "");
                        column = indent;
                } else if (column > indent) {
                        fputc(' ', out);
                        column++;
                }
                fwrite(text, 1, size, out);
                column += width;
        }
        fputc('\n', out);
}

static void row_print(const struct setting *row, FILE *out, size_t name_width)
{
        char *text, *shown = NULL, *meaning = NULL;
        size_t size, width, indent = name_width + 2 + PRINT_VALUE_WIDTH + 2;
        FILE *value = memory_stream(&shown, &size), *help = memory_stream(&meaning, &size);

        const int bad = text_get(row, &text, value); /* then it says why */

        if (text)
                value_print(value, row, text);
        else if (!bad)
                fputs(row->required ? "(required)" : "-", value);
        fputs(row->help, help);
        if (row->kind == SETTING_NUMBER || row->kind == SETTING_CHOICE) {
                fputs("; ", help);
                kind_print(help, row);
        }
        if (row->fallback && text && strcmp(row->fallback, text) != 0) {
                fputs("; default ", help);
                value_print(help, row, row->fallback);
        }
        if (row->from_file)
                fprintf(help, "; or %s_FILE", row->name);
        free(text);
        memory_stream_end(value);
        memory_stream_end(help);
        shown[strcspn(shown, "\n")] = '\0';
        width = text_width(shown, strlen(shown));
        fprintf(out, "%-*s  %s", (int)name_width, row->name, shown);
        fprintf(out, width > PRINT_VALUE_WIDTH ? "\n%*s" : "%*s",
                (int)(width > PRINT_VALUE_WIDTH ? indent : PRINT_VALUE_WIDTH + 2 - width), "");
        wrapped_print(out, meaning, indent);
        free(shown);
        free(meaning);
}

void settings_print(const struct settings_table *table, FILE *out)
{
        size_t width = 0;

        for (const struct settings_table *t = table; t; t = t->next)
                for (const struct setting *row = t->rows; row->name; row++)
                        width = strlen(row->name) > width ? strlen(row->name) : width;
        for (const struct settings_table *t = table; t; t = t->next)
                for (const struct setting *row = t->rows; row->name; row++)
                        row_print(row, out, width);
}
