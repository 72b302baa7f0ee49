#include "common/cli/commands.h"

#include <cjson/cJSON.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>
#include "common/base/clock.h"
#include "common/cli/tell.h"
#include "common/view/model.h"
#include "common/view/pipeline.h"

#define CONNECT_TIMEOUT_MS 3000
#define WATCH_INTERVAL_MS  1000
#define STREAMS_LEAVE      12 /* lines of a terminal for all but the streams */
#define ANSWER_MAX         (4 << 20)

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

/* The body of its answer to GET /status, NULL where there is none. free() it. */
static char *read_service(const struct config *config)
{
        static const char request[] = "GET /status HTTP/1.0\r\nHost: localhost\r\n\r\n";
        AUTO(text) char *reply = NULL;
        char part[4096];
        size_t size, received = 0;
        int fd = connect_service(config);
        if (fd < 0)
                return NULL;
        FILE *all = memory_stream(&reply, &size);
        if (send(fd, request, sizeof(request) - 1, MSG_NOSIGNAL) > 0)
                for (ssize_t n; received < ANSWER_MAX && (n = recv(fd, part, sizeof(part), 0)) > 0;)
                        received += fwrite(part, 1, (size_t)n, all);
        memory_stream_end(all);
        close(fd);
        const char *body = strstr(reply, "\r\n\r\n");
        return body ? memory_copy(body + 4) : NULL;
}

static const cJSON *item(const cJSON *object, const char *name)
{
        return cJSON_GetObjectItemCaseSensitive(object, name);
}

static const char *text(const cJSON *object, const char *name)
{
        const char *value = cJSON_GetStringValue(item(object, name));
        return value ? value : "-";
}

/* What the service on this machine, ours or another program's of this group, knows of the pipeline; NULL: it does not answer. */
static cJSON *ask_service(const struct service *service)
{
        AUTO(text) char *body = read_service(service->shared);
        cJSON *answer = body ? cJSON_Parse(body) : NULL;
        if (strcmp(text(answer, "group"), service->shared->group)) {
                cJSON_Delete(answer);
                return NULL;
        }
        return answer;
}

static const char *breaker_of(const struct service *service, const cJSON *answer)
{
        if (!answer)
                return "not running";
        return strcmp(text(answer, "program"), service->program->name) ? "not known" : text(answer, "circuit_breaker_state");
}

static void replace(cJSON *object, const char *name, const cJSON *by)
{
        if (by)
                cJSON_ReplaceItemInObjectCaseSensitive(object, name, cJSON_Duplicate(by, true));
}

/* This command sees the streams for a second. The service saw what was acked before, and since when something is pending. */
static void take_history(cJSON *root, const cJSON *answer)
{
        const cJSON *seen;
        cJSON *stream;
        cJSON_ArrayForEach(stream, item(root, "streams")) cJSON_ArrayForEach(seen, item(answer, "streams"))
        {
                if (strcmp(text(seen, "stream"), text(stream, "stream")))
                        continue;
                replace(stream, "rate_history", item(seen, "rate_history"));
                if (cJSON_GetNumberValue(item(seen, "stuck_ms")) <= cJSON_GetNumberValue(item(stream, "oldest_pending_ms")))
                        replace(stream, "stuck_ms", item(seen, "stuck_ms"));
        }
}

/* ---- looking ---- */

static void keep_problem(char problem[256], const char *text)
{
        snprintf(problem, 256, "%.255s", text ? text : "cannot connect");
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
                const struct program_database *database = terminal->service->program->database;
                char why[PROGRAM_EXPLAIN_SIZE];
                int64_t version;
                keep_problem(terminal->db_problem, db_error(terminal->db));
                int r = database->check(terminal->db, &version);
                if (r > 0) {
                        database->explain(terminal->db, r, why);
                        keep_problem(terminal->db_problem, why);
                }
                terminal->db = db_close(terminal->db);
        }
}

static void look(struct terminal *terminal)
{
        look_at_database(terminal); /* it knows the streams of the others */
        look_at_redis(terminal);
}

/* ---- showing ---- */

/* A terminal shows so much that its size suffices, anything else gets all of it. */
struct screen {
        FILE *out;
        int width, height; /* 0: no limit */
};

