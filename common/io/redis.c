#include "common/io/redis.h"

#include <errno.h>
#include <hiredis/hiredis.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "common/base/clean.h"
#include "common/io/redis_tls.h"

struct redis {
        redisContext *context;
        int64_t timeout_ms;
        bool broken, tls;
        char error[512];
};

struct address {
        char *host, *user, *password;
        int port;
        long database;
        bool tls;
};

/* ---- the URL ---- */

static void address_deinit(struct address *address)
{
        free(address->host);
        free(address->user);
        free(address->password);
}

/* %41 -> A, in place */
static bool percent_decode(char *text)
{
        char *to = text;
        for (const char *from = text; *from; from++) {
                if (*from != '%') {
                        *to++ = *from;
                        continue;
                }
                const char digits[3] = {from[1], from[1] ? from[2] : '\0'};
                if (strspn(digits, "0123456789abcdefABCDEF") != 2 || !strcmp(digits, "00"))
                        return false;
                *to++ = (char)strtoul(digits, NULL, 16);
                from += 2;
        }
        *to = '\0';
        return true;
}

static const char *parse_login(struct address *address, char *login)
{
        char *colon = strchr(login, ':');
        if (!colon)
                return "has a user without a password: redis://user:password@host:port";
        *colon = '\0';
        address->user = strdup(login);
        address->password = strdup(colon + 1);
        if (!percent_decode(address->user) || !percent_decode(address->password))
                return "has a bad % escape in its user or password";
        return NULL;
}

static const char *parse_host(struct address *address, char *text)
{
        char *end = text, *port;
        if (*text == '[') { /* IPv6 */
                end = strchr(text, ']');
                if (!end)
                        return "lacks the ] behind an IPv6 address";
                *end++ = '\0';
                text++;
                port = *end == ':' ? end + 1 : NULL;
        } else {
                port = strchr(text, ':');
                if (port)
                        *port++ = '\0';
        }
        if (!*text)
                return "names no host";
        address->host = strdup(text);
        address->port = 6379;
        if (port) {
                char *rest;
                long number = strtol(port, &rest, 10);
                if (*rest || rest == port || number < 1 || number > 65535)
                        return "has a port that is not from 1 to 65535";
                address->port = (int)number;
        }
        return NULL;
}

static const char *address_parse(struct address *address, const char *url)
{
        const char *body = NULL;
        if (!strncmp(url, "redis://", 8))
                body = url + 8;
        else if (!strncmp(url, "rediss://", 9))
                body = url + 9;
        else
                return "must begin with redis:// or rediss://";
        address->tls = url[5] == 's';
#ifndef HAVE_HIREDIS_SSL
        if (address->tls)
                return "asks for TLS, which this program was built without: Debian 12 has no hiredis_ssl; use the container "
                       "image, "
                       "or a build on Debian 13";
#endif
        char *copy = strdup(body), *rest = copy;
        const char *problem = NULL;
        char *at = strrchr(copy, '@'), *slash = strchr(at ? at : copy, '/');
        if (slash) {
                *slash = '\0';
                char *end;
                address->database = strtol(slash + 1, &end, 10);
                if (*end || address->database < 0 || address->database > 1000000)
                        problem = "has a database that is not a number: redis://host:port/db";
        }
        if (at && !problem) {
                *at = '\0';
                rest = at + 1;
                problem = parse_login(address, copy);
        }
        if (!problem)
                problem = parse_host(address, rest);
        free(copy);
        return problem;
}

const char *redis_url_check(const char *url)
{
        struct address address = {0};
        const char *problem = address_parse(&address, url);
        address_deinit(&address);
        return problem;
}

/* ---- errors ---- */

static bool tls_says_why(struct redis *redis)
{
#ifdef HAVE_HIREDIS_SSL
        return redis->tls && redis_tls_reason(redis->error, sizeof(redis->error));
#else
        return redis->tls;
#endif
}

static int broken(struct redis *redis)
{
        if (!redis->broken && !tls_says_why(redis))
                snprintf(redis->error, sizeof(redis->error), "%s",
                        redis->context->errstr[0] ? redis->context->errstr : "connection lost");
        clean_text(redis->error);
        redis->broken = true;
        return -1;
}

