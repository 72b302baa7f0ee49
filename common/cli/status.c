#include "common/cli/status.h"

#include <cjson/cJSON.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>
#include "common/base/clock.h"
#include "common/view/model.h"

#define CONNECT_TIMEOUT_MS 3000
#define WATCH_INTERVAL_MS  1000
#define TREND_SAMPLES      6 /* a minute, as on the page */

struct terminal {
        struct service *service;
        struct model *model;
        struct redis *redis;
        struct db *db;
        struct view_streams before;
        char redis_problem[256], db_problem[256]; /* "": up */
};

static void terminal_deinit(struct terminal *terminal)
{
        terminal->model = model_free(terminal->model);
        terminal->redis = redis_close(terminal->redis);
        terminal->db = db_close(terminal->db);
}

/* ---- asking the service on this machine ---- */

static int connect_service(const struct config *config)
{
        char port[8];
        const char *host = config->http_bind;
        struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV}, *found = NULL;
        const struct timeval limit = {.tv_sec = 1};
        snprintf(port, sizeof(port), "%lld", (long long)config->http_port);
        if (!strcmp(host, "0.0.0.0"))
                host = "127.0.0.1";
        else if (!strcmp(host, "::"))
                host = "::1";
        if (getaddrinfo(host, port, &hints, &found))
                return -1;
        int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd >= 0) {
                setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
                setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
                if (connect(fd, found->ai_addr, found->ai_addrlen)) {
                        close(fd);
                        fd = -1;
                }
        }
        freeaddrinfo(found);
        return fd;
}

static void ask_breaker(const struct service *service, char name[16])
{
        static const char request[] = "GET /health HTTP/1.0\r\nHost: localhost\r\n\r\n";
        static const char label[] = "\"circuit_breaker_state\":\"";
        char reply[4096];
        size_t size = 0;
        snprintf(name, 16, "not running");
        int fd = connect_service(service->shared);
        if (fd < 0)
                return;
        if (send(fd, request, sizeof(request) - 1, MSG_NOSIGNAL) > 0)
                for (ssize_t n; size < sizeof(reply) - 1 && (n = recv(fd, reply + size, sizeof(reply) - 1 - size, 0)) > 0;)
                        size += (size_t)n;
        close(fd);
        reply[size] = '\0';
        const char *found = strstr(reply, label);
        if (found)
                snprintf(name, 16, "%.*s", (int)strcspn(found + sizeof(label) - 1, "\""), found + sizeof(label) - 1);
}

/* ---- looking ---- */

static void keep_problem(char problem[256], const char *text)
{
        snprintf(problem, 256, "%s", text ? text : "cannot connect");
}

static int ask_redis(struct terminal *terminal)
{
        struct view_streams now;
        const char *others[VIEW_STREAMS_MAX + 1];
        model_get_streams(terminal->model, others);
        if (view_streams_read(
                    terminal->service, terminal->redis, others, terminal->before.looked_ms ? &terminal->before : NULL, &now))
                return -1;
        model_note_streams(terminal->model, &now);
        terminal->before = now;
        return model_ask_dead_letters(terminal->model, terminal->service, terminal->redis);
}

static void look_at_redis(struct terminal *terminal)
{
        AUTO(text) char *problem = NULL;
        *terminal->redis_problem = '\0';
        if (!terminal->redis && service_open_redis(terminal->service, &terminal->redis, CONNECT_TIMEOUT_MS, &problem)) {
                keep_problem(terminal->redis_problem, problem);
        } else if (ask_redis(terminal)) {
                keep_problem(terminal->redis_problem, redis_error(terminal->redis));
                terminal->redis = redis_close(terminal->redis);
        }
}

static void look_at_database(struct terminal *terminal)
{
        AUTO(text) char *problem = NULL;
        *terminal->db_problem = '\0';
        if (!terminal->db && service_open_db(terminal->service, &terminal->db, CONNECT_TIMEOUT_MS, NULL, NULL, &problem)) {
                keep_problem(terminal->db_problem, problem);
        } else if (model_ask_database(terminal->model, terminal->service, terminal->db)) {
                keep_problem(terminal->db_problem, db_error(terminal->db));
                terminal->db = db_close(terminal->db);
        }
}

static void look(struct terminal *terminal)
{
        look_at_database(terminal); /* it knows the streams of the others */
        look_at_redis(terminal);
}

/* ---- showing ---- */

static const cJSON *item(const cJSON *object, const char *name)
{
        return cJSON_GetObjectItemCaseSensitive(object, name);
}

static const char *text(const cJSON *object, const char *name)
{
        const char *value = cJSON_GetStringValue(item(object, name));
        return value ? value : "-";
}

