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
#include "common/io/redis_url.h"
#include "common/io/resolve.h"

#define HOPS_MAX            5    /* from node to node of a cluster */
#define SENTINEL_TIMEOUT_MS 1000 /* of each round trip: the next one is asked then */

struct redis {
        redisContext *context; /* NULL: broken from the start */
        int64_t timeout_ms;
        struct ssl_st *tls; /* NULL: none, or not yet */
        bool broken;
        bool hopeless;                             /* no other host of the URL would do better */
        char error[1024], shown[1024], route[512]; /* error: as it came, for comparing; shown: for people */
};

/* ---- errors ---- */

static bool tls_says_why(struct redis *redis)
{
#ifdef HAVE_HIREDIS_SSL
        return redis->tls && redis_tls_reason(redis->tls, redis->error, sizeof(redis->error));
#else
        return redis->tls;                      /* never */
#endif
}

static int broken(struct redis *redis)
{
        if (redis->broken)
                return -1;
        const char *why = redis->context->errstr;
        if (!strcmp(why, strerror(EAGAIN))) /* a socket's time limit */
                why = "it did not answer in time";
        if (!tls_says_why(redis))
                snprintf(redis->error, sizeof(redis->error), "%s", *why ? why : "connection lost");
        redis->broken = true;
        return -1;
}

int redis_reject_reply(struct redis *redis)
{
        snprintf(redis->error, sizeof(redis->error),
                "a reply makes no sense; is it Redis, and is nothing between that changes it?");
        redis->broken = true;
        return -1;
}