static int judge_error(struct redis *redis, const char *text)
{
        static const char *const server_side[] = {"LOADING", "READONLY", "OOM", "MISCONF", "NOPERM", "EXECABORT", "BUSY ",
                "CLUSTERDOWN", "NOAUTH", "WRONGPASS", "MASTERDOWN", "TRYAGAIN", "NOREPLICAS", "UNKILLABLE",
                "max number of clients", "ERR max number of clients"};
        static const char *const logged_out[] = {"NOAUTH", "WRONGPASS"}; /* a new connection logs in anew */
        snprintf(redis->error, sizeof(redis->error), "%s", text);
        clean_text(redis->error);
        for (size_t i = 0; i < ARRAY_LENGTH(logged_out); i++)
                redis->broken = redis->broken || !strncmp(text, logged_out[i], strlen(logged_out[i]));
        for (size_t i = 0; i < ARRAY_LENGTH(server_side); i++)
                if (!strncmp(text, server_side[i], strlen(server_side[i])))
                        return -1;
        return REDIS_REFUSED;
}

/* Closed by the server, or on the way to it, while nothing was asked. TLS leaves its farewell unread before the end. */
static bool is_closed(const struct redis *redis)
{
        struct pollfd socket = {.fd = redis->context->fd, .events = POLLRDHUP};
        return poll(&socket, 1, 0) > 0;
}

bool redis_alive(const struct redis *redis)
{
        return !redis->broken && !is_closed(redis);
}

const char *redis_error(const struct redis *redis)
{
        return redis->error;
}

/* ---- commands ---- */

void redis_command_push_bytes(struct redis_command *command, const void *data, size_t size)
{
        command->data = memory_grow(command->data, &command->capacity, command->size + size + 1, 1);
        command->ends = memory_grow(command->ends, &command->slots, command->count + 1, sizeof(*command->ends));
        if (size)
                memcpy(command->data + command->size, data, size);
        command->size += size;
        command->ends[command->count++] = command->size;
}

void redis_command_push(struct redis_command *command, const char *text)
{
        redis_command_push_bytes(command, text, strlen(text));
}

void redis_command_push_number(struct redis_command *command, int64_t number)
{
        char text[24];
        int length = snprintf(text, sizeof(text), "%lld", (long long)number);
        redis_command_push_bytes(command, text, (size_t)length);
}

void redis_command_reset(struct redis_command *command)
{
        command->size = command->count = 0;
}

void redis_command_deinit(struct redis_command *command)
{
        free(command->data);
        free(command->ends);
        *command = (struct redis_command){0};
}

int redis_send(struct redis *redis, struct redis_command *command)
{
        const char **words = memory_new(command->count, sizeof(*words));
        size_t *sizes = memory_new(command->count, sizeof(*sizes));
        for (size_t i = 0, start = 0; i < command->count; start = command->ends[i++]) {
                words[i] = command->data + start;
                sizes[i] = command->ends[i] - start;
        }
        int r = redis->broken ? REDIS_ERR : redisAppendCommandArgv(redis->context, (int)command->count, words, sizes);
        free(words);
        free(sizes);
        redis_command_reset(command);
        return r == REDIS_OK ? 0 : broken(redis);
}

int redis_receive(struct redis *redis, struct redis_reply **out)
{
        void *reply = NULL;
        if (redis->broken || redisGetReply(redis->context, &reply) != REDIS_OK || !reply)
                return broken(redis);
        redisReply *got = reply;
        if (got->type == REDIS_REPLY_ERROR) {
                int r = judge_error(redis, got->str);
                freeReplyObject(reply);
                return r;
        }
        if (out)
                *out = reply;
        else
                freeReplyObject(reply);
        return 0;
}

static void set_timeout(struct redis *redis, int64_t ms)
{
        struct timeval limit = {.tv_sec = ms / 1000, .tv_usec = (ms % 1000) * 1000};
        (void)redisSetTimeout(redis->context, limit);
}

int redis_run(struct redis *redis, struct redis_command *command, int64_t wait_ms, struct redis_reply **out)
{
        if (wait_ms)
                set_timeout(redis, redis->timeout_ms + wait_ms);
        int r = redis_send(redis, command);
        if (!r)
                r = redis_receive(redis, out);
        if (wait_ms && !redis->broken)
                set_timeout(redis, redis->timeout_ms);
        return r;
}

int redis_call(struct redis *redis, struct redis_reply **out, ...)
{
        AUTO_COMMAND struct redis_command command = {0};
        va_list words;
        va_start(words, out);
        for (const char *word; (word = va_arg(words, const char *));)
                redis_command_push(&command, word);
        va_end(words);
        return redis_run(redis, &command, 0, out);
}

/* ---- connection ---- */

static int start_tls(struct redis *redis, const struct address *address, const struct redis_options *options)
{
        redis->tls = address->tls;
        if (!redis->tls)
                return 0;
#ifdef HAVE_HIREDIS_SSL
        const struct redis_tls_files files = {
                .authorities = options->ca_file, .certificate = options->cert_file, .key = options->key_file};
        if (!redis_tls_start(redis->context, &files, address->host, redis->error, sizeof(redis->error)))
                return 0;
        clean_text(redis->error);
        redis->broken = true;
#else
        (void)options;
#endif
        return -1;
}

