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

static bool is_key_part(char c)
{
        return isalnum((unsigned char)c) || c == '_' || c == '%' || c == '-';
}

/* Keys of secrets end so: password, sslpassword, oauth_client_secret, scram_client_key, and what people write instead. What is
 * written with % in a URL may be any of them. */
static bool key_is_secret(const char *key, size_t size, bool url)
{
        static const char *const ends[] = {"password", "passwd", "pass", "pwd", "secret", "token", "_key", "apikey"};
        for (size_t i = 0; i < ARRAY_LENGTH(ends); i++) {
                size_t length = strlen(ends[i]);
                if (size >= length && !strncasecmp(key + size - length, ends[i], length))
                        return true;
        }
        return url && memchr(key, '%', size);
}

/* Where a conninfo text's value ends (blank-separated, '…' quoted, \ escapes). What follows and is no key= is of a value that
 * should have been quoted. */
static const char *conninfo_value_end(const char *end)
{
        bool quoted = false;
        for (; *end && (quoted || !isspace((unsigned char)*end)); end++) {
                quoted ^= *end == '\'';
                end += *end == '\\' && end[1];
        }
        const char *next = end + strspn(end, " \t\r\n"), *key = next;
        while (is_key_part(*next))
                next++;
        return !*key || (next > key && next[strspn(next, " \t")] == '=') ? end : conninfo_value_end(key);
}

/* password=… and the like in a conninfo text or a URL's query */
static void hide_keys(const char *text, char *hidden, bool url)
{
        for (const char *at = text; (at = strchr(at, '='));) {
                const char *key = at++, *end;
                while (!url && key > text && isblank((unsigned char)key[-1]))
                        key--;
                size_t size = 0;
                for (; key > text && is_key_part(key[-1]); key--)
                        size++;
                if (!key_is_secret(key, size, url))
                        continue;
                at += url ? 0 : strspn(at, " \t");
                end = url ? at + strcspn(at, "&") : conninfo_value_end(at);
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

/* host:… that is no port: a login whose @host was forgotten */
static void hide_ports(const char *text, char *hidden, const char *hosts)
{
        const char *const end = hosts + strcspn(hosts, "/?#");
        for (const char *host = hosts; host < end; host++) {
                size_t size = strcspn(host, ",/?#");
                const char *colon = memrchr(host, ':', size);
                size_t length = colon ? size - (size_t)(colon + 1 - host) : 0;
                if (colon && (length > 5 || strspn(colon + 1, "0123456789") < length) && host[size - 1] != ']')
                        memset(hidden + (colon + 1 - text), 1, length);
                host += size;
        }
}

/* user:password@. In a URL of a server that has no users without a password, all before the @ is one where none is behind the
 * colon. */
static void hide_userinfo(const char *text, char *hidden, size_t start, bool passwords_only)
{
        const char *colon = strchr(text + start, ':'), *at = last_at(text, text + start, hidden);
        const bool with_colon = colon && at && colon < at && (colon + 1 < at || !passwords_only);
        const char *from = with_colon ? colon + 1 : passwords_only ? text + start : NULL;
        if (at && from)
                memset(hidden + (from - text), 1, (size_t)(at - from));
        hide_ports(text, hidden, at ? at + 1 : text + start);
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

static bool is_conninfo(const char *value)
{
        const char *key = value + strspn(value, " \t\r\n"), *end = key;
        while (is_key_part(*end))
                end++;
        return end > key && end[strspn(end, " \t")] == '=';
}

/* Also what should have been one: without a scheme, and not the path of a file. */
static bool is_web(const char *value, size_t scheme)
{
        return scheme ? !strncasecmp(value, "http", 4) || !strncasecmp(value, "ws", 2)
                      : !is_conninfo(value) && !strchr("/.", *value) && !strchr(value, '@');
}

void clean_hide(const char *value, char *hidden)
{
        const size_t scheme = scheme_size(value);
        const bool web = is_web(value, scheme);
        hide_keys(value, hidden, scheme);
        if (!is_conninfo(value))
                hide_userinfo(value, hidden, scheme, web || !scheme || !strncasecmp(value, "redis", 5));
        if (web)
                hide_path(value, hidden, scheme);
        const char *path = strchr(value + scheme, '/');
        if (path && (!strncasecmp(value, "redis://", 8) || !strncasecmp(value, "rediss://", 9)) &&
                path[1 + strspn(path + 1, "0123456789")])
                memset(hidden + (path + 1 - value), 1, strlen(path + 1)); /* no database: a password, put there */
        if (!scheme && !is_conninfo(value) && *value != '/' && *value != '.' && !strchr(value, '@'))
                memset(hidden, 1, strlen(value)); /* nothing of it says what it is: it may be the password alone */
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
        const bool web = is_web(value, scheme_size(value));
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

void clean_reason(char *text)
{
        mask(text);
        clean_text(text);
}

const char *clean_copy(const char *text, char *out, size_t size)
{
        snprintf(out, size, "%s", text ? text : "");
        clean_text(out);
        return out;
}
