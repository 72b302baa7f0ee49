#include <stdbool.h>
#include <string.h>
#include "ingest/decode/json.h"

struct reader {
        const unsigned char *at, *end;
        const unsigned char *copied; /* the text before it stands in the copy */
        char *out;
        const char *error;
};

static int refuse(struct reader *r, const char *error)
{
        r->error = error;
        return JSON_BAD;
}

static void copy_until(struct reader *r, const unsigned char *until)
{
        size_t size = (size_t)(until - r->copied);

        memcpy(r->out, r->copied, size);
        r->out += size;
        r->copied = until;
}

/* Needs no second look within a string. */
static bool is_plain(unsigned char c)
{
        return c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
}

static bool is_digit(const struct reader *r)
{
        return r->at < r->end && *r->at >= '0' && *r->at <= '9';
}

static bool is_next(const struct reader *r, char c)
{
        return r->at < r->end && *r->at == (unsigned char)c;
}

static void skip_space(struct reader *r)
{
        while (r->at < r->end && (*r->at == ' ' || *r->at == '\n' || *r->at == '\r' || *r->at == '\t'))
                r->at++;
}

size_t json_character_size(const unsigned char *at, const unsigned char *end)
{
        size_t size = *at < 0x80 ? 1 : *at < 0xc2 ? 0 : *at < 0xe0 ? 2 : *at < 0xf0 ? 3 : *at < 0xf5 ? 4 : 0;

        if (size < 2)
                return size;
        if ((size_t)(end - at) < size)
                return 0;
        /* too long for what it says, a surrogate, or above U+10FFFF */
        if ((*at == 0xe0 && at[1] < 0xa0) || (*at == 0xed && at[1] > 0x9f) || (*at == 0xf0 && at[1] < 0x90) ||
                (*at == 0xf4 && at[1] > 0x8f))
                return 0;
        for (size_t i = 1; i < size; i++)
                if ((at[i] & 0xc0) != 0x80)
                        return 0;
        return size;
}

/* The four digits behind \u, at `at`; -1 where they are not. */
static int escape_value(const struct reader *r, const unsigned char *at)
{
        int value = 0;

        if (r->end - at < 4)
                return -1;
        for (int i = 0; i < 4; i++) {
                int c = at[i] | 0x20; /* A to F become a to f */

                if (at[i] >= '0' && at[i] <= '9')
                        value = value * 16 + at[i] - '0';
                else if (c >= 'a' && c <= 'f')
                        value = value * 16 + c - 'a' + 10;
                else
                        return -1;
        }
        return value;
}

/* The six bytes of an escape by others in the copy. */
static void replace_escape(struct reader *r, const char *bytes, size_t size)
{
        copy_until(r, r->at);
        memcpy(r->out, bytes, size);
        r->out += size;
        r->copied += 6;
}

/* r->at stands at the backslash. */
static int read_escape(struct reader *r)
{
        int value, second;

        if (r->end - r->at < 2)
                return refuse(r, "the text ends within a string");
        if (r->at[1] != 'u') {
                if (!r->at[1] || !strchr("\"\\/bfnrt", r->at[1]))
                        return refuse(r, "no such escape in a string");
                r->at += 2;
                return 0;
        }
        value = escape_value(r, r->at + 2);
        if (value < 0)
                return refuse(r, "\\u without four hex digits");
        if (value >= 0xd800 && value <= 0xdfff) {
                bool pair = value < 0xdc00 && r->end - r->at >= 12 && r->at[6] == '\\' && r->at[7] == 'u';

                second = pair ? escape_value(r, r->at + 8) : -1;
                if (second >= 0xdc00 && second <= 0xdfff) {
                        r->at += 12;
                        return 0;
                }
                replace_escape(
                        r, (const char[]){JSON_SURROGATE, (char)(0x80 | (value >> 6 & 0x3f)), (char)(0x80 | (value & 0x3f))}, 3);
        }
        if (!value)
                replace_escape(r, JSON_NUL, 2);
        r->at += 6;
        return 0;
}

static int read_string(struct reader *r)
{
        size_t size;

        r->at++;
        for (;;) {
                while (r->at < r->end && is_plain(*r->at))
                        r->at++;
                if (r->at == r->end)
                        return refuse(r, "the text ends within a string");
                if (*r->at == '"') {
                        r->at++;
                        return 0;
                }
                if (*r->at == '\\') {
                        if (read_escape(r))
                                return JSON_BAD;
                        continue;
                }
                if (*r->at < 0x20)
                        return refuse(r, "a raw control character in a string");
                size = json_character_size(r->at, r->end);
                if (!size)
                        return refuse(r, "invalid UTF-8");
                r->at += size;
        }
}

