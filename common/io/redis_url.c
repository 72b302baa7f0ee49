#include "common/io/redis_url.h"

#include <string.h>

#define PORT          6379
#define SENTINEL_PORT 26379

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

static const char *parse_login(struct redis_url *url, char *login)
{
        char *colon = strchr(login, ':');
        if (!colon)
                return "has a user without a password: redis://user:password@host:port";
        *colon = '\0';
        url->user = memory_copy(login);
        url->password = memory_copy(colon + 1);
        if (!percent_decode(url->user) || !percent_decode(url->password))
                return "has a bad % escape in its user or password";
        return NULL;
}

static bool port_parse(const char *text, int *port)
{
        char *rest;
        long number = strtol(text, &rest, 10);
        if (*rest || rest == text || number < 1 || number > 65535)
                return false;
        *port = (int)number;
        return true;
}

static const char *parse_host(struct redis_url *url, char *text)
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
        if (url->count == REDIS_HOSTS_MAX)
                return "names more than 32 hosts";
        struct redis_host *host = &url->hosts[url->count++];
        host->name = memory_copy(text);
        host->port = url->master ? SENTINEL_PORT : PORT;
        return port && !port_parse(port, &host->port) ? "has a port that is not from 1 to 65535" : NULL;
}

static const char *parse_hosts(struct redis_url *url, char *text)
{
        const char *problem = NULL;
        while (text && !problem)
                problem = parse_host(url, strsep(&text, ","));
        return problem;
}

/* What stands behind the hosts: [master-name/]database */
static const char *parse_path(struct redis_url *url, const char *path, bool sentinels)
{
        if (sentinels) {
                size_t size = path ? strcspn(path, "/") : 0;
                if (!size)
                        return "names no master: redis+sentinel://host:port,host:port/master-name";
                url->master = memory_copy_part(path, size);
                path = path[size] ? path + size + 1 : NULL;
        }
        if (!path)
                return NULL;
        char *end;
        url->database = strtol(path, &end, 10);
        if (*end || url->database < 0 || url->database > 1000000)
                return "has a database that is not a number: redis://host:port/db";
        return NULL;
}

static const char *parse_body(struct redis_url *url, char *body, bool sentinels)
{
        char *at = strrchr(body, '@'), *hosts = at ? at + 1 : body, *slash = strchr(hosts, '/');
        if (at)
                *at = '\0';
        if (slash)
                *slash = '\0';
        const char *problem = parse_path(url, slash ? slash + 1 : NULL, sentinels);
        if (!problem && at)
                problem = parse_login(url, body);
        return problem ? problem : parse_hosts(url, hosts);
}

const char *redis_url_parse(struct redis_url *url, const char *text)
{
        static const struct {
                const char *scheme;
                bool tls, sentinels;
        } schemes[] = {{"redis://", false, false}, {"rediss://", true, false}, {"redis+sentinel://", false, true},
                {"rediss+sentinel://", true, true}};
        *url = (struct redis_url){0};
        for (size_t i = 0; i < ARRAY_LENGTH(schemes); i++) {
                size_t size = strlen(schemes[i].scheme);
                if (strncmp(text, schemes[i].scheme, size) != 0)
                        continue;
                url->tls = schemes[i].tls;
#ifndef HAVE_HIREDIS_SSL
                if (url->tls)
                        return "asks for TLS, which this program was built without: Debian 12 has no hiredis_ssl; use the "
                               "container "
                               "image, or a build on Debian 13";
#endif
                AUTO(text) char *body = memory_copy(text + size);
                return parse_body(url, body, schemes[i].sentinels);
        }
        return "must begin with redis://, rediss://, redis+sentinel:// or rediss+sentinel://";
}

const char *redis_url_check(const char *text)
{
        AUTO_REDIS_URL struct redis_url url;
        return redis_url_parse(&url, text);
}

void redis_url_deinit(struct redis_url *url)
{
        for (size_t i = 0; i < url->count; i++)
                free(url->hosts[i].name);
        free(url->user);
        free(url->password);
        free(url->master);
        *url = (struct redis_url){0};
}

bool redis_host_set(struct redis_host *host, const char *text)
{
        const char *colon = strrchr(text, ':');
        int port;
        if (!colon || !port_parse(colon + 1, &port))
                return false;
        if (colon > text) {
                free(host->name);
                host->name = memory_copy_part(text, (size_t)(colon - text));
        }
        host->port = port;
        return true;
}
