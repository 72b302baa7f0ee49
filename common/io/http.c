#include "common/io/http.h"

#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>
#include "common/base/clock.h"

/*
 * One thread runs the daemon, so that its callbacks and the look at slow clients need no lock. A client has REQUEST_TIME_MS for a
 * whole request, and as long again to take the answer; then its connection is shut down. MHD's own time limit begins anew with
 * every byte. Where an address, or all together, hold as many connections as they may, a new one takes the place of the oldest:
 * who asks at once is answered, also from an address that holds many open.
 */
enum {
        SERVED_MAX = HTTP_CONNECTIONS_MAX / 2, /* the rest is room for those that are being shut down */
        ADDRESS_MAX = 32,                      /* of one address */
        REQUEST_TIME_MS = 10000,
        ROUND_MS = 250,
};

struct client {
        struct client *next;
        int fd;
        char address[64]; /* as text */
        int64_t since_ms; /* monotonic: when it began what it is at, a request or taking an answer */
        bool ended;       /* shut down; MHD has not noticed yet */
};

struct http {
        struct MHD_Daemon *daemon;
        const struct http_route *routes;
        void *context;
        uint16_t port;
        struct client *clients; /* the newest first */
        pthread_t thread;
        atomic_bool stopping;
};

/* ---- slow clients ---- */

/* MHD reads the end of the stream, and closes. */
static void client_end(struct client *client)
{
        client->ended = true;
        shutdown(client->fd, SHUT_RDWR);
}

/* Makes room for a new one: of the same address, or of all, the oldest goes. */
static void make_room(struct http *http, const struct client *new)
{
        struct client *oldest = NULL, *oldest_here = NULL;
        size_t count = 0, here = 0;
        for (struct client *client = http->clients; client; client = client->next) {
                if (client->ended)
                        continue;
                count++;
                oldest = client;
                if (strcmp(client->address, new->address) != 0)
                        continue;
                here++;
                oldest_here = client;
        }
        if (here >= ADDRESS_MAX)
                client_end(oldest_here);
        else if (count >= SERVED_MAX)
                client_end(oldest);
}

static void end_slow_clients(struct http *http)
{
        const int64_t before_ms = clock_ms() - REQUEST_TIME_MS;
        for (struct client *client = http->clients; client; client = client->next)
                if (!client->ended && client->since_ms < before_ms)
                        client_end(client);
}

static void client_begin(struct http *http, struct MHD_Connection *connection, void **slot)
{
        const union MHD_ConnectionInfo *info; /* since MHD 1.0 one and the same for all questions: read before the next */
        struct client *client = memory_new(1, sizeof *client);
        *slot = client;
        info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
        if (!info)
                return;
        client->fd = info->connect_fd;
        client->since_ms = clock_ms();
        info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
        if (info && info->client_addr)
                (void)getnameinfo(info->client_addr,
                        info->client_addr->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in),
                        client->address, sizeof(client->address), NULL, 0, NI_NUMERICHOST);
        make_room(http, client);
        client->next = http->clients;
        http->clients = client;
}

/* Before MHD closes the socket: its number is not another one's yet. */
static void client_forget(struct http *http, struct client *gone)
{
        for (struct client **at = &http->clients; *at; at = &(*at)->next)
                if (*at == gone) {
                        *at = gone->next;
                        break;
                }
        free(gone);
}

static void connection_changed(
        void *context, struct MHD_Connection *connection, void **slot, enum MHD_ConnectionNotificationCode what)
{
        if (what == MHD_CONNECTION_NOTIFY_STARTED)
                client_begin(context, connection, slot);
        else
                client_forget(context, *slot);
}

static void client_goes_on(struct MHD_Connection *connection)
{
        const union MHD_ConnectionInfo *slot = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
        struct client *client = slot ? slot->socket_context : NULL;
        if (client)
                client->since_ms = clock_ms();
}

static void request_ended(void *context, struct MHD_Connection *connection, void **state, enum MHD_RequestTerminationCode how)
{
        (void)context, (void)state, (void)how;
        client_goes_on(connection);
}

/* ---- answers ---- */

static void answer_not_found(const struct http_route *routes, struct http_answer *out)
{
        size_t size;
        FILE *body = memory_stream(&out->body, &size);

        out->status = MHD_HTTP_NOT_FOUND;
        fputs("not found; there is:\n", body);
        for (; routes->path; routes++)
                fprintf(body, "%s\n", routes->path);
        memory_stream_end(body);
}

/* What a proxy sends names the host before the path (RFC 9112, section 3.2.2). */
static const char *without_host(const char *target)
{
        const char *path = !strncasecmp(target, "http://", 7) ? strchr(target + 7, '/') : target;
        return path ? path : "/";
}

