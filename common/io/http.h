/*
 * The HTTP server (libmicrohttpd): GET and HEAD of a few fixed paths, each answered by a function. One internal thread; answers
 * come from memory and must not block. Other methods: 405 with Allow; unknown paths: 404 with a list of the paths; bodies are
 * small. Query strings are ignored. Every answer forbids caching and content sniffing. The server's thread takes no signals.
 */
#pragma once

#include "common/base/base.h"

#define HTTP_CONNECTIONS_MAX 192 /* client sockets open at once, those that are being shut down among them */

struct http_answer {
        unsigned status;             /* 200, 503, … */
        const char *content_type;    /* static text */
        char *body;                  /* malloc'd text, taken over by the server; NULL: empty body */
        const char *security_policy; /* static Content-Security-Policy; NULL: none */
};

struct http_route {
        const char *path;                                       /* exact, "/health"; the list ends at NULL */
        void (*answer)(void *context, struct http_answer *out); /* out comes as 200, text/plain, no body */
};

struct http;

/* bind: IPv4 or IPv6 address. Port 0 takes a free one. routes and context outlive the server. Negative: *problem (static or
 * strerror text) says why. */
MUST_CHECK int http_open(struct http **http, const char *bind, uint16_t port, const struct http_route *routes, void *context,
        const char **problem);
uint16_t http_port(const struct http *http);
struct http *http_close(struct http *http); /* returns NULL */
AUTO_DEFINE(struct http *, http, http_close)
