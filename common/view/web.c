#include "common/view/web.h"

#include <cjson/cJSON.h>
#include <string.h>
#include "common/base/clock.h"
#include "common/stage/health.h"
#include "common/stage/stage.h"
#include "page.h"

/* The JSON of /health. malloc'd. */
static char *print_health(struct service *service, bool *healthy)
{
        char checked[32];
        bool redis, postgres;
        health_get_servers(service, &redis, &postgres);
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
        cJSON_AddStringToObject(metrics, "circuit_breaker_state", health_breaker_name(breaker));
        cJSON_AddBoolToObject(metrics, "redis_consumer_health", redis);
        cJSON_AddBoolToObject(metrics, "postgres_sync_health", postgres);
        char *text = cJSON_PrintUnformatted(root);
        cJSON_Delete(root);
        return text;
}

static void answer_health(void *context, struct http_answer *out)
{
        bool healthy;
        out->body = print_health(((const struct view *)context)->service, &healthy);
        out->content_type = "application/json";
        out->status = healthy ? 200 : 503;
}

static void answer_probe(struct http_answer *out, bool passed, const char *yes, const char *no)
{
        *out = (struct http_answer){.status = passed ? 200 : 503, .content_type = "text/plain; charset=utf-8"};
        out->body = memory_copy(passed ? yes : no);
}

static void answer_live(void *context, struct http_answer *out)
{
        answer_probe(out, health_is_alive(((const struct view *)context)->service), "alive\n", "a worker hangs\n");
}

static void answer_ready(void *context, struct http_answer *out)
{
        answer_probe(out, health_is_ready(((const struct view *)context)->service), "ready\n", "not ready\n");
}

static void answer_metrics(void *context, struct http_answer *out)
{
        struct service *service = ((const struct view *)context)->service;
        bool redis, postgres;
        health_get_servers(service, &redis, &postgres);
        metrics_set(service->metrics, &stage_server_up, redis, "redis", NULL, NULL);
        metrics_set(service->metrics, &stage_server_up, postgres, "postgresql", NULL, NULL);
        metrics_set(service->metrics, &stage_ready, health_is_ready(service), NULL, NULL, NULL);
        metrics_set(service->metrics, &stage_breaker_state, breaker_get(&service->breaker) != BREAKER_CLOSED, NULL, NULL, NULL);
        *out = (struct http_answer){.status = 200,
                .content_type = "text/plain; version=0.0.4; charset=utf-8",
                .body = metrics_print(service->metrics)};
}

static void answer_status(void *context, struct http_answer *out)
{
        struct service *service = ((const struct view *)context)->service;
        pthread_mutex_lock(&service->health.lock);
        bool looked = service->health.postgres.looked_ms;
        pthread_mutex_unlock(&service->health.lock);
        out->body = looked ? model_json(((const struct view *)context)->model, service)
                           : memory_copy("{\"error\":\"the first look is under way\"}");
        out->status = looked ? 200 : 503;
        out->content_type = "application/json";
}

/* The page may load its own script, style and status, and nothing else. */
static void answer_text(struct http_answer *out, const char *type, const char *text)
{
        out->content_type = type;
        out->body = memory_copy(text);
        out->security_policy =
                "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; "
                "form-action 'none'; frame-ancestors 'none'";
}

static void answer_page(void *context, struct http_answer *out)
{
        (void)context;
        answer_text(out, "text/html; charset=utf-8", text_index);
}

static void answer_script(void *context, struct http_answer *out)
{
        (void)context;
        answer_text(out, "text/javascript; charset=utf-8", text_script);
}

static void answer_style(void *context, struct http_answer *out)
{
        (void)context;
        answer_text(out, "text/css; charset=utf-8", text_style);
}

const struct http_route web_routes[] = {
        {"/", answer_page},
        {"/script.js", answer_script},
        {"/style.css", answer_style},
        {"/health", answer_health},
        {"/livez", answer_live},
        {"/readyz", answer_ready},
        {"/metrics", answer_metrics},
        {"/status", answer_status},
        {0},
};