/* PostgreSQL's 2026-01-30T12:00:00.123456+00:00, without the fraction. */
static const char *time_text(const cJSON *object, const char *name, char out[32])
{
        const char *value = text(object, name), *zone = strlen(value) > 19 ? strpbrk(value + 19, "+-Z") : NULL;
        snprintf(out, 32, "%.19s%.6s", value, zone ? zone : "");
        return out;
}

static const char *number_text(const cJSON *value, double scale, int decimals, const char *unit, char out[32])
{
        if (cJSON_IsNumber(value))
                snprintf(out, 32, "%.*f%s", decimals, value->valuedouble * scale, unit);
        else
                snprintf(out, 32, "-");
        return out;
}

static const char *trend(const cJSON *stream)
{
        const cJSON *history = item(stream, "lag_history");
        int count = cJSON_GetArraySize(history), then = count > TREND_SAMPLES ? count - 1 - TREND_SAMPLES : 0;
        double lag = cJSON_GetNumberValue(item(stream, "lag"));
        double before = count ? cJSON_GetNumberValue(cJSON_GetArrayItem(history, then)) : lag;
        return lag > before ? "growing" : lag < before ? "shrinking" : "";
}

static void print_streams(const cJSON *root)
{
        const cJSON *stage, *stream, *stages = item(item(root, "database"), "streams");
        char text_of[6][32];
        if (cJSON_IsTrue(item(root, "streams_old")))
                printf("\nold figures, of %.0f s ago:", cJSON_GetNumberValue(item(root, "seen_ms_ago")) / 1000);
        printf("\n%-10s %-44s %10s %11s %-9s %9s %10s %10s %10s\n", "stage", "stream", "length", "lag", "trend", "pending",
                "oldest", "rate/s", "left");
        cJSON_ArrayForEach(stream, item(root, "streams"))
        {
                stage = item(stages, text(stream, "stream"));
                snprintf(text_of[0], 32, "%s%.0f", cJSON_IsTrue(item(stream, "lag_known")) ? "" : "~",
                        cJSON_GetNumberValue(item(stream, "lag")));
                printf("%-10s %-44s %10s %11s %-9s %9s %10s %10s %10s%s\n", stage ? cJSON_GetStringValue(stage) : "-",
                        text(stream, "stream"), number_text(item(stream, "length"), 1, 0, "", text_of[1]), text_of[0],
                        trend(stream), number_text(item(stream, "pending"), 1, 0, "", text_of[2]),
                        number_text(item(stream, "oldest_ms"), 0.001, 1, " s", text_of[3]),
                        number_text(item(stream, "entries_per_second"), 1, 0, "", text_of[4]),
                        number_text(item(stream, "seconds_left"), 1, 0, " s", text_of[5]),
                        cJSON_IsTrue(item(stream, "exists")) ? "" : "  (not there yet)");
        }
}

static void print_dead_letters(const cJSON *root)
{
        const cJSON *letter;
        if (cJSON_GetArraySize(item(root, "letters")))
                puts("\ndead letters, the newest (for all: dlq list)");
        cJSON_ArrayForEach(letter, item(root, "letters"))
        {
                printf("  %-10s %s %s  %s: %s\n", text(letter, "stage"), text(letter, "stream"), text(letter, "id"),
                        text(letter, "error_class"), text(letter, "error"));
        }
}

/* Counts are those of the replicas that run, since each one's start; p50 and p99 from a batch's oldest entry to its commit,
 * lately. */
static void print_programs(const cJSON *programs)
{
        static const struct {
                const char *name, *head;
                int decimals;
        } columns[] = {{"replicas", "replicas", 0}, {"ready", "ready", 0}, {"events_per_second", "events/s", 1},
                {"delay_p50", "p50 s", 3}, {"delay_p99", "p99 s", 3}, {"processed", "done", 0}, {"failed", "failed", 0},
                {"retries", "retries", 0}, {"backfilled", "backfilled", 0}};
        const cJSON *program;
        char number[32];
        printf("\n%-10s %-9s", "program", "breaker");
        for (size_t i = 0; i < ARRAY_LENGTH(columns); i++)
                printf(" %11s", columns[i].head);
        cJSON_ArrayForEach(program, programs)
        {
                printf("\n%-10s %-9s", program->string, text(program, "breaker"));
                for (size_t i = 0; i < ARRAY_LENGTH(columns); i++)
                        printf(" %11s", number_text(item(program, columns[i].name), 1, columns[i].decimals, "", number));
        }
        puts("");
}

