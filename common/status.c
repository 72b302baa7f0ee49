#include "status.h"

#include <cjson/cJSON.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>
#include "clock.h"
#include "stage.h"

#define HEALTH_FRESH_MS 1000

const char *status_breaker_name(enum breaker_state state)
{
        static const char *const names[] = {
                [BREAKER_CLOSED] = "Closed", [BREAKER_OPEN] = "Open", [BREAKER_HALF_OPEN] = "HalfOpen"};
        return names[state];
}

static const struct status_row *find(const struct status *status, const char *stream)
{
        for (size_t i = 0; status && i < status->count; i++)
                if (!strcmp(status->rows[i].stream, stream))
                        return &status->rows[i];
        return NULL;
}

double status_rate(const struct status *before, const struct status *now, const struct status_row *row)
{
        const struct status_row *old = find(before, row->stream);
        if (!old || now->looked_ms <= before->looked_ms)
                return -1;
        int64_t done = (row->state.delivered - row->state.pending) - (old->state.delivered - old->state.pending);
        return done < 0 ? -1 : (double)done * 1000.0 / (double)(now->looked_ms - before->looked_ms);
}

static int look_at(const struct service *service, struct redis *redis, const struct status *before, struct status *out,
        const char *stream, bool own)
{
        if (find(out, stream) || out->count == STATUS_STREAMS_MAX)
                return 0;
        struct status_row *row = &out->rows[out->count];
        *row = (struct status_row){.stream = stream, .own = own};
        int r = stream_state_read(redis, stream, service->shared->group, &row->state);
        if (r)
                return r;
        row->rate = status_rate(before, out, row);
        out->count++;
        return 0;
}

int status_look(const struct service *service, struct redis *redis, const char *const *others, const struct status *before,
        struct status *out)
{
        struct stream_state letters;
        const char *const *inputs = service->program->inputs(service->config);
        *out = (struct status){.looked_ms = clock_ms()};
        int r = 0;
        for (size_t i = 0; !r && inputs[i]; i++)
                r = look_at(service, redis, before, out, inputs[i], true);
        for (size_t i = 0; !r && others && others[i]; i++)
                r = look_at(service, redis, before, out, others[i], false);
        if (!r)
                r = look_at(service, redis, before, out, service->shared->cascade_stream, false);
        if (!r)
                r = look_at(service, redis, before, out, service->shared->analytics_stream, false);
        if (!r)
                r = stream_state_read(redis, service->shared->letter_stream, service->shared->group, &letters);
        out->letters = r ? 0 : letters.length;
        return r;
}

static double seconds_left(const struct status_row *row)
{
        double left = (double)(row->state.lag + row->state.pending);
        return left <= 0 ? 0 : row->rate > 0 ? left / row->rate : -1;
}

static void add_number(cJSON *object, const char *name, double value)
{
        if (value < 0)
                cJSON_AddNullToObject(object, name);
        else
                cJSON_AddNumberToObject(object, name, value);
}

cJSON *status_object(const struct service *service, const struct status *status, const char *breaker)
{
        char now[32];
        clock_format(clock_wall_ms(), now);
        cJSON *root = cJSON_CreateObject();
        cJSON_AddStringToObject(root, "program", service->program->name);
        cJSON_AddStringToObject(root, "version", PROJECT_VERSION);
        cJSON_AddStringToObject(root, "time", now);
        cJSON_AddStringToObject(root, "group", service->shared->group);
        cJSON_AddStringToObject(root, "circuit_breaker_state", breaker);
        cJSON_AddNumberToObject(root, "dead_letters", (double)status->letters);
        cJSON *streams = cJSON_AddArrayToObject(root, "streams");
        for (size_t i = 0; i < status->count; i++) {
                const struct status_row *row = &status->rows[i];
                cJSON *item = cJSON_CreateObject();
                cJSON_AddItemToArray(streams, item);
                cJSON_AddStringToObject(item, "stream", row->stream);
                cJSON_AddBoolToObject(item, "exists", row->state.exists);
                cJSON_AddNumberToObject(item, "length", (double)row->state.length);
                cJSON_AddNumberToObject(item, "lag", (double)row->state.lag);
                cJSON_AddBoolToObject(item, "lag_known", row->state.lag_known);
                cJSON_AddNumberToObject(item, "pending", (double)row->state.pending);
                cJSON_AddNumberToObject(item, "oldest_pending_ms", (double)row->state.oldest_pending_ms);
                add_number(item, "entries_per_second", row->rate);
                add_number(item, "seconds_left", seconds_left(row));
        }
        return root;
}

void status_servers(struct service *service, bool *redis, bool *postgres)
{
        int64_t fresh_ms = clock_ms() - HEALTH_FRESH_MS; /* a server that lets us wait longer is not healthy */
        pthread_mutex_lock(&service->health.lock);
        *redis = service->health.redis.up && service->health.redis.looked_ms >= fresh_ms;
        *postgres = service->health.postgres.up && service->health.postgres.looked_ms >= fresh_ms;
        pthread_mutex_unlock(&service->health.lock);
}

bool status_ready(struct service *service)
{
        bool redis, postgres;
        status_servers(service, &redis, &postgres);
        return redis && postgres && breaker_get(&service->breaker) == BREAKER_CLOSED && atomic_load(&service->ready) &&
               !service_stopping();
}

char *status_health(struct service *service, bool *healthy)
{
        char checked[32];
        bool redis, postgres;
        status_servers(service, &redis, &postgres);
        pthread_mutex_lock(&service->health.lock);
        clock_format(service->health.checked_ms, checked);
        pthread_mutex_unlock(&service->health.lock);
        enum breaker_state breaker = breaker_get(&service->breaker);
        bool closed = breaker == BREAKER_CLOSED;
        *healthy = redis && postgres && closed;
        cJSON *root = cJSON_CreateObject();
        cJSON_AddBoolToObject(root, "healthy", *healthy);
        cJSON_AddBoolToObject(root, "redis_consumer_healthy", redis);
        cJSON_AddBoolToObject(root, "postgres_sync_healthy", postgres);
        cJSON_AddBoolToObject(root, "circuit_breaker_closed", closed);
        cJSON_AddStringToObject(root, "last_check", checked);
        cJSON *metrics = cJSON_AddObjectToObject(root, "metrics");
        cJSON_AddNumberToObject(
                metrics, "total_events_processed", metrics_get(service->metrics, &stage_events_processed, NULL, NULL, NULL));
        cJSON_AddNumberToObject(
                metrics, "total_events_failed", metrics_get(service->metrics, &stage_events_failed, NULL, NULL, NULL));
        cJSON_AddStringToObject(metrics, "circuit_breaker_state", status_breaker_name(breaker));
        cJSON_AddBoolToObject(metrics, "redis_consumer_health", redis);
        cJSON_AddBoolToObject(metrics, "postgres_sync_health", postgres);
        char *text = cJSON_PrintUnformatted(root);
        cJSON_Delete(root);
        return text;
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

void status_ask_breaker(const struct service *service, char name[16])
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
