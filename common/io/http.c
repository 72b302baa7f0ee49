#include "common/io/http.h"

#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CONNECTIONS_MAX = 128, IDLE_TIMEOUT_S = 15 };

struct http {
        struct MHD_Daemon *daemon;
        const struct http_route *routes;
        void *context;
        uint16_t port;
};

static void answer_not_found(const struct http_route *routes, struct http_answer *out)
{
        size_t size;
        FILE *body = open_memstream(&out->body, &size);

        out->status = MHD_HTTP_NOT_FOUND;
        if (!body)
                return;
        fputs("not found; there is:\n", body);
        for (; routes->path; routes++)
                fprintf(body, "%s\n", routes->path);
        if (fclose(body) != 0) {
                free(out->body);
                out->body = NULL;
        }
}

static void answer_find(const struct http *http, const char *method, const char *path, struct http_answer *out)
{
        const struct http_route *route = http->routes;

        if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0) {
                out->status = MHD_HTTP_METHOD_NOT_ALLOWED;
                out->body = strdup("only GET and HEAD are allowed\n");
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
        answer_find(context, method, path, &answer);
        response = MHD_create_response_from_buffer(answer.body ? strlen(answer.body) : 0, answer.body, MHD_RESPMEM_MUST_FREE);
        if (!response) {
                free(answer.body);
                return MHD_NO; /* closes the connection */
        }
        if (!answer.security_policy && strncmp(answer.content_type, "text/html", 9) == 0)
                answer.security_policy = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
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
                listen(fd, CONNECTIONS_MAX) == 0 && getsockname(fd, &address.any, &size) == 0) {
                *bound = ntohs(address.any.sa_family == AF_INET6 ? address.v6.sin6_port : address.v4.sin_port);
                return fd;
        }
        error = errno;
        *problem = strerror(error);
        if (fd >= 0)
                close(fd);
        return -error;
}

int http_open(
        struct http **http, const char *bind, uint16_t port, const struct http_route *routes, void *context, const char **problem)
{
        struct http *new = calloc(1, sizeof *new);
        sigset_t all, before;
        int fd;

        *problem = "no memory";
        if (!new)
                return -ENOMEM;
        new->routes = routes;
        new->context = context;
        fd = socket_listen(bind, port, &new->port, problem);
        if (fd < 0) {
                free(new);
                return fd;
        }
        /* MHD's thread inherits the mask: signals are for the program's own threads */
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        new->daemon = MHD_start_daemon(MHD_USE_AUTO | MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_ITC, 0, NULL, NULL,
                request_answer, new, MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS_MAX,
                MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_TIMEOUT_S, MHD_OPTION_END);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        if (!new->daemon) { /* fd is left alone: whether MHD closed it depends on how far it came */
                *problem = "the server did not start (no memory, threads or file descriptors)";
                free(new);
                return -EAGAIN;
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
        MHD_stop_daemon(http->daemon); /* closes the socket as well */
        free(http);
        return NULL;
}