static int read_digits(struct reader *r)
{
        if (!is_digit(r))
                return refuse(r, "a digit is missing in a number");
        while (is_digit(r))
                r->at++;
        return 0;
}

static int read_number(struct reader *r)
{
        copy_until(r, r->at);
        *r->out++ = '"';
        *r->out++ = JSON_NUMBER;
        if (*r->at == '-')
                r->at++;
        if (is_next(r, '0')) {
                r->at++;
                if (is_digit(r))
                        return refuse(r, "a leading zero in a number");
        } else if (read_digits(r)) {
                return JSON_BAD;
        }
        if (is_next(r, '.')) {
                r->at++;
                if (read_digits(r))
                        return JSON_BAD;
        }
        if (is_next(r, 'e') || is_next(r, 'E')) {
                r->at++;
                if (is_next(r, '+') || is_next(r, '-'))
                        r->at++;
                if (read_digits(r))
                        return JSON_BAD;
        }
        copy_until(r, r->at);
        *r->out++ = '"';
        return 0;
}

static int read_scalar(struct reader *r)
{
        static const char *const words[] = {"null", "true", "false"};

        if (*r->at == '"')
                return read_string(r);
        if (*r->at == '-' || is_digit(r))
                return read_number(r);
        for (size_t i = 0; i < ARRAY_LENGTH(words); i++) {
                size_t size = strlen(words[i]);

                if ((size_t)(r->end - r->at) >= size && !memcmp(r->at, words[i], size)) {
                        r->at += size;
                        return 0;
                }
        }
        return refuse(r, "not a JSON value");
}

static int read_name(struct reader *r)
{
        skip_space(r);
        if (!is_next(r, '"'))
                return refuse(r, "a member name is missing");
        if (read_string(r))
                return JSON_BAD;
        skip_space(r);
        if (!is_next(r, ':'))
                return refuse(r, "a colon is missing");
        r->at++;
        return 0;
}

/* One value, with a stack of the brackets that will close it instead of recursion. */
static int read_value(struct reader *r, char *closers, size_t depth_max)
{
        size_t depth = 0;

        for (;;) {
                skip_space(r);
                if (r->at == r->end)
                        return refuse(r, "the text ends where a value is due");
                if (*r->at == '{' || *r->at == '[') {
                        bool object = *r->at == '{';

                        if (depth == depth_max)
                                return refuse(r, "nested too deep");
                        closers[depth++] = object ? '}' : ']';
                        r->at++;
                        skip_space(r);
                        if (!is_next(r, closers[depth - 1])) {
                                if (object && read_name(r))
                                        return JSON_BAD;
                                continue;
                        }
                } else if (read_scalar(r)) {
                        return JSON_BAD;
                }
                /* a value is complete, or its closing bracket is next */
                for (;;) {
                        skip_space(r);
                        if (!depth)
                                return 0;
                        if (!is_next(r, closers[depth - 1]))
                                break;
                        r->at++;
                        depth--;
                }
                if (!is_next(r, ','))
                        return refuse(r, r->at == r->end ? "the text ends too early" : "a comma or a closing bracket is missing");
                r->at++;
                if (closers[depth - 1] == '}' && read_name(r))
                        return JSON_BAD;
        }
}

int json_prepare(const char *text, size_t size, size_t depth_max, struct arena *arena, struct json_text *out)
{
        const unsigned char *start = (const unsigned char *)(size ? text : "");
        struct reader r = {.at = start, .end = start + size, .copied = start};
        char *closers = arena_alloc(arena, depth_max);

        *out = (struct json_text){0};
        /* a number of one digit and the comma behind it become five bytes */
        r.out = out->data = arena_alloc(arena, size / 2 * 5 + 4);
        if (!read_value(&r, closers, depth_max) && r.at < r.end)
                refuse(&r, "something follows the value");
        if (r.error) {
                out->error = r.error;
                out->error_at = (size_t)(r.at - start);
                return JSON_BAD;
        }
        copy_until(&r, r.end);
        out->size = (size_t)(r.out - out->data);
        return 0;
}
