#include "common/stage/service.h"

#include <stdio.h>
#include <string.h>
#include "common/base/log.h"
#include "common/io/redis.h"
#include "common/stage/stage.h"
#include "common/stream/state.h"
#include "common_sql.h"

bool service_reads_keys(const struct service *service)
{
        return service->program->outbox_stale;
}

int service_open_redis(const struct service *service, struct redis **out, int64_t timeout_ms, char **problem)
{
        AUTO(text) char *url = settings_text_now(service->program->settings, "REDIS_URL", service->shared->redis_url);
        const struct redis_options options = {
                .url = url,
                .ca_file = service->shared->redis_ca_file,
                .cert_file = service->shared->redis_cert_file,
                .key_file = service->shared->redis_key_file,
                .keys = service->shared->streams,
                .timeout_ms = timeout_ms,
        };
        return redis_open(out, &options, problem);
}

int service_tell_gap(struct service *service, struct redis *redis, const char *stream, int64_t *lag)
{
        struct stream_gap gap = {0};
        size_t i = 0;
        while (strcmp(service->shared->inputs[i], stream))
                i++;
        pthread_mutex_lock(&service->health.lock);
        memcpy(gap.counted, service->counted[i], sizeof(gap.counted));
        pthread_mutex_unlock(&service->health.lock);
        int r = stream_gap_read(
                redis, stream, service->shared->group, !service->shared->trims_inputs, service->program->outbox_stale, &gap);
        if (lag)
                *lag = gap.lag;
        if (!r) {
                pthread_mutex_lock(&service->health.lock);
                memcpy(service->counted[i], gap.counted, sizeof(gap.counted));
                pthread_mutex_unlock(&service->health.lock);
        }
        if (r || !gap.lost)
                return r;
        if (gap.lost < 0) {
                log_write(LOG_WARN,
                        "the group's place in the stream was set by hand; what it passed over is not read, verify names it",
                        "stream=%s place=%s", stream, gap.after);
                return 0;
        }
        log_write(LOG_ERROR, "entries lost: they were trimmed away before this group had read them",
                "stream=%s entries=%lld after=%s before=%s", stream, (long long)gap.lost, gap.after,
                *gap.before ? gap.before : "unknown");
        metrics_add(service->metrics, &stage_lost_entries, (double)gap.lost, stream, NULL, NULL);
        return 0;
}

static void observe(void *context, const char *statement, double seconds)
{
        struct service *service = context;
        metrics_observe(service->metrics, &stage_query_seconds, seconds, statement, NULL, NULL);
}

int service_open_db(
        struct service *service, struct db **out, int64_t timeout_ms, void (*tick)(void *), void *context, char **problem)
{
        AUTO(text) char *url = settings_text_now(service->program->settings, "DATABASE_URL", service->shared->database_url);
        const struct db_options options = {
                .url = url,
                .application = service->program->name,
                .prepared = service->shared->prepared,
                .connect_timeout_ms = timeout_ms,
                .ends_at_stop = !tick,
                .tick = tick,
                .tick_context = context,
                .observe = observe,
                .observe_context = service,
        };
        return db_open(out, &options, problem);
}

int service_probe_db(struct db *db, int64_t timeout_ms, char why[SERVER_WHY_SIZE])
{
        AUTO(db_rows) struct db_rows *rows = NULL;
        int r = db_query(db, &sql_00_ping, NULL, 0, &rows, timeout_ms);
        const char *closed = r ? db_error(db) : db_rows_text(rows, 0, 0);
        snprintf(why, SERVER_WHY_SIZE, "%s", closed ? closed : "");
        return closed ? -1 : 0;
}
