#include <stdbool.h>
#include <string.h>
#include "ingest/decode/json.h"

struct reader {
        const unsigned char *at, *end;
        char *out;           /* where the next text goes */
        struct json *item;   /* that is being read */
        struct json **open;  /* arrays and objects around it */
        struct arena *arena; /* of the items */
        size_t count;        /* of them, the root not counted */
        const char *error;
};

static int refuse(struct reader *r, const char *error)
{
        r->error = error;
        return JSON_BAD;
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

static void put_character(struct reader *r, unsigned code)
{
        static const unsigned char heads[] = {0, 0xc0, 0xe0, 0xf0};
        int more = code && code < 0x80 ? 0 : code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;

        if (!code)
                r->item->unstorable = "a NUL (\\u0000)";
        else if (code >= 0xd800 && code <= 0xdfff && !r->item->unstorable)
                r->item->unstorable = "a lone surrogate";
        *r->out++ = (char)(heads[more] | code >> 6 * more);
        while (more-- > 0)
                *r->out++ = (char)(0x80 | (code >> 6 * more & 0x3f));
}

/* r->at stands at the backslash. */
static int read_escape(struct reader *r)
{
        static const char letters[] = "\"\\/bfnrt", characters[] = "\"\\/\b\f\n\r\t";
        const char *letter;
        int value, second;

        if (r->end - r->at < 2)
                return refuse(r, "the text ends within a string");
        if (r->at[1] != 'u') {
                letter = r->at[1] ? strchr(letters, r->at[1]) : NULL;
                if (!letter)
                        return refuse(r, "no such escape in a string");
                *r->out++ = characters[letter - letters];
                r->at += 2;
                return 0;
        }
        value = escape_value(r, r->at + 2);
        if (value < 0)
                return refuse(r, "\\u without four hex digits");
        r->at += 6;
        second = value >= 0xd800 && value < 0xdc00 && r->end - r->at >= 6 && r->at[0] == '\\' && r->at[1] == 'u'
                         ? escape_value(r, r->at + 2)
                         : -1;
        if (second >= 0xdc00 && second <= 0xdfff) {
                r->at += 6;
                value = 0x10000 + ((value - 0xd800) << 10) + second - 0xdc00;
        }
        put_character(r, (unsigned)value);
        return 0;
}

static int read_string(struct reader *r, const char **text)
{
        size_t size;

        *text = r->out;
        r->at++;
        for (;;) {
                while (r->at < r->end && is_plain(*r->at))
                        *r->out++ = (char)*r->at++;
                if (r->at == r->end)
                        return refuse(r, "the text ends within a string");
                if (*r->at == '"') {
                        r->at++;
                        *r->out++ = '\0';
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
                memcpy(r->out, r->at, size);
                r->out += size;
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
        const unsigned char *start = r->at;
        size_t size;

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
        size = (size_t)(r->at - start);
        r->item->text = memcpy(r->out, start, size);
        r->out[size] = '\0';
        r->out += size + 1;
        return 0;
}

static int read_scalar(struct reader *r)
{
        static const char *const words[] = {[JSON_NULL] = "null", [JSON_FALSE] = "false", [JSON_TRUE] = "true"};

        r->item->type = *r->at == '"' ? JSON_STRING : JSON_NUMBER;
        if (*r->at == '"')
                return read_string(r, &r->item->text);
        if (*r->at == '-' || is_digit(r))
                return read_number(r);
        for (size_t i = 0; i < ARRAY_LENGTH(words); i++) {
                size_t size = strlen(words[i]);

                if ((size_t)(r->end - r->at) >= size && !memcmp(r->at, words[i], size)) {
                        r->item->type = (enum json_type)i;
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
        r->item->member = (const char *)r->at;
        if (read_string(r, &r->item->name))
                return JSON_BAD;
        skip_space(r);
        if (!is_next(r, ':'))
                return refuse(r, "a colon is missing");
        r->at++;
        return 0;
}

/* Closes those of the open arrays and objects that end here; the last one closed is the item. */
static void read_ends(struct reader *r, size_t *depth)
{
        for (;;) {
                r->item->end = (const char *)r->at;
                skip_space(r);
                if (!*depth)
                        return;
                struct json *parent = r->open[*depth - 1];

                if (!parent->unstorable)
                        parent->unstorable = r->item->unstorable;
                if (!is_next(r, parent->type == JSON_OBJECT ? '}' : ']'))
                        return;
                r->at++;
                r->item = parent;
                --*depth;
        }
}

/* One value, with a stack of the arrays and objects that are open instead of recursion. */
static int read_value(struct reader *r, size_t depth_max, struct json **root)
{
        struct json **place = root;
        size_t depth = 0;

        for (;;) {
                *place = r->item = arena_alloc(r->arena, sizeof(*r->item));
                *r->item = (struct json){0};
                if (r->count++ == JSON_VALUES_MAX)
                        return refuse(r, "more values than a message may hold");
                if (depth && r->open[depth - 1]->type == JSON_OBJECT && read_name(r))
                        return JSON_BAD;
                skip_space(r);
                if (r->at == r->end)
                        return refuse(r, "the text ends where a value is due");
                r->item->source = (const char *)r->at;
                r->item->member = r->item->member ? r->item->member : r->item->source;
                if (*r->at == '{' || *r->at == '[') {
                        r->item->type = *r->at == '{' ? JSON_OBJECT : JSON_ARRAY;
                        if (depth == depth_max)
                                return refuse(r, "nested too deep");
                        r->at++;
                        skip_space(r);
                        if (!is_next(r, r->item->type == JSON_OBJECT ? '}' : ']')) {
                                r->open[depth++] = r->item;
                                place = &r->item->child;
                                continue;
                        }
                        r->at++;
                } else if (read_scalar(r)) {
                        return JSON_BAD;
                }
                read_ends(r, &depth);
                if (!depth)
                        return r->at < r->end ? refuse(r, "something follows the value") : 0;
                if (!is_next(r, ','))
                        return refuse(r, r->at == r->end ? "the text ends too early" : "a comma or a closing bracket is missing");
                r->at++;
                place = &r->item->next;
        }
}

int json_read(const char *text, size_t size, size_t depth_max, struct arena *arena, struct json **root, const char **error,
        size_t *error_at)
{
        const unsigned char *start = (const unsigned char *)(size ? text : "");
        struct reader r = {.at = start,
                .end = start + size,
                .out = arena_alloc(arena, size + 1), /* no text is longer than what it is read from; a number's NUL has the place
                                                        of what follows it */
                .open = arena_alloc(arena, depth_max * sizeof(*r.open)),
                .arena = arena};
        int result = read_value(&r, depth_max, root);

        *error = r.error;
        *error_at = (size_t)(r.at - start);
        return result;
}