/* PostgreSQL's 2026-01-30T12:00:00.123456+00:00, without the fraction. */
static const char *time_text(const cJSON *object, const char *name, char out[32])
{
        const char *value = text(object, name), *zone = strlen(value) > 19 ? strpbrk(value + 19, "+-Z") : NULL;
        snprintf(out, 32, "%.19s%.6s", value, zone ? zone : "");
        return out;
}

static const char *count_text(const cJSON *value, char out[32])
{
        if (!cJSON_IsNumber(value))
                snprintf(out, 32, "-");
        else if (value->valuedouble < 1e7)
                snprintf(out, 32, "%.0f", value->valuedouble);
        else
                snprintf(out, 32, "%.1fM", value->valuedouble / 1e6);
        return out;
}

static const char *rate_text(const cJSON *value, char out[32])
{
        if (!cJSON_IsNumber(value))
                snprintf(out, 32, "-");
        else
                snprintf(out, 32, "%.*f/s", value->valuedouble < 100 ? 1 : 0, value->valuedouble);
        return out;
}

static const char *span_text(const cJSON *value, double scale, char out[32])
{
        double seconds = cJSON_IsNumber(value) ? value->valuedouble * scale : 0;
        if (!cJSON_IsNumber(value))
                snprintf(out, 32, "-");
        else if (seconds > 0 && seconds < 1)
                snprintf(out, 32, "%.0f ms", seconds * 1000);
        else if (seconds < 120)
                snprintf(out, 32, "%.0f s", seconds);
        else if (seconds < 7200)
                snprintf(out, 32, "%.0f min", seconds / 60);
        else
                snprintf(out, 32, "%.0f h", seconds / 3600);
        return out;
}

static void print_state(const struct screen *screen, const cJSON *root)
{
        const cJSON *one;
        fprintf(screen->out, "%s  %s %s, circuit breaker %s, group %s\n", text(root, "time"), text(root, "program"),
                text(root, "version"), text(root, "circuit_breaker_state"), text(root, "group"));
        fprintf(screen->out, "%s\n", strcmp(text(root, "state"), "degraded") ? text(root, "state") : "working, but");
        cJSON_ArrayForEach(one, item(root, "problems"))
                fprintf(screen->out, "  %s (runbook %s)\n", text(one, "text"), text(one, "runbook"));
        cJSON_ArrayForEach(one, item(root, "notes")) fprintf(screen->out, "  %s\n", one->valuestring);
}

static void print_figures(const struct screen *screen, const cJSON *root)
{
        const cJSON *database = item(root, "database"), *block = item(database, "last_block"), *waiting = item(root, "waiting");
        char of[5][32];
        if (cJSON_IsObject(block))
                fprintf(screen->out, "block %s, %s old; ", count_text(item(block, "number"), of[0]),
                        span_text(item(block, "age_s"), 1, of[1]));
        if (cJSON_IsNumber(item(database, "head_block")))
                fprintf(screen->out, "chain's head %s; ", count_text(item(database, "head_block"), of[0]));
        fprintf(screen->out, "waiting %s entries, %s rows, left %s; dead letters %s\n",
                count_text(item(waiting, "entries"), of[0]), count_text(item(waiting, "rows"), of[1]),
                span_text(item(waiting, "seconds_left"), 1, of[2]), count_text(item(item(root, "dead_letters"), "count"), of[3]));
}

/* Counts are those of the replicas that run, since each one's start; p50 and p99 from a batch's oldest entry to its commit, in
 * the last minutes. */
static void print_stages(const struct screen *screen, const cJSON *root)
{
        static const char *const counts[] = {"processed", "failed", "retries", "backfilled"};
        const cJSON *stage;
        char of[7][32];
        bool wide = !screen->width || screen->width >= 120;
        fprintf(screen->out, "%-10s%8s %-9s%9s%8s%9s%9s%8s%9s", "stage", "ready", "breaker", "rate", "p50", "p99", "outbox",
                "oldest", "left");
        fputs(wide ? "       done  failed retries backfilled\n" : "\n", screen->out);
        cJSON_ArrayForEach(stage, item(root, "stages"))
        {
                snprintf(of[0], 32, cJSON_IsNumber(item(stage, "replicas")) ? "%.0f of %.0f" : "-",
                        cJSON_GetNumberValue(item(stage, "ready")), cJSON_GetNumberValue(item(stage, "replicas")));
                fprintf(screen->out, "%-10s%8s %-9s%9s%8s%9s%9s%8s%9s", text(stage, "name"), of[0], text(stage, "breaker"),
                        rate_text(item(stage, "events_per_second"), of[1]), span_text(item(stage, "delay_p50"), 1, of[2]),
                        span_text(item(stage, "delay_p99"), 1, of[3]), count_text(item(stage, "outbox_rows"), of[4]),
                        span_text(item(stage, "outbox_oldest_s"), 1, of[5]), span_text(item(stage, "seconds_left"), 1, of[6]));
                for (size_t i = 0; wide && i < ARRAY_LENGTH(counts); i++)
                        fprintf(screen->out, i ? " %7s" : " %10s", count_text(item(stage, counts[i]), of[0]));
                fputc('\n', screen->out);
        }
}

