#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/io/http.h"

static unsigned health_status = 200;

static void answer_health(void *context, struct http_answer *out)
{
        out->status = *(unsigned *)context;
        out->content_type = "application/json";
        out->body = strdup("{\"healthy\":true}");
}

static void answer_page(void *context, struct http_answer *out)
{
        (void)context;
        out->content_type = "text/html; charset=utf-8";
        out->body = strdup("<p>é</p>");
}

static void answer_policy(void *context, struct http_answer *out)
{
        answer_page(context, out);
        out->security_policy = "default-src 'none'; style-src 'unsafe-inline'";
}

static void answer_empty(void *context, struct http_answer *out)
{
        (void)context;
        (void)out;
}

static const struct http_route routes[] = {
        {"/", answer_page},
        {"/health", answer_health},
        {"/policy", answer_policy},
        {"/empty", answer_empty},
        {NULL, NULL},
};

static struct http *http;

static int setup(void **state)
{
        const char *problem;

        (void)state;
        health_status = 200;
        return http_open(&http, "127.0.0.1", 0, routes, &health_status, &problem);
}

static int teardown(void **state)
{
        (void)state;
        http = http_close(http);
        return 0;
}

static char response[65536];

/* The whole answer to a request, as text. */
static void ask(const char *method, const char *path)
{
        struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(http_port(http)), .sin_addr = {htonl(INADDR_LOOPBACK)}};
        int fd = socket(AF_INET, SOCK_STREAM, 0), n;
        size_t used = 0;
        ssize_t got;
        char request[512];

        n = snprintf(request, sizeof request, "%s %s HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n", method, path);
        assert_true(fd >= 0);
        assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
        assert_int_equal(send(fd, request, (size_t)n, MSG_NOSIGNAL), n);
        while ((got = recv(fd, response + used, sizeof response - 1 - used, 0)) > 0)
                used += (size_t)got;
        response[used] = '\0';
        close(fd);
}

static void assert_status(unsigned status)
{
        unsigned got = 0;

        assert_int_equal(sscanf(response, "HTTP/1.1 %u ", &got), 1);
        assert_int_equal(got, status);
}

static void assert_header(const char *header)
{
        char expected[256];

        snprintf(expected, sizeof expected, "\r\n%s\r\n", header);
        assert_non_null(strstr(response, expected));
}

static const char *body(void)
{
        const char *end = strstr(response, "\r\n\r\n");

        assert_non_null(end);
        return end + 4;
}

static void get(void **state)
{
        (void)state;
        ask("GET", "/health");
        assert_status(200);
        assert_header("Content-Type: application/json");
        assert_header("Content-Length: 16");
        assert_header("X-Content-Type-Options: nosniff");
        assert_header("Cache-Control: no-store");
        assert_null(strstr(response, "Content-Security-Policy"));
        assert_string_equal(body(), "{\"healthy\":true}");
        health_status = 503;
        ask("GET", "/health?query=ignored");
        assert_status(503);
        assert_string_equal(body(), "{\"healthy\":true}");
        ask("GET", "/empty");
        assert_status(200);
        assert_header("Content-Length: 0");
        assert_header("Content-Type: text/plain; charset=utf-8");
}

static void head(void **state)
{
        (void)state;
        ask("HEAD", "/health");
        assert_status(200);
        assert_header("Content-Type: application/json");
        assert_header("Content-Length: 16");
        assert_string_equal(body(), "");
}

static void html(void **state)
{
        (void)state;
        ask("GET", "/");
        assert_header("Content-Length: 9");
        assert_string_equal(body(), "<p>é</p>");
        ask("GET", "http://127.0.0.1"); /* as a proxy asks */
        assert_header("Content-Length: 9");
        ask("GET", "HTTP://host:1/policy?query=ignored");
        assert_header("Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'");
}

static void refused(void **state)
{
        static const char *const methods[] = {"POST", "PUT", "DELETE", "OPTIONS", "get"};

        (void)state;
        for (size_t i = 0; i < ARRAY_LENGTH(methods); i++) {
                ask(methods[i], "/health");
                assert_status(405);
                assert_header("Allow: GET, HEAD");
                assert_header("Cache-Control: no-store");
        }
        ask("GET", "/health/");
        assert_status(404);
        assert_string_equal(body(), "not found; there is:\n/\n/health\n/policy\n/empty\n");
        ask("GET", "/../etc/passwd");
        assert_status(404);
        assert_header("X-Content-Type-Options: nosniff");
}

static void open_problems(void **state)
{
        static const char *const bad[] = {"localhost", "127.0.0.1:80", "1.2.3", "[::1]", ":::"};
        struct http *second = NULL;
        const char *problem = NULL;

        (void)state;
        assert_int_equal(http_open(&second, "127.0.0.1", http_port(http), routes, NULL, &problem), -EADDRINUSE);
        assert_string_equal(problem, strerror(EADDRINUSE));
        assert_null(second);
        for (size_t i = 0; i < ARRAY_LENGTH(bad); i++) {
                if (http_open(&second, bad[i], 0, routes, NULL, &problem) != -EINVAL)
                        fail_msg("%s was taken", bad[i]);
                assert_string_equal(problem, "not an IPv4 or IPv6 address");
        }
        assert_int_equal(http_open(&second, "203.0.113.1", 0, routes, NULL, &problem), -EADDRNOTAVAIL);
        assert_null(second);
}

static void ipv6(void **state)
{
        struct http *second = NULL;
        const char *problem;
        int r = http_open(&second, "::1", 0, routes, NULL, &problem);

        (void)state;
        if (r == -EADDRNOTAVAIL || r == -EAFNOSUPPORT)
                skip(); /* a machine without IPv6 */
        assert_int_equal(r, 0);
        assert_int_not_equal(http_port(second), 0);
        assert_null(http_close(second));
        assert_null(http_close(NULL));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(get, setup, teardown),
                cmocka_unit_test_setup_teardown(head, setup, teardown),
                cmocka_unit_test_setup_teardown(html, setup, teardown),
                cmocka_unit_test_setup_teardown(refused, setup, teardown),
                cmocka_unit_test_setup_teardown(open_problems, setup, teardown),
                cmocka_unit_test(ipv6),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
