#include "service.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>
#include "backoff.h"
#include "clock.h"
#include "command.h"
#include "http.h"
#include "keeper.h"
#include "log.h"
#include "migrations/schema.h"
#include "overview.h"
#include "page.h"
#include "stage.h"
#include "status.h"
#include "worker.h"

#define WAIT_TIMEOUT_MS 5000
#define SAY_AGAIN_MS    30000
#define ALIVE_MS        60000

/* The only global: asked to stop. An eventfd, so that every wait can look at it; once readable it stays so. */
static atomic_int stop_fd = -1;
static atomic_bool stopping;

bool service_stopping(void)
{
        return atomic_load(&stopping);
}

bool service_wait(int64_t ms)
{
        struct pollfd fd = {.fd = atomic_load(&stop_fd), .events = POLLIN};
        (void)poll(&fd, 1, ms > 60000 ? 60000 : (int)ms);
        return service_stopping();
}

static void stop(void)
{
        atomic_store(&stopping, true);
        (void)!write(atomic_load(&stop_fd), &(uint64_t){1}, sizeof(uint64_t));
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

/* ---- waiting for what has to be there ---- */

static void waits_for(struct service *service, const char *line)
{
        pthread_mutex_lock(&service->health.lock);
        snprintf(service->health.waiting, sizeof(service->health.waiting), "%s", line);
        pthread_mutex_unlock(&service->health.lock);
}

/* Says what is waited for when that changes, and again every half minute. */
static void say(struct service *service, int64_t *said_ms, const char *what, const char *why)
{
        char line[sizeof(service->health.waiting)];
        snprintf(line, sizeof(line), "%s: %s", what, why);
        if (!strcmp(line, service->health.waiting) && clock_ms() - *said_ms < SAY_AGAIN_MS)
                return;
        waits_for(service, line);
        *said_ms = clock_ms();
        log_write(LOG_WARN, "waiting", "for=%s reason=%s", what, why);
}

static void warn_of_config(struct redis *redis)
{
        AUTO(redis_reply) struct redis_reply *policy = NULL;
        AUTO(redis_reply) struct redis_reply *append = NULL;
        AUTO(redis_reply) struct redis_reply *save = NULL;
        if (redis_call(redis, &policy, "CONFIG", "GET", "maxmemory-policy", NULL) ||
                redis_call(redis, &append, "CONFIG", "GET", "appendonly", NULL) ||
                redis_call(redis, &save, "CONFIG", "GET", "save", NULL)) {
                log_write(LOG_INFO, "Redis does not tell its configuration; eviction and persistence are not checked", NULL);
                return;
        }
        const char *value = redis_reply_text(redis_reply_item(policy, 1), NULL);
        if (value && strcmp(value, "noeviction"))
                log_write(LOG_WARN, "Redis may evict streams when memory runs out; set maxmemory-policy to noeviction",
                        "maxmemory_policy=%s", value);
        const char *aof = redis_reply_text(redis_reply_item(append, 1), NULL),
                   *rdb = redis_reply_text(redis_reply_item(save, 1), NULL);
        if (aof && !strcmp(aof, "no") && rdb && !*rdb)
                log_write(LOG_WARN, "Redis does not persist: a restart loses the input streams; set appendonly to yes", NULL);
}

static bool redis_is_there(struct service *service, int64_t *said_ms)
{
        AUTO(redis) struct redis *redis = NULL;
        AUTO(text) char *problem = NULL;
        if (service_open_redis(service, &redis, WAIT_TIMEOUT_MS, &problem)) {
                say(service, said_ms, "redis", problem);
                return false;
        }
        warn_of_config(redis);
        return true;
}

static bool postgres_is_there(struct service *service, int64_t *said_ms)
{
        AUTO(db) struct db *db = NULL;
        AUTO(text) char *problem = NULL;
        int64_t version;
        if (service_open_db(service, &db, WAIT_TIMEOUT_MS, NULL, NULL, &problem)) {
                say(service, said_ms, "postgresql", problem);
                return false;
        }
        const char *why = NULL, *encoding = db_parameter(db, "server_encoding");
        if (encoding && strcmp(encoding, "UTF8")) {
                say(service, said_ms, "database encoding",
                        "the database is not UTF8 and cannot hold every event: make one with ENCODING 'UTF8'");
                return false;
        }
        if (service->program->prepare && service->program->prepare(service, db, &why)) {
                say(service, said_ms, "postgresql", why ? why : db_error(db));
                return false;
        }
        int r = schema_check(db, &version);
        if (r) {
                char text[SCHEMA_EXPLAIN_SIZE];
                schema_explain(db, r, text);
                say(service, said_ms, "schema", text);
        } else {
                (void)!overview_note(service, db, false); /* who starts next counts this replica; the keeper notes it again */
        }
        return !r;
}

static bool wait_for_servers(struct service *service)
{
        int64_t said_ms = 0;
        struct backoff backoff;
        backoff_init(&backoff, 100, 2000, (uint64_t)clock_wall_ms());
        while (!redis_is_there(service, &said_ms))
                if (service_wait(backoff_next(&backoff)))
                        return false;
        backoff_reset(&backoff);
        waits_for(service, "");
        while (!postgres_is_there(service, &said_ms))
                if (service_wait(backoff_next(&backoff)))
                        return false;
        waits_for(service, "");
        return true;
}

/* ---- HTTP ---- */

static void answer_health(void *context, struct http_answer *out)
{
        bool healthy;
        out->body = status_health(context, &healthy);
        out->content_type = "application/json";
        out->status = healthy ? 200 : 503;
}

/* Alive: every worker showed a sign of life lately; waiting for a server is life. */
static void answer_live(void *context, struct http_answer *out)
{
        struct service *service = context;
        bool alive = true;
        for (int64_t i = 0; atomic_load(&service->ready) && i < service->shared->workers; i++)
                alive = alive && clock_ms() - atomic_load(&service->alive_ms[i]) < ALIVE_MS;
        *out = (struct http_answer){.status = alive ? 200 : 503, .content_type = "text/plain; charset=utf-8"};
        out->body = strdup(alive ? "alive\n" : "a worker hangs\n");
}

static void answer_ready(void *context, struct http_answer *out)
{
        bool ready = status_ready(context);
        *out = (struct http_answer){.status = ready ? 200 : 503, .content_type = "text/plain; charset=utf-8"};
        out->body = strdup(ready ? "ready\n" : "not ready\n");
}

static void answer_metrics(void *context, struct http_answer *out)
{
        struct service *service = context;
        bool redis, postgres;
        status_servers(service, &redis, &postgres);
        metrics_set(service->metrics, &stage_server_up, redis, "redis", NULL, NULL);
        metrics_set(service->metrics, &stage_server_up, postgres, "postgresql", NULL, NULL);
        metrics_set(service->metrics, &stage_ready, status_ready(service), NULL, NULL, NULL);
        metrics_set(service->metrics, &stage_breaker_state, breaker_get(&service->breaker) != BREAKER_CLOSED, NULL, NULL, NULL);
        metrics_set(service->metrics, &stage_crew_size, (double)crew_size(&service->crew, clock_ms()), NULL, NULL, NULL);
        *out = (struct http_answer){.status = 200,
                .content_type = "text/plain; version=0.0.4; charset=utf-8",
                .body = metrics_print(service->metrics)};
}

static void answer_status(void *context, struct http_answer *out)
{
        struct service *service = context;
        pthread_mutex_lock(&service->health.lock);
        bool looked = service->health.postgres.looked_ms;
        pthread_mutex_unlock(&service->health.lock);
        out->body = looked ? overview_json(service->overview, service) : strdup("{\"error\":\"the first look is under way\"}");
        out->status = looked ? 200 : 503;
        out->content_type = "application/json";
}

/* The page may load its own script, style and status, and nothing else. */
static void answer_text(struct http_answer *out, const char *type, const char *text)
{
        out->content_type = type;
        out->body = strdup(text);
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

static const struct http_route routes[] = {
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

/* ---- running ---- */

struct signals {
        pthread_t thread;
        int fd;
        int64_t patience_ms;
};

/* One signal asks to stop; a second one, or time, ends the process at once. */
static void *signals_run(void *argument)
{
        const struct signals *signals = argument;
        struct signalfd_siginfo info;
        struct pollfd fd = {.fd = signals->fd, .events = POLLIN};
        if (read(signals->fd, &info, sizeof(info)) != (ssize_t)sizeof(info))
                return NULL;
        log_write(LOG_INFO, "stopping: finishing the batch", "signal=%s", info.ssi_signo == SIGTERM ? "SIGTERM" : "SIGINT");
        stop();
        if (poll(&fd, 1, (int)signals->patience_ms))
                log_write(LOG_WARN, "second signal: ending at once; what is pending is taken up at the next start", NULL);
        else
                log_write(LOG_ERROR,
                        "not finished within SHUTDOWN_TIMEOUT_MS: ending; what is pending is taken up at the next start", NULL);
        _exit(1);
}

static int catch_signals(struct signals *signals, int64_t patience_ms)
{
        sigset_t set;
        sigemptyset(&set);
        sigaddset(&set, SIGTERM);
        sigaddset(&set, SIGINT);
        pthread_sigmask(SIG_BLOCK, &set, NULL);
        signal(SIGPIPE, SIG_IGN);
        atomic_store(&stop_fd, eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
        *signals = (struct signals){.fd = signalfd(-1, &set, SFD_CLOEXEC), .patience_ms = patience_ms};
        if (signals->fd < 0 || atomic_load(&stop_fd) < 0)
                return -errno;
        return -pthread_create(&signals->thread, NULL, signals_run, signals);
}

/* Counters that alerts watch are there from the start, as 0: an increase from nothing is none. */
static void touch_counters(struct service *service)
{
        static const char *const servers[] = {"redis", "postgresql"};
        const char *const *streams = service->program->inputs(service->config);
        for (size_t i = 0; i < ARRAY_LENGTH(servers); i++)
                metrics_add(service->metrics, &stage_reconnects, 0, servers[i], NULL, NULL);
        for (size_t i = 0; streams[i]; i++) {
                metrics_add(service->metrics, &stage_messages, 0, streams[i], NULL, NULL);
                metrics_add(service->metrics, &stage_lost_entries, 0, streams[i], NULL, NULL);
                metrics_add(service->metrics, &stage_trimmed, 0, streams[i], NULL, NULL);
                metrics_add(service->metrics, &stage_reorgs, 0, streams[i], NULL, NULL);
        }
}

static void run_workers(struct service *service)
{
        size_t count = (size_t)service->shared->workers, started = 0;
        struct worker **workers = memory_new(count, sizeof(*workers));
        void *(*beside)(void *) = service->program->beside;
        pthread_t thread;
        if (beside && pthread_create(&thread, NULL, beside, service)) {
                log_write(LOG_ERROR, "cannot start a thread", "error=%s", strerror(errno));
                _exit(1);
        }
        atomic_store(&service->gather_until_ms, clock_ms()); /* one worker looks what is ahead */
        crew_begin(&service->crew, clock_ms());
        while (started < count) {
                int r = worker_start(&workers[started], service, (unsigned)started);
                if (r) {
                        log_write(LOG_ERROR, "cannot start a worker thread", "error=%s", strerror(-r));
                        _exit(1); /* nothing is lost: what was read is pending */
                }
                started++;
        }
        atomic_store(&service->ready, true);
        log_write(LOG_INFO, "running", "workers=%zu group=%s consumer=%s version=%s", count, service->shared->group,
                service->shared->consumer_name, PROJECT_VERSION);
        while (!service_wait(60000))
                ;
        for (size_t i = 0; i < count; i++)
                worker_join(workers[i]);
        if (beside)
                pthread_join(thread, NULL);
        free(workers);
}

static int service_run(struct service *service)
{
        AUTO(http) struct http *http = NULL;
        const char *problem = NULL;
        struct keeper *keeper = NULL;
        struct signals *signals = calloc(1, sizeof(*signals)); /* its thread lives as long as the process */
        if (!signals || catch_signals(signals, service->shared->shutdown_timeout_ms)) {
                log_write(LOG_ERROR, "cannot catch signals", "error=%s", strerror(errno));
                return 1;
        }
        service->overview = overview_new();
        if (http_open(&http, service->shared->http_bind, (uint16_t)service->shared->http_port, routes, service, &problem)) {
                log_write(LOG_ERROR, "cannot listen; set HTTP_PORT or HTTP_BIND", "bind=%s port=%lld error=%s",
                        service->shared->http_bind, (long long)service->shared->http_port, problem);
                return 1;
        }
        if (keeper_start(&keeper, service)) {
                log_write(LOG_ERROR, "cannot start threads", "error=%s", strerror(errno));
                return 1;
        }
        touch_counters(service);
        if (wait_for_servers(service))
                run_workers(service);
        keeper_join(keeper);
        log_write(LOG_INFO, "stopped", "events=%.0f", metrics_get(service->metrics, &stage_events_processed, NULL, NULL, NULL));
        return 0;
}

static void service_deinit(struct service *service)
{
        settings_deinit(service->program->settings, service->config);
        config_deinit(service->config);
        metrics_free(service->metrics);
        breaker_deinit(&service->breaker);
        crew_deinit(&service->crew);
        overview_free(service->overview);
        queued_deinit(&service->queued);
        free(service->config);
}

int service_main(const struct program *program, int argc, char **argv)
{
        struct service service = {.program = program, .health.lock = PTHREAD_MUTEX_INITIALIZER};
        service.config = memory_new(1, program->config_size);
        service.shared = service.config;
        int code;
        if (command_needs_no_settings(program, argc, argv, &code)) {
                free(service.config);
                return code;
        }
        char *problems = NULL;
        if (settings_read(program->settings, service.config, &problems)) {
                fprintf(stderr, "%s: bad configuration, nothing was touched:\n%s", program->name, problems);
                free(problems);
                free(service.config);
                return 2;
        }
        config_derive(service.config);
        const char *wrong = config_check(service.config, program->inputs(service.config));
        log_init(program->name, (enum log_level)service.shared->log_level, (enum log_format)service.shared->log_format);
        service.metrics = metrics_new();
        stage_register(service.metrics, program->name);
        breaker_init(&service.breaker, (unsigned)service.shared->breaker_threshold, service.shared->breaker_timeout_ms);
        for (size_t i = 0; i < WORK_TURNS; i++)
                pthread_mutex_init(&service.turns[i], NULL);
        queued_init(&service.queued, ((size_t)service.shared->batch_max + 1) / 2);
        crew_init(&service.crew, service.shared->workers);
        limiter_init(&service.limiter, service.shared->messages_per_second, clock_ms());
        if (wrong) {
                fprintf(stderr, "%s: bad configuration, nothing was touched:\n%s\n", program->name, wrong);
                code = 2;
        } else {
                code = argc < 2 ? service_run(&service) : command_run(&service, argc, argv);
        }
        service_deinit(&service);
        return code;
}