/* Shortened in the middle: streams differ at both ends. */
static const char *name_text(const char *name, int room, char out[256])
{
        int size = (int)strlen(name), head = room / 2 - 1;
        if (!room || size <= room)
                snprintf(out, 256, "%s", name);
        else
                snprintf(out, 256, "%.*s..%s", head, name, name + size - (room - head - 2));
        return out;
}

static void print_stream(const struct screen *screen, const cJSON *stream, int room)
{
        char name[256], lag[34], of[6][32];
        snprintf(lag, sizeof(lag), "%s%s", cJSON_IsTrue(item(stream, "lag_known")) ? "" : "~",
                count_text(item(stream, "lag"), of[5]));
        fprintf(screen->out, "%-10s%-*s%9s%9s%9s%8s%9s", text(stream, "stage"), room ? room : 40,
                name_text(text(stream, "stream"), room, name), lag, count_text(item(stream, "pending"), of[1]),
                rate_text(item(stream, "entries_per_second"), of[2]), span_text(item(stream, "oldest_ms"), 0.001, of[3]),
                span_text(item(stream, "seconds_left"), 1, of[4]));
        if (!screen->width)
                fprintf(screen->out, "%11s%s", count_text(item(stream, "length"), of[5]),
                        cJSON_IsTrue(item(stream, "exists")) ? "" : "  (not there yet)");
        fputc('\n', screen->out);
}

/* Where there are more streams than lines, those in which nothing waits are counted. */
static void print_streams(const struct screen *screen, const cJSON *root)
{
        const cJSON *stream, *streams = item(root, "streams");
        int room = screen->width ? screen->width - 54 : 0, hidden = 0;
        bool all = !screen->height || cJSON_GetArraySize(streams) <= screen->height - STREAMS_LEAVE;
        char old[32];
        if (cJSON_IsTrue(item(root, "streams_old")))
                fprintf(screen->out, "old figures, of %s ago:\n", span_text(item(root, "seen_ms_ago"), 0.001, old));
        fprintf(screen->out, "%-10s%-*s%9s%9s%9s%8s%9s%s\n", "stage", room ? room : 40, "stream", "lag", "pending", "rate",
                "oldest", "left", screen->width ? "" : "     length");
        cJSON_ArrayForEach(stream, streams)
        {
                bool idle = item(stream, "lag")->valuedouble + item(stream, "pending")->valuedouble == 0;
                if (all || !idle)
                        print_stream(screen, stream, room);
                hidden += !all && idle;
        }
        if (hidden)
                fprintf(screen->out, "and %d streams in which nothing waits\n", hidden);
}

static void print_dead_letters(const struct screen *screen, const cJSON *root)
{
        const cJSON *group, *groups = item(item(root, "dead_letters"), "groups");
        char count[32];
        cJSON_ArrayForEach(group, groups) fprintf(screen->out, "dead letters %s  %s, class %s; %s dlq show %s  %s\n",
                count_text(item(group, "count"), count), text(group, "stage"), text(group, "error_class"), text(group, "stage"),
                text(group, "letter"), text(group, "error"));
}