static void answer_find(const struct http *http, const char *method, const char *target, struct http_answer *out)
{
        const struct http_route *route = http->routes;
        const char *path = without_host(target);

        if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0) {
                out->status = MHD_HTTP_METHOD_NOT_ALLOWED;
                out->body = memory_copy("only GET and HEAD are allowed\n");
                return;
        }
        while (route->path && strcmp(route->path, path) != 0)
                route++;
        if (route->path)
                route->answer(http->context, out);
        else
                answer_not_found(http->routes, out);
}

/* Called by MHD with the decoded path, without the query. MHD leaves the body out where the method is HEAD. */
static enum MHD_Result request_answer(void *context, struct MHD_Connection *connection, const char *path, const char *method,
        const char *version, const char *upload, size_t *upload_size, void **state)
{
        struct http_answer answer = {.status = MHD_HTTP_OK, .content_type = "text/plain; charset=utf-8"};
        struct MHD_Response *response;
        enum MHD_Result result;

        (void)version, (void)upload, (void)upload_size, (void)state;
        client_goes_on(connection);
        answer_find(context, method, path, &answer);
        response = MHD_create_response_from_buffer(answer.body ? strlen(answer.body) : 0, answer.body, MHD_RESPMEM_MUST_FREE);
        if (!response) {
                free(answer.body);
                return MHD_NO; /* closes the connection */
        }
        MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, answer.content_type);
        MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
        MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
        if (answer.security_policy)
                MHD_add_response_header(response, "Content-Security-Policy", answer.security_policy);
        if (answer.status == MHD_HTTP_METHOD_NOT_ALLOWED)
                MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
        result = MHD_queue_response(connection, answer.status, response);
        MHD_destroy_response(response);
        return result;
}

/* A listening socket, made here because MHD does not say why it could not make one. Negative: -errno, or *problem is set. */
static int socket_listen(const char *bind_to, uint16_t port, uint16_t *bound, const char **problem)
{
        union {
                struct sockaddr any;
                struct sockaddr_in v4;
                struct sockaddr_in6 v6;
        } address = {0};
        socklen_t size = sizeof address;
        int fd, on = 1, error;

        if (inet_pton(AF_INET, bind_to, &address.v4.sin_addr) == 1) {
                address.v4.sin_family = AF_INET;
                address.v4.sin_port = htons(port);
                size = sizeof address.v4;
        } else if (inet_pton(AF_INET6, bind_to, &address.v6.sin6_addr) == 1) {
                address.v6.sin6_family = AF_INET6;
                address.v6.sin6_port = htons(port);
        } else {
                *problem = "not an IPv4 or IPv6 address";
                return -EINVAL;
        }
        fd = socket(address.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 && bind(fd, &address.any, size) == 0 &&
                listen(fd, SERVED_MAX) == 0 && getsockname(fd, &address.any, &size) == 0) {
                *bound = ntohs(address.any.sa_family == AF_INET6 ? address.v6.sin6_port : address.v4.sin_port);
                return fd;
        }
        error = errno;
        *problem = strerror(error);
        if (fd >= 0)
                close(fd);
        return -error;
}

static void *serve(void *argument)
{
        struct http *http = argument;
        while (!atomic_load(&http->stopping)) {
                (void)MHD_run_wait(http->daemon, ROUND_MS);
                end_slow_clients(http);
        }
        return NULL;
}

int http_open(
        struct http **http, const char *bind, uint16_t port, const struct http_route *routes, void *context, const char **problem)
{
        struct http *new = memory_new(1, sizeof *new);
        sigset_t all, before;
        int fd;

        new->routes = routes;
        new->context = context;
        fd = socket_listen(bind, port, &new->port, problem);
        if (fd < 0) {
                free(new);
                return fd;
        }
        new->daemon = MHD_start_daemon(MHD_USE_AUTO, 0, NULL, NULL, request_answer, new, MHD_OPTION_LISTEN_SOCKET, fd,
                MHD_OPTION_CONNECTION_LIMIT, (unsigned)HTTP_CONNECTIONS_MAX, MHD_OPTION_NOTIFY_CONNECTION, connection_changed,
                new, MHD_OPTION_NOTIFY_COMPLETED, request_ended, NULL, MHD_OPTION_END);
        if (!new->daemon) { /* fd is left alone: whether MHD closed it depends on how far it came */
                *problem = "the server did not start (no memory or file descriptors)";
                free(new);
                return -EAGAIN;
        }
        /* the thread inherits the mask: signals are for the program's own threads */
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        int r = pthread_create(&new->thread, NULL, serve, new);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        if (r) {
                *problem = "the server's thread did not start";
                MHD_stop_daemon(new->daemon);
                free(new);
                return -r;
        }
        *http = new;
        return 0;
}

uint16_t http_port(const struct http *http)
{
        return http->port;
}

struct http *http_close(struct http *http)
{
        if (!http)
                return NULL;
        atomic_store(&http->stopping, true);
        pthread_join(http->thread, NULL);
        MHD_stop_daemon(http->daemon); /* closes the socket as well */
        free(http);
        return NULL;
}