static int log_in(struct redis *redis, const struct address *address)
{
        int r = 0;
        if (address->password)
                r = *address->user ? redis_call(redis, NULL, "AUTH", address->user, address->password, NULL)
                                   : redis_call(redis, NULL, "AUTH", address->password, NULL);
        if (!r && address->database) {
                char number[24];
                snprintf(number, sizeof(number), "%ld", address->database);
                r = redis_call(redis, NULL, "SELECT", number, NULL);
        }
        if (!r) /* a restarting server answers LOADING here, not in the middle of a batch */
                r = redis_call(redis, NULL, "PING", NULL);
        return r;
}

int redis_open(struct redis **out, const struct redis_options *options, char **problem)
{
        struct address address = {0};
        const char *bad = address_parse(&address, options->url);
        const int64_t timeout_ms = options->timeout_ms;
        if (bad) {
                *problem = strdup(bad);
                address_deinit(&address);
                return -1;
        }
        struct redis *redis = memory_new(1, sizeof(*redis));
        redis->timeout_ms = timeout_ms;
        struct timeval limit = {.tv_sec = timeout_ms / 1000, .tv_usec = (timeout_ms % 1000) * 1000};
        redis->context = redisConnectWithTimeout(address.host, address.port, limit);
        if (!redis->context)
                abort();
        int r = redis->context->err ? broken(redis) : 0;
        if (!r) {
                set_timeout(redis, timeout_ms);
                (void)redisEnableKeepAlive(redis->context);
                r = start_tls(redis, &address, options);
        }
        if (!r)
                r = log_in(redis, &address);
        address_deinit(&address);
        if (r) {
                *problem = strdup(redis->error);
                redis_close(redis);
                return -1;
        }
        *out = redis;
        return 0;
}

struct redis *redis_close(struct redis *redis)
{
        if (redis)
                redisFree(redis->context);
        free(redis);
        return NULL;
}

/* ---- replies ---- */

static const redisReply *raw(const struct redis_reply *reply)
{
        return (const void *)reply;
}

size_t redis_reply_count(const struct redis_reply *reply)
{
        return reply && raw(reply)->type == REDIS_REPLY_ARRAY ? raw(reply)->elements : 0;
}

const struct redis_reply *redis_reply_item(const struct redis_reply *reply, size_t i)
{
        return i < redis_reply_count(reply) ? (const void *)raw(reply)->element[i] : NULL;
}

const char *redis_reply_text(const struct redis_reply *reply, size_t *size)
{
        if (!reply || (raw(reply)->type != REDIS_REPLY_STRING && raw(reply)->type != REDIS_REPLY_STATUS))
                return NULL;
        if (size)
                *size = (size_t)raw(reply)->len;
        return raw(reply)->str;
}

int64_t redis_reply_number(const struct redis_reply *reply)
{
        if (!reply)
                return 0;
        if (raw(reply)->type == REDIS_REPLY_INTEGER)
                return raw(reply)->integer;
        const char *text = redis_reply_text(reply, NULL);
        return text ? strtoll(text, NULL, 10) : 0;
}

bool redis_reply_is_nil(const struct redis_reply *reply)
{
        return !reply || raw(reply)->type == REDIS_REPLY_NIL;
}

const char *redis_reply_error(const struct redis_reply *reply)
{
        return reply && raw(reply)->type == REDIS_REPLY_ERROR ? raw(reply)->str : NULL;
}

const struct redis_reply *redis_reply_field(const struct redis_reply *reply, const char *name)
{
        size_t length = strlen(name), size = 0;
        for (size_t i = 0; i + 1 < redis_reply_count(reply); i += 2) {
                const char *text = redis_reply_text(redis_reply_item(reply, i), &size);
                if (text && size == length && !memcmp(text, name, length))
                        return redis_reply_item(reply, i + 1);
        }
        return NULL;
}

void redis_info_value(const struct redis_reply *info, const char *name, char value[64])
{
        const char *text = redis_reply_text(info, NULL);
        size_t size = strlen(name);
        value[0] = '\0';
        for (const char *line = text; line; line = strchr(line, '\n')) {
                line += *line == '\n';
                if (!strncmp(line, name, size) && line[size] == ':')
                        snprintf(value, 64, "%.*s", (int)strcspn(line + size + 1, "\r\n"), line + size + 1);
        }
}

struct redis_reply *redis_reply_free(struct redis_reply *reply)
{
        if (reply)
                freeReplyObject(reply);
        return NULL;
}
