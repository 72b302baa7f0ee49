/*
 * A line is built in a buffer of fixed size and written in one go. Pieces go in whole or not at all, so that a line that outgrows
 * the buffer ends between two characters, says that it was cut, and is still valid JSON.
 */
#include "common/base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

enum {
        LINE_SIZE = 8192,
        LINE_RESERVE = 64, /* kept free for the closing quote and the mark of a cut line */
        KEY_MAX = 100,
        PATIENCE_MS = 1000, /* with the log's reader */
};

struct line {
        char text[LINE_SIZE];
        size_t used;
        bool cut;
};

struct field {
        const char *key;
        int key_length;
        char value[LINE_SIZE]; /* as long as a line: what does not fit here would be cut from the line as well */
        size_t used;
        bool number;
};

static struct {
        const char *program;
        enum log_level level;
        enum log_format format;
} log_to = {"-", LOG_INFO, LOG_TEXT};

/* a pipe takes only PIPE_BUF bytes at once: without it long lines of two threads could mix */
static pthread_mutex_t write_lock = PTHREAD_MUTEX_INITIALIZER;

static void line_put(struct line *line, const char *text, size_t size)
{
        if (line->cut || line->used + size > LINE_SIZE - LINE_RESERVE) {
                line->cut = true;
                return;
        }
        memcpy(line->text + line->used, text, size);
        line->used += size;
}

/* Ends something that was begun, even in a cut line. */
static void line_end(struct line *line, const char *text)
{
        memcpy(line->text + line->used, text, strlen(text));
        line->used += strlen(text);
}

/* The bytes of the character at text, 0 where it is not valid UTF-8 (RFC 3629). */
size_t log_character_size(const char *text)
{
        const unsigned char *s = (const unsigned char *)text;
        size_t n = s[0] < 0x80 ? 1 : s[0] < 0xC2 ? 0 : s[0] < 0xE0 ? 2 : s[0] < 0xF0 ? 3 : s[0] < 0xF5 ? 4 : 0;

        for (size_t i = 1; i < n; i++)
                if ((s[i] & 0xC0) != 0x80)
                        return 0;
        /* overlong forms, surrogates, beyond U+10FFFF */
        if ((s[0] == 0xE0 && s[1] < 0xA0) || (s[0] == 0xED && s[1] > 0x9F) || (s[0] == 0xF0 && s[1] < 0x90) ||
                (s[0] == 0xF4 && s[1] > 0x8F))
                return 0;
        return n;
}

bool log_is_command(const char *text, size_t size)
{
        const unsigned char *at = (const unsigned char *)text;

        if (size == 1)
                return *at < 0x20 || *at == 0x7F;
        if (size == 2)
                return at[0] == 0xC2 && at[1] < 0xA0;
        if (size != 3 || at[0] != 0xE2)
                return false;
        return (at[1] == 0x80 && ((at[2] >= 0xA8 && at[2] <= 0xAE) || at[2] == 0x8E || at[2] == 0x8F)) ||
               (at[1] == 0x81 && at[2] >= 0xA6 && at[2] <= 0xA9);
}

/* One byte, or in JSON a whole character. */
static void line_put_escape(struct line *line, const char *text, size_t size)
{
        char escape[8];

        if (log_to.format == LOG_JSON) {
                snprintf(escape, sizeof escape, "\\u%04x", size == 1 ? (unsigned)(unsigned char)*text : 0xFFFDU);
                line_put(line, escape, strlen(escape));
                return;
        }
        for (size_t i = 0; i < (size ? size : 1); i++) {
                snprintf(escape, sizeof escape, "\\x%02x", (unsigned)(unsigned char)text[i]);
                line_put(line, escape, strlen(escape));
        }
}

static void line_put_escaped(struct line *line, const char *text)
{
        static const char plain[] = "\"\\\n\r\t", letters[] = "\"\\nrt";
        char escape[8];

        for (size_t n; *text; text += n ? n : 1) {
                const char *special = strchr(plain, *text);

                n = log_character_size(text);
                if (special) {
                        snprintf(escape, sizeof escape, "\\%c", letters[special - plain]);
                        line_put(line, escape, strlen(escape));
                } else if (n && !log_is_command(text, n)) {
                        line_put(line, text, n);
                } else {
                        line_put_escape(line, text, n);
                }
        }
}

static bool is_bare(const char *value)
{
        if (!*value || strpbrk(value, " \"\\="))
                return false;
        for (size_t n; *value; value += n) {
                n = log_character_size(value);
                if (n == 0 || log_is_command(value, n))
                        return false;
        }
        return true;
}

static void line_put_field(struct line *line, const struct field *field)
{
        bool json = log_to.format == LOG_JSON;
        const char *quote = !field->number && (json || !is_bare(field->value)) ? "\"" : "";
        char head[KEY_MAX + 32]; /* a number has 20 digits at most */
        int n = snprintf(head, sizeof head, json ? ",\"%.*s\":%s%s" : " %.*s=%s%s", field->key_length, field->key, quote,
                field->number ? field->value : "");

        line_put(line, head, (size_t)n);
        if (line->cut || field->number)
                return;
        line_put_escaped(line, field->value);
        line_end(line, quote);
}

/*
 * Formats the argument of the conversion at format (behind its %) into out. Returns what follows the conversion, NULL where log.h
 * does not list it. The conversion is read here and not handed to vsnprintf, so every format string in this file is a literal.
 */
