#include "common/stage/service.h"

#include "common/io/redis.h"
#include "common/stage/stage.h"

const char *const *service_inputs(const struct service *service)
{
        return service->program->inputs(service->config);
}

bool service_trims_inputs(const struct service *service)
{
        return !service->program->trims_inputs || service->program->trims_inputs(service->config);
}

bool service_reads_keys(const struct service *service)
{
        return service->program->outbox_stale;
}

int service_open_redis(const struct service *service, struct redis **out, int64_t timeout_ms, char **problem)
{
        return redis_open(out, service->shared->redis_url, timeout_ms, problem);
}

static void observe(void *context, const char *statement, double seconds)
{
        struct service *service = context;
        metrics_observe(service->metrics, &stage_query_seconds, seconds, statement, NULL, NULL);
}

int service_open_db(
        struct service *service, struct db **out, int64_t timeout_ms, void (*tick)(void *), void *context, char **problem)
{
        const struct db_options options = {
                .url = service->shared->database_url,
                .application = service->program->name,
                .prepared = service->shared->prepared,
                .connect_timeout_ms = timeout_ms,
                .tick = tick,
                .tick_context = context,
                .observe = observe,
                .observe_context = service,
        };
        return db_open(out, &options, problem);
}
