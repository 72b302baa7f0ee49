#include "common/base/clean.h"

#include <ctype.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include "common/base/log.h"

#define SECRET_MIN 3
#define PART_MIN   8 /* of a URL's path: shorter words are names of versions and chains */

static struct {
        pthread_mutex_t lock;
        char **texts;
        size_t count, capacity;
} secrets = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* ---- where the secrets of a value are ---- */

/* password=…, sslpassword=… in a conninfo text (blank-separated, '…' quoted, \ escapes) or a URL's query */
static void hide_keys(const char *text, char *hidden, bool url)
{
        const char *at = text, *end;
        while ((at = strcasestr(at, "password"))) {
                at += strlen("password");
                end = at + strspn(at, " \t");
                if (*end != '=')
                        continue;
                at = ++end;
                if (url) {
                        end += strcspn(end, "&");
                } else {
                        bool quoted = false;
                        at = end += strspn(end, " \t");
                        for (; *end && (quoted || !isspace((unsigned char)*end)); end++) {
                                quoted ^= *end == '\'';
                                end += *end == '\\' && end[1];
                        }
                }
                memset(hidden + (at - text), 1, (size_t)(end - at));
                at = end;
        }
}

/* The last @ from `from` on that no other rule hides: a password may hold an @ that should have been written %40. */
static const char *last_at(const char *text, const char *from, const char *hidden)
{
        const char *at = NULL;
        for (const char *next = from; next && (next = strchr(next, '@')); next++)
                if (!at || hidden[at - text] || !hidden[next - text])
                        at = next;
        return at;
}

/* user:password@. In a URL of a server that has no users without a password, all before the @ is one. */
static void hide_userinfo(const char *text, char *hidden, size_t start, bool passwords_only)
{
        const char *colon = strchr(text + start, ':'), *at = last_at(text, text + start, hidden);
        const char *from = colon && at && colon < at ? colon + 1 : passwords_only ? text + start : NULL;
        if (at && from)
                memset(hidden + (from - text), 1, (size_t)(at - from));
}

/* https://host/…: providers of web services put their keys into the path or the query */
static void hide_path(const char *text, char *hidden, size_t start)
{
        start += strcspn(text + start, "/?#");
        if (text[start])
                memset(hidden + start + 1, 1, strlen(text + start + 1));
}

static size_t scheme_size(const char *value)
{
        size_t size = strspn(value, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+.-");
        return strncmp(value + size, "://", 3) ? 0 : size + 3;
}

void clean_hide(const char *value, char *hidden)
{
        size_t scheme = scheme_size(value);
        bool passwords_only = scheme ? !strncasecmp(value, "redis", 5) || !strncasecmp(value, "http", 4) : !strchr(value, '=');
        hide_keys(value, hidden, scheme);
        hide_userinfo(value, hidden, scheme, passwords_only);
        if (scheme && !strncasecmp(value, "http", 4))
                hide_path(value, hidden, scheme);
}

/* ---- what is remembered ---- */

static int hex(char c)
{
        const char *digits = "0123456789abcdef", *at = c ? strchr(digits, tolower((unsigned char)c)) : NULL;
        return at ? (int)(at - digits) : -1;
}

/* As a URL or a conninfo text means it: %41 is A, \' is '. */
static void decode(char *text)
{
        char *to = text;
        for (const char *from = text; *from; from++) {
                if (*from == '%' && hex(from[1]) >= 0 && hex(from[2]) >= 0) {
                        *to++ = (char)(hex(from[1]) * 16 + hex(from[2]));
                        from += 2;
                } else if (*from != '\'') {
                        from += *from == '\\' && from[1];
                        *to++ = *from;
                }
        }
        *to = '\0';
}

static void remember(const char *text, size_t size, size_t min)
{
        if (size < min)
                return;
        for (size_t i = 0; i < secrets.count; i++)
                if (strlen(secrets.texts[i]) == size && !memcmp(secrets.texts[i], text, size))
                        return;
        char *copy = memory_copy_part(text, size);
        secrets.texts = memory_grow(secrets.texts, &secrets.capacity, secrets.count + 1, sizeof(*secrets.texts));
        size_t place = secrets.count++;
        for (; place && strlen(secrets.texts[place - 1]) < size; place--) /* the longest first: one may be part of another */
                secrets.texts[place] = secrets.texts[place - 1];
        secrets.texts[place] = copy;
}

/* A run of hidden bytes: as it is, decoded, and what an unescaped @ or the parts of a path make of it. */
static void remember_run(const char *text, size_t size, const char *separators, size_t part_min)
{
        char *plain = memory_copy_part(text, size);
        remember(plain, size, SECRET_MIN);
        for (const char *part = plain; *part; part += strspn(part, separators)) {
                size_t length = strcspn(part, separators);
                remember(part, length, part_min);
                part += length;
        }
        decode(plain);
        remember(plain, strlen(plain), SECRET_MIN);
        free(plain);
}

void clean_remember(const char *value)
{
        size_t size = strlen(value), length;
        char *hidden = memory_new(size + 1, 1);
        bool web = !strncasecmp(value, "http", 4);
        clean_hide(value, hidden);
        pthread_mutex_lock(&secrets.lock);
        for (size_t i = 0; i < size; i += length ? length : 1) {
                for (length = 0; hidden[i + length]; length++)
                        ;
                if (length)
                        remember_run(value + i, length, web ? "/?&=#@" : "@", web ? PART_MIN : SECRET_MIN);
        }
        pthread_mutex_unlock(&secrets.lock);
        free(hidden);
}

/* ---- cleaning ---- */

static void mask(char *text)
{
        pthread_mutex_lock(&secrets.lock);
        for (size_t i = 0; i < secrets.count; i++) {
                size_t size = strlen(secrets.texts[i]);
                for (char *at = text; (at = strstr(at, secrets.texts[i])); at += 3) {
                        memcpy(at, "***", 3);
                        memmove(at + 3, at + size, strlen(at + size) + 1);
                }
        }
        pthread_mutex_unlock(&secrets.lock);
}

void clean_text(char *text)
{
        char *to = text;
        mask(text);
        for (const char *from = text; *from;) {
                size_t size = log_character_size(from);
                if (!size || log_is_command(from, size)) {
                        bool blank = *from == '\n' || *from == '\t';
                        *to++ = blank ? ' ' : '?';
                        from += size ? size : 1;
                } else {
                        memmove(to, from, size);
                        to += size;
                        from += size;
                }
        }
        *to = '\0';
}

const char *clean_copy(const char *text, char *out, size_t size)
{
        snprintf(out, size, "%s", text ? text : "");
        clean_text(out);
        return out;
}