static int judge_error(struct redis *redis, const char *text)
{
        static const char *const server_side[] = {"LOADING", "READONLY", "OOM", "MISCONF", "NOPERM", "EXECABORT", "BUSY ",
                "CLUSTERDOWN", "NOAUTH", "WRONGPASS", "MASTERDOWN", "TRYAGAIN", "NOREPLICAS", "UNKILLABLE", "MOVED ", "ASK ",
                "max number of clients", "ERR max number of clients"};
        /* A new connection logs in anew, or finds the server that takes writes now. */
        static const char *const ends[] = {"NOAUTH", "WRONGPASS", "READONLY", "MASTERDOWN", "CLUSTERDOWN", "MOVED ", "ASK "};
        static const char own_reason[] =
                "EXECABORT Transaction discarded because of: "; /* EXEC itself was refused, for what follows */
        if (!strncmp(text, own_reason, sizeof(own_reason) - 1))
                text += sizeof(own_reason) - 1;
        if (strncmp(text, "EXECABORT", 9)) /* it says nothing: the error before it was that of the command that was refused */
                snprintf(redis->error, sizeof(redis->error), "%s", text);
        for (size_t i = 0; i < ARRAY_LENGTH(ends); i++)
                redis->broken = redis->broken || !strncmp(text, ends[i], strlen(ends[i]));
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

const char *redis_error(struct redis *redis)
{
        memcpy(redis->shown, redis->error, sizeof(redis->shown));
        clean_reason(redis->shown);
        return redis->shown;
}

bool redis_error_is(const struct redis *redis, const char *code)
{
        return !strncmp(redis->error, code, strlen(code));
}

const char *redis_route(const struct redis *redis)
{
        return redis->route;
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

/* Redis does not say which key it is that has another type. A script says it itself where it has several. */
static void name_key(struct redis *redis, const struct redis_command *command, size_t count)
{
        const size_t place = !strncmp(command->data, "XINFO", 5) || !strncmp(command->data, "XGROUP", 6) ? 2
                             : !strncmp(command->data, "EVAL", 4)                                        ? 3
                                                                                                         : 1;
        const size_t used = strlen(redis->error);
        if (!redis_error_is(redis, "WRONGTYPE") || place >= count || redis->error[used - 1] == ')')
                return;
        const size_t start = command->ends[place - 1], end = command->ends[place];
        snprintf(redis->error + used, sizeof(redis->error) - used, " (%.*s)", (int)(end - start), command->data + start);
}

int redis_run(struct redis *redis, struct redis_command *command, int64_t wait_ms, struct redis_reply **out)
{
        const size_t count = command->count;
        if (wait_ms)
                set_timeout(redis, redis->timeout_ms + wait_ms);
        int r = redis_send(redis, command);
        if (!r)
                r = redis_receive(redis, out);
        if (r == REDIS_REFUSED)
                name_key(redis, command, count);
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

static void start_tls(struct redis *redis, const struct redis_options *options, const char *host)
{
#ifdef HAVE_HIREDIS_SSL
        const struct redis_tls_files files = {
                .authorities = options->ca_file, .certificate = options->cert_file, .key = options->key_file};
        redis->broken = redis_tls_start(redis->context, &files, host, &redis->tls, redis->error, sizeof(redis->error)) < 0;
#else
        (void)redis, (void)options, (void)host; /* redis_url_parse refuses TLS */
#endif
}

static struct redis *dial_address(
        const struct redis_options *options, bool tls, const struct redis_host *host, const char *address, int64_t timeout_ms)
{
        struct redis *redis = memory_new(1, sizeof(*redis));
        struct timeval limit = {.tv_sec = timeout_ms / 1000, .tv_usec = (timeout_ms % 1000) * 1000};
        redis->timeout_ms = timeout_ms;
        redis->context = redisConnectWithTimeout(address, host->port, limit);
        if (!redis->context)
                memory_end();
        if (redis->context->err) {
                (void)broken(redis);
                return redis;
        }
        set_timeout(redis, timeout_ms);
        (void)redisEnableKeepAlive(redis->context);
        if (tls)
                start_tls(redis, options, host->name);
        return redis;
}

/* The first of the host's addresses that takes the connection. Never NULL; a connection that failed is broken. */
static struct redis *dial(const struct redis_options *options, bool tls, const struct redis_host *host, int64_t timeout_ms)
{
        const struct resolve_wait wait = {.limit_ms = timeout_ms};
        struct addrinfo *found;
        struct redis *redis = memory_new(1, sizeof(*redis));
        char address[NI_MAXHOST];
        redis->broken = true;
        if (resolve_host(host->name, &wait, &found, redis->error, sizeof(redis->error)))
                return redis;
        for (const struct addrinfo *at = found; at && redis->broken; at = at->ai_next) {
                if (getnameinfo(at->ai_addr, at->ai_addrlen, address, sizeof(address), NULL, 0, NI_NUMERICHOST))
                        continue;
                redis_close(redis);
                redis = dial_address(options, tls, host, address, timeout_ms);
        }
        freeaddrinfo(found);
        return redis;
}

static int authenticate(struct redis *redis, const struct redis_url *url)
{
        if (!url->password)
                return 0;
        return *url->user ? redis_call(redis, NULL, "AUTH", url->user, url->password, NULL)
                          : redis_call(redis, NULL, "AUTH", url->password, NULL);
}

static int log_in(struct redis *redis, const struct redis_url *url)
{
        int r = redis->broken ? -1 : authenticate(redis, url);
        if (!r && url->database) {
                char number[24];
                snprintf(number, sizeof(number), "%ld", url->database);
                r = redis_call(redis, NULL, "SELECT", number, NULL);
        }
        if (!r) /* a restarting server answers LOADING here, not in the middle of a batch */
                r = redis_call(redis, NULL, "PING", NULL);
        return r;
}

/* A server that was found, not named, is asked whether it is a master: sentinels may be late, a list may begin with a replica. */
static int check_role(struct redis *redis)
{
        AUTO(redis_reply) struct redis_reply *reply = NULL;
        int r = redis_call(redis, &reply, "ROLE", NULL);
        const char *role = r ? NULL : redis_reply_text(redis_reply_item(reply, 0), NULL);
        if (r || !role || !strcmp(role, "master"))
                return r < 0 && !redis_error_is(redis, "NOPERM") ? r : 0; /* ROLE may be forbidden */
        snprintf(redis->error, sizeof(redis->error), "it is a replica and takes no writes (ROLE says %.20s)", role);
        return -1;
}

static void explain_slots(struct redis *redis, const char *const *keys)
{
        redis->hopeless = true;
        size_t used = (size_t)snprintf(redis->error, sizeof(redis->error),
                "this Redis is a cluster, and our streams lie in several of its hash slots; give all of them a common {tag}, as "
                "in {intuition}%s: ",
                keys[0]);
        for (size_t i = 0; keys[i] && used < sizeof(redis->error); i++)
                used += (size_t)snprintf(redis->error + used, sizeof(redis->error) - used, "%s%s", i ? ", " : "", keys[i]);
}

/* Any command that names all keys shows whether this is a cluster's node, and the right one: else it answers MOVED. */
static int find_slot(struct redis *redis, const char *const *keys)
{
        AUTO_COMMAND struct redis_command command = {0};
        if (!keys || !keys[0])
                return 0;
        redis_command_push(&command, "EXISTS");
        for (size_t i = 0; keys[i]; i++)
                redis_command_push(&command, keys[i]);
        int r = redis_run(redis, &command, 0, NULL);
        if (r == REDIS_REFUSED && redis_error_is(redis, "CROSSSLOT")) {
                explain_slots(redis, keys);
                return -1;
        }
        /* A slot that is on its way is so for whichever node is asked first. */
        redis->hopeless = r && (redis_error_is(redis, "TRYAGAIN") || redis_error_is(redis, "ASK "));
        return r == REDIS_REFUSED || redis_error_is(redis, "NOPERM") ? 0 : r; /* EXISTS may be forbidden */
}

/* ---- sentinels ---- */

static void note_sentinel(struct redis *sentinel, const struct redis_url *url, const struct redis_host *host)
{
        AUTO(redis_reply) struct redis_reply *about = NULL;
        int n = snprintf(sentinel->route, sizeof(sentinel->route), "master %.100s, named by the sentinel %.200s:%d", url->master,
                host->name, host->port);
        if (n > 0 && !redis_call(sentinel, &about, "SENTINEL", "MASTER", url->master, NULL))
                snprintf(sentinel->route + n, sizeof(sentinel->route) - (size_t)n,
                        " (quorum %lld, other sentinels %lld, replicas %lld)",
                        (long long)redis_reply_number(redis_reply_field(about, "quorum")),
                        (long long)redis_reply_number(redis_reply_field(about, "num-other-sentinels")),
                        (long long)redis_reply_number(redis_reply_field(about, "num-slaves")));
}

/* The connection to a sentinel, its error or its route; *master: what it names. It is logged in to only if it asks for that. */
static struct redis *ask_sentinel(const struct redis_options *options, const struct redis_url *url, const struct redis_host *host,
        struct redis_host *master)
{
        AUTO(redis_reply) struct redis_reply *reply = NULL;
        struct redis *redis = NULL;
        int64_t timeout_ms = options->timeout_ms < SENTINEL_TIMEOUT_MS ? options->timeout_ms : SENTINEL_TIMEOUT_MS;
        int r = -1;
        for (int login = 0; login < (url->password ? 2 : 1) && r; login++) {
                if (redis && !redis_error_is(redis, "NOAUTH"))
                        break;
                redis_close(redis);
                redis = dial(options, url->tls, host, timeout_ms);
                r = redis->broken ? -1 : login ? authenticate(redis, url) : 0;
                if (!r)
                        r = redis_call(redis, &reply, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", url->master, NULL);
        }
        const char *name = redis_reply_text(redis_reply_item(reply, 0), NULL);
        if (name) {
                master->name = memory_copy(name);
                master->port = (int)redis_reply_number(redis_reply_item(reply, 1));
                note_sentinel(redis, url, host);
        } else if (!r) {
                snprintf(redis->error, sizeof(redis->error), "this sentinel knows no master called %.100s", url->master);
        }
        return redis;
}

/* ---- opening ---- */

static void name_target(struct redis *redis, const struct redis_host *target)
{
        char why[sizeof(redis->error)];
        memcpy(why, redis->error, sizeof(why));
        snprintf(redis->error, sizeof(redis->error), "%.200s:%d: %.700s", target->name, target->port, why);
}

/* By one of the URL's hosts. Never NULL: *done, or its error says why not. */
static struct redis *open_by(
        const struct redis_options *options, const struct redis_url *url, const struct redis_host *host, bool *done)
{
        struct redis_host target = {.name = url->master ? NULL : memory_copy(host->name), .port = host->port};
        struct redis *redis = url->master ? ask_sentinel(options, url, host, &target) : NULL;
        char route[256] = "";
        if (redis)
                snprintf(route, sizeof(route), "%.255s", redis->route);
        for (int hop = 0; target.name && hop <= HOPS_MAX; hop++) {
                redis_close(redis);
                redis = dial(options, url->tls, &target, options->timeout_ms);
                int r = log_in(redis, url);
                if (!r)
                        r = find_slot(redis, options->keys);
                if (!r && (url->master || url->count > 1))
                        r = check_role(redis);
                *done = !r;
                if (!r)
                        *redis->error = '\0'; /* of questions that are forbidden */
                if (!r && (hop || url->master))
                        snprintf(redis->route, sizeof(redis->route), "%.200s:%d, %.255s", target.name, target.port,
                                hop ? "master of our streams' hash slot" : route);
                const char *moved = r && redis_error_is(redis, "MOVED ") ? strrchr(redis->error, ' ') : NULL;
                if (moved && redis_host_set(&target, moved + 1))
                        continue;
                if (r && (hop || url->master))
                        name_target(redis, &target);
                break;
        }
        free(target.name);
        return redis;
}

/* NULL: none of the hosts leads there, why says so of each. */
static struct redis *try_hosts(const struct redis_options *options, const struct redis_url *url, FILE *why)
{
        for (size_t i = 0; i < url->count; i++) {
                bool done = false;
                struct redis *redis = open_by(options, url, &url->hosts[i], &done);
                if (done)
                        return redis;
                bool hopeless = redis->hopeless;
                fputs(i ? "; " : "", why);
                if (url->count > 1 && !hopeless)
                        fprintf(why, "%s:%d: ", url->hosts[i].name, url->hosts[i].port);
                fputs(redis->error, why);
                redis_close(redis);
                if (hopeless)
                        break;
        }
        return NULL;
}

int redis_open(struct redis **out, const struct redis_options *options, char **problem)
{
        AUTO_REDIS_URL struct redis_url url;
        const char *bad = redis_url_parse(&url, options->url);
        size_t size;
        FILE *why = memory_stream(problem, &size);
        if (bad)
                fputs(bad, why);
        struct redis *redis = bad ? NULL : try_hosts(options, &url, why);
        memory_stream_end(why);
        if (!redis) {
                clean_reason(*problem);
                return -1;
        }
        free(*problem);
        *problem = NULL;
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

int redis_reply_judge(struct redis *redis, const struct redis_reply *reply)
{
        return reply && raw(reply)->type == REDIS_REPLY_ERROR ? judge_error(redis, raw(reply)->str) : 0;
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