static void print_database(const struct screen *screen, const cJSON *database)
{
        const cJSON *one;
        char of[3][32];
        if (!cJSON_IsObject(database))
                return;
        cJSON_ArrayForEach(one, item(database, "reorgs"))
                fprintf(screen->out, "reorg  %s  %s  fork block %s, depth %s\n", time_text(one, "at", of[0]), text(one, "stream"),
                        count_text(item(one, "fork_block"), of[1]), count_text(item(one, "depth"), of[2]));
        if (!cJSON_GetArraySize(item(database, "verify")))
                fputs("verify  never run\n", screen->out);
        cJSON_ArrayForEach(one, item(database, "verify"))
        {
                bool sample = cJSON_IsNumber(item(one, "sample"));
                fprintf(screen->out, "verify %-10s %s  %.0f differences, %.0f keys in flight left out, %s%s\n",
                        text(one, "program"), time_text(one, "finished_at", of[0]),
                        cJSON_GetNumberValue(item(one, "differences")), cJSON_GetNumberValue(item(one, "in_flight")),
                        sample ? "keys a table about " : "all keys", sample ? count_text(item(one, "sample"), of[1]) : "");
        }
        fputs("rows, about", screen->out);
        cJSON_ArrayForEach(one, item(database, "tables")) fprintf(screen->out, "  %s %.0f", one->string, one->valuedouble);
        fputc('\n', screen->out);
}

/* What matters most stands first: the end is cut off. */
static void print(const struct screen *screen, const cJSON *root)
{
        print_state(screen, root);
        print_figures(screen, root);
        print_stages(screen, root);
        print_streams(screen, root);
        print_dead_letters(screen, root);
        print_database(screen, item(root, "database"));
}

/* A character is counted once, whatever its bytes. */
static int bytes_of(const char *line, int width)
{
        int size = 0;
        for (; line[size] && line[size] != '\n'; size++)
                if (((unsigned char)line[size] & 0xc0) != 0x80 && width-- == 0)
                        break;
        return size;
}

static void print_cut(const cJSON *root, struct winsize size)
{
        char *all = NULL, *line;
        size_t length;
        struct screen screen = {.out = memory_stream(&all, &length), .width = size.ws_col, .height = size.ws_row};
        print(&screen, root);
        memory_stream_end(screen.out);
        line = all;
        for (int left = size.ws_row - 1; *line && left > 0; left--) {
                printf("%.*s\n", bytes_of(line, size.ws_col), line);
                line = strchr(line, '\n') + 1;
        }
        free(all);
}

static void add_server(cJSON *servers, const char *name, const char *problem)
{
        cJSON *server = cJSON_AddObjectToObject(servers, name);
        cJSON_AddBoolToObject(server, "up", !*problem);
        if (*problem)
                cJSON_AddStringToObject(server, "error", problem);
}

/* Returns whether the pipeline works. */
static bool show(struct terminal *terminal, bool watch)
{
        struct winsize size = {0};
        cJSON *answer = ask_service(terminal->service);
        cJSON *root = model_object(terminal->model, terminal->service, breaker_of(terminal->service, answer),
                !*terminal->redis_problem, !*terminal->db_problem);
        take_history(root, answer);
        cJSON_Delete(answer);
        cJSON *servers = cJSON_AddObjectToObject(root, "servers");
        add_server(servers, "redis", terminal->redis_problem);
        add_server(servers, "postgresql", terminal->db_problem);
        pipeline_judge(root);
        bool works = strcmp(text(root, "state"), "not working") != 0;
        if (terminal->service->json) {
                char *document = watch ? cJSON_PrintUnformatted(root) : cJSON_Print(root);
                puts(document);
                free(document);
        } else {
                const bool tty = !ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) && size.ws_col && size.ws_row;
                if (tty && watch)
                        printf("\033[H\033[2J");
                if (tty && size.ws_col >= 60)
                        print_cut(root, size);
                else
                        print(&(struct screen){.out = stdout}, root);
        }
        fflush(stdout);
        cJSON_Delete(root);
        return works;
}

int status_run(struct service *service, bool watch)
{
        struct terminal terminal = {.service = service, .model = model_new()};
        bool works = false;
        look(&terminal);
        do { /* two looks make a rate */
                if (!watch && *terminal.redis_problem)
                        break;
                clock_sleep(WATCH_INTERVAL_MS);
                look(&terminal);
                if (watch || !*terminal.redis_problem)
                        works = show(&terminal, watch);
        } while (watch && !ferror(stdout));
        if (*terminal.redis_problem) {
                fprintf(stderr, "%s: cannot see the streams; Redis (REDIS_URL): %s\n", service->program->name,
                        terminal.redis_problem);
                tell_end(service, false, NULL, 0, terminal.redis_problem);
        }
        terminal_deinit(&terminal);
        return *terminal.redis_problem || !works;
}
