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

/* Adds to why a server could not be reached that its URL is not what its file says now. */
static void add_file(char **problem, const char *variable, const char *file)
{
        char *both = NULL;
        if (!file || !*problem)
                return;
        if (asprintf(&both, "%s; %s_FILE: %s, so the value that it had before is used", *problem, variable, file) < 0)
                memory_end();
        free(*problem);
        *problem = both;
}

int service_open_redis(const struct service *service, struct redis **out, int64_t timeout_ms, char **problem)
{
        const char *file;
        AUTO(text) char *url = settings_text_now(service->program->settings, "REDIS_URL", service->shared->redis_url, &file);
        const struct redis_options options = {
                .url = url,
                .ca_file = service->shared->redis_ca_file,
                .cert_file = service->shared->redis_cert_file,
                .key_file = service->shared->redis_key_file,
                .keys = service->shared->streams,
                .timeout_ms = timeout_ms,
        };
        int r = redis_open(out, &options, problem);
        add_file(problem, "REDIS_URL", file);
        return r;
}

int service_tell_gap(struct service *service, struct redis *redis, const char *stream, int64_t *lag)
{
        struct stream_gap gap;
        int r = stream_gap_read(
                redis, stream, service->shared->group, !service->shared->trims_inputs, service->program->outbox_stale, &gap);
        if (lag)
                *lag = gap.lag;
        if (r || !gap.lost)
                return r;
        if (gap.lost < 0) {
                log_write(LOG_WARN,
                        "how many entries the group has read is not known: its place was set by hand, or Redis was restarted "
                        "while "
                        "it read; what it passed over is not read, verify names it",
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
        const char *file;
        AUTO(text)
        char *url = settings_text_now(service->program->settings, "DATABASE_URL", service->shared->database_url, &file);
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
        int r = db_open(out, &options, problem);
        add_file(problem, "DATABASE_URL", file);
        return r;
}

int service_probe_db(struct db *db, int64_t timeout_ms, char why[SERVER_WHY_SIZE])
{
        AUTO(db_rows) struct db_rows *rows = NULL;
        int r = db_query(db, &sql_00_ping, NULL, 0, &rows, timeout_ms);
        const char *closed = r ? db_error(db) : db_rows_text(rows, 0, 0);
        snprintf(why, SERVER_WHY_SIZE, "%s", closed ? closed : "");
        return closed ? -1 : 0;
}