static void print_database(const cJSON *database, const cJSON *left)
{
        const cJSON *one;
        char text_of[3][32];
        if (!cJSON_IsObject(database))
                return;
        print_programs(item(database, "programs"));
        printf("\noutbox, oldest row");
        cJSON_ArrayForEach(one, item(database, "outbox"))
        {
                printf("  %s %.1f s, %s rows, left %s", one->string, one->valuedouble,
                        number_text(item(item(database, "outbox_rows"), one->string), 1, 0, "", text_of[0]),
                        number_text(item(left, one->string), 1, 0, " s", text_of[1]));
        }
        if (cJSON_IsTrue(item(database, "replay_unfinished")))
                printf("\na replay is under way: the tables do not hold all yet");
        puts(cJSON_GetArraySize(item(database, "reorgs")) ? "\nreorgs, newest first" : "\nreorgs  none");
        cJSON_ArrayForEach(one, item(database, "reorgs"))
        {
                printf("  %s  %s  fork block %s, depth %s\n", time_text(one, "at", text_of[0]), text(one, "stream"),
                        number_text(item(one, "fork_block"), 1, 0, "", text_of[1]),
                        number_text(item(one, "depth"), 1, 0, "", text_of[2]));
        }
        puts(cJSON_GetArraySize(item(database, "verify")) ? "verify, the last of each" : "verify  never run");
        cJSON_ArrayForEach(one, item(database, "verify"))
        {
                printf("  %-10s %s  %.0f differences, %.0f keys in flight left out, %s%s\n", text(one, "program"),
                        time_text(one, "finished_at", text_of[0]), cJSON_GetNumberValue(item(one, "differences")),
                        cJSON_GetNumberValue(item(one, "in_flight")),
                        cJSON_IsNumber(item(one, "sample")) ? "keys a table about " : "all keys",
                        cJSON_IsNumber(item(one, "sample")) ? number_text(item(one, "sample"), 1, 0, "", text_of[1]) : "");
        }
        printf("rows, about");
        cJSON_ArrayForEach(one, item(database, "tables")) printf("  %s %.0f", one->string, one->valuedouble);
        puts("");
}

static void print_server(const char *name, const char *problem)
{
        if (*problem)
                printf("%s away: %s\n", name, problem);
}

static void print(const struct terminal *terminal, const cJSON *root)
{
        const cJSON *problem;
        printf("%s  %s %s, group %s, circuit breaker %s, dead letters %.0f\n", text(root, "time"), text(root, "program"),
                text(root, "version"), text(root, "group"), text(root, "circuit_breaker_state"),
                cJSON_GetNumberValue(item(root, "dead_letters")));
        print_server("Redis", terminal->redis_problem);
        print_server("PostgreSQL", terminal->db_problem);
        if (!cJSON_GetArraySize(item(root, "problems")))
                puts("working");
        cJSON_ArrayForEach(problem, item(root, "problems")) puts(problem->valuestring);
        print_streams(root);
        print_dead_letters(root);
        print_database(item(root, "database"), item(root, "outbox_seconds_left"));
}

static void add_server(cJSON *servers, const char *name, const char *problem)
{
        cJSON *server = cJSON_AddObjectToObject(servers, name);
        cJSON_AddBoolToObject(server, "up", !*problem);
        if (*problem)
                cJSON_AddStringToObject(server, "error", problem);
}

static void show(struct terminal *terminal, bool watch, bool json)
{
        char breaker[16];
        ask_breaker(terminal->service, breaker);
        cJSON *root = model_object(terminal->model, terminal->service, breaker);
        cJSON *servers = cJSON_AddObjectToObject(root, "servers");
        add_server(servers, "redis", terminal->redis_problem);
        add_server(servers, "postgresql", terminal->db_problem);
        model_add_problems(root);
        if (json) {
                char *document = watch ? cJSON_PrintUnformatted(root) : cJSON_Print(root);
                puts(document);
                free(document);
        } else {
                if (watch && isatty(STDOUT_FILENO))
                        printf("\033[H\033[2J");
                print(terminal, root);
        }
        fflush(stdout);
        cJSON_Delete(root);
}

int status_run(struct service *service, bool watch, bool json)
{
        struct terminal terminal = {.service = service, .model = model_new()};
        look(&terminal);
        do { /* two looks make a rate */
                if (!watch && *terminal.redis_problem)
                        break;
                clock_sleep(WATCH_INTERVAL_MS);
                look(&terminal);
                if (watch || !*terminal.redis_problem)
                        show(&terminal, watch, json);
        } while (watch);
        if (*terminal.redis_problem)
                fprintf(stderr, "%s: cannot see the streams; Redis (REDIS_URL): %s\n", service->program->name,
                        terminal.redis_problem);
        terminal_deinit(&terminal);
        return *terminal.redis_problem ? 1 : 0;
}