static const char *conversion_format(const char *format, va_list *args, char *out, size_t size, bool *number)
{
        size_t width = strspn(format, "lz");
        const char *text;

        *number = format[width] == 'd' || format[width] == 'u';
        switch (format[width]) {
        case 's':
                text = va_arg(*args, const char *);
                snprintf(out, size, "%s", text ? text : "-");
                break;
        case 'd': /* z is as wide as l wherever Linux runs */
                snprintf(out, size, "%lld",
                        width == 0   ? va_arg(*args, int)
                        : width == 1 ? va_arg(*args, long)
                                     : va_arg(*args, long long));
                break;
        case 'u':
                snprintf(out, size, "%llu",
                        width == 0   ? va_arg(*args, unsigned)
                        : width == 1 ? va_arg(*args, unsigned long)
                                     : va_arg(*args, unsigned long long));
                break;
        default:
                return NULL;
        }
        return format + width + 1;
}

/* Reads one key=value pair. Returns what follows it. An unknown conversion and all behind it is shown as it stands. */
static const char *field_read(struct field *field, const char *format, va_list *args)
{
        bool number = false;
        int pieces = 0;
        size_t key = strcspn(format, "= ");

        field->key = format;
        field->key_length = key < KEY_MAX ? (int)key : KEY_MAX;
        format += key + (format[key] == '=');
        field->value[0] = '\0';
        for (field->used = 0; *format && *format != ' '; pieces++) {
                char *out = field->value + field->used;
                size_t left = sizeof field->value - field->used;
                const char *next = format + 1;

                if (*format == '%') {
                        next = conversion_format(format + 1, args, out, left, &number);
                        if (!next) {
                                snprintf(out, left, "%s", format);
                                next = format + strlen(format);
                        }
                } else {
                        snprintf(out, left, "%c", *format);
                }
                field->used += strlen(out);
                format = next;
        }
        field->number = number && pieces == 1;
        return format + strspn(format, " ");
}

static void line_begin(struct line *line, enum log_level level, const char *message)
{
        static const char *const names[][2] = {{"ERROR", "error"}, {"WARN", "warn"}, {"INFO", "info"}, {"DEBUG", "debug"}};
        char when[32], head[256];
        struct timespec now;
        struct tm utc;
        int n;

        clock_gettime(CLOCK_REALTIME, &now);
        gmtime_r(&now.tv_sec, &utc);
        strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%S", &utc);
        n = snprintf(head, sizeof head,
                log_to.format == LOG_JSON ? "{\"time\":\"%s.%03dZ\",\"level\":\"%s\",\"program\":\"%.60s\",\"message\":\""
                                          : "%s.%03dZ %-5s %.60s: ",
                when, (int)(now.tv_nsec / 1000000), names[level][log_to.format == LOG_JSON], log_to.program);
        line_put(line, head, (size_t)n);
        if (log_to.format == LOG_JSON) {
                line_put_escaped(line, message);
                line_end(line, "\"");
        } else {
                line_put(line, message, strlen(message));
        }
}

/* Whether it was written, but for an error: there is no better place to say so. A pipe that can be written takes PIPE_BUF bytes.
 */
static bool line_try(const struct line *line, int patience_ms)
{
        for (size_t done = 0; done < line->used;) {
                struct pollfd out = {.fd = STDERR_FILENO, .events = POLLOUT};
                size_t part = line->used - done > PIPE_BUF ? PIPE_BUF : line->used - done;

                if (poll(&out, 1, patience_ms) == 0)
                        return false;
                ssize_t n = write(STDERR_FILENO, line->text + done, part);

                if (n < 0 && errno != EINTR)
                        break;
                done += n > 0 ? (size_t)n : 0;
        }
        return true;
}

/* A reader that reads no more must not stop the program: after a second its lines are lost, until it reads again. */
static void line_write(const struct line *line)
{
        static uint64_t lost;
        char message[100];
        struct line note = {.used = 0};

        pthread_mutex_lock(&write_lock);
        if (lost) {
                snprintf(message, sizeof message, "%" PRIu64 " lines of the log are lost: nobody read them", lost);
                line_begin(&note, LOG_WARN, message);
                line_end(&note, log_to.format == LOG_JSON ? "}\n" : "\n");
                lost = line_try(&note, 0) ? 0 : lost;
        }
        lost += lost || !line_try(line, PATIENCE_MS);
        pthread_mutex_unlock(&write_lock);
}

void log_init(const char *program, enum log_level level, enum log_format format)
{
        log_to.program = program;
        log_to.level = level;
        log_to.format = format;
}

int log_enabled(enum log_level level)
{
        return level <= log_to.level;
}

void log_write(enum log_level level, const char *message, const char *fields, ...)
{
        bool json = log_to.format == LOG_JSON;
        int saved_errno = errno;
        struct line line;
        struct field field;
        va_list args;

        if (!log_enabled(level))
                return;
        line.used = 0;
        line.cut = false;
        line_begin(&line, level, message);
        va_start(args, fields);
        while (fields && *fields) {
                fields = field_read(&field, fields, &args);
                line_put_field(&line, &field);
        }
        va_end(args);
        if (line.cut)
                line_end(&line, json ? ",\"truncated\":true" : " (truncated)");
        line_end(&line, json ? "}\n" : "\n");
        line_write(&line);
        errno = saved_errno;
}
