#include "common/main.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/stop.h"
#include "common/cli/command.h"
#include "common/cli/tell.h"
#include "common/io/http.h"
#include "common/stage/health.h"
#include "common/stage/housekeeping.h"
#include "common/stage/stage.h"
#include "common/stage/startup.h"
#include "common/stage/worker.h"
#include "common/view/watch.h"
#include "common/view/web.h"

/* Counters that alerts watch are there from the start, as 0: an increase from nothing is none. */
static void touch_counters(struct service *service)
{
        static const char *const servers[] = {"redis", "postgresql"};
        const char *const *streams = service->shared->inputs;
        for (size_t i = 0; i < ARRAY_LENGTH(servers); i++)
                metrics_add(service->metrics, &stage_reconnects, 0, servers[i], NULL, NULL);
        for (size_t i = 0; streams[i]; i++) {
                metrics_add(service->metrics, &stage_messages, 0, streams[i], NULL, NULL);
                metrics_add(service->metrics, &stage_lost_entries, 0, streams[i], NULL, NULL);
                metrics_add(service->metrics, &stage_trimmed, 0, streams[i], NULL, NULL);
        }
}

/* Threads that run already use what main would free: the process ends. Nothing is lost: what was read is pending. */
static void must_start(int r)
{
        if (!r)
                return;
        log_write(LOG_ERROR, "cannot start a thread", "error=%s", strerror(-r));
        _exit(1);
}

/* What it reads and where it writes: a typo shows here. */
static void tell_running(const struct service *service)
{
        const struct config *config = service->shared;
        const char *const *streams = config->inputs;
        char place[512], list[4096] = "";
        db_url_place(config->database_url, place, sizeof(place));
        for (size_t i = 0, used = 0; streams[i] && used < sizeof(list); i++)
                used += (size_t)snprintf(list + used, sizeof(list) - used, "%s%s", i ? "," : "", streams[i]);
        log_write(LOG_INFO, "running",
                "workers=%lld streams=%s group=%s consumer=%s network=%s database=%s http=%s:%lld version=%s",
                (long long)config->workers, list, config->group, config->consumer_name,
                config->event_network || service_reads_keys(service) ? config->event_network : "that of the first event stored",
                place, config->http_bind, (long long)config->http_port, PROJECT_VERSION);
}

static void run_workers(struct service *service)
{
        int count = (int)service->shared->workers;
        struct worker **workers = memory_new((size_t)count, sizeof(*workers));
        void *(*beside)(void *) = service->program->beside;
        pthread_t thread;
        if (beside)
                must_start(-pthread_create(&thread, NULL, beside, service));
        for (int i = 0; i < count; i++)
                must_start(worker_start(&workers[i], service, i));
        atomic_store(&service->ready, true);
        tell_running(service);
        while (!stop_wait(60000))
                ;
        for (int i = 0; i < count; i++)
                worker_join(workers[i]);
        if (beside)
                pthread_join(thread, NULL);
        free(workers);
}

/* A crowd of HTTP clients must not take the descriptors that a new connection to a server needs. Three for each worker (Redis,
 * PostgreSQL, a cancel), and 64 for all else. */
static bool has_descriptors(int64_t workers)
{
        const rlim_t needed = (rlim_t)(3 * workers + HTTP_CONNECTIONS_MAX + 64);
        struct rlimit limit;
        if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur >= needed)
                return true;
        limit.rlim_cur = needed;
        if (limit.rlim_max >= needed && !setrlimit(RLIMIT_NOFILE, &limit))
                return true;
        log_write(LOG_ERROR,
                "the limit of open files is too low; raise it (ulimit -n, LimitNOFILE= of the unit) or set fewer WORKERS",
                "limit=%llu needed=%llu", (unsigned long long)limit.rlim_max, (unsigned long long)needed);
        return false;
}

static int run_service(struct service *service)
{
        AUTO(http) struct http *http = NULL;
        const char *problem = NULL;
        int r = stop_init(service->shared->shutdown_timeout_ms);
        if (r) {
                log_write(LOG_ERROR, "cannot catch signals", "error=%s", strerror(-r));
                return 1;
        }
        if (!has_descriptors(service->shared->workers))
                return 1;
        struct model *model = model_new();
        struct view view = {.service = service, .model = model};
        const struct {
                void *(*run)(void *);
                void *context;
        } threads[] = {{health_watch_redis, service}, {health_watch_db, service}, {housekeeping_run, service},
                {watch_streams, &view}, {watch_database, &view}};
        pthread_t ids[ARRAY_LENGTH(threads)];
        if (http_open(&http, service->shared->http_bind, (uint16_t)service->shared->http_port, web_routes, &view, &problem)) {
                log_write(LOG_ERROR, "cannot listen; set HTTP_PORT or HTTP_BIND", "bind=%s port=%lld error=%s",
                        service->shared->http_bind, (long long)service->shared->http_port, problem);
                model_free(model);
                return 1;
        }
        touch_counters(service);
        for (size_t i = 0; i < ARRAY_LENGTH(threads); i++)
                must_start(-pthread_create(&ids[i], NULL, threads[i].run, threads[i].context));
        if (startup_wait(service))
                run_workers(service);
        for (size_t i = 0; i < ARRAY_LENGTH(threads); i++)
                pthread_join(ids[i], NULL);
        http = http_close(http);
        model_free(model);
        log_write(LOG_INFO, "stopped", "events=%lld",
                (long long)metrics_get(service->metrics, &stage_events_processed, NULL, NULL, NULL));
        return 0;
}

static void init_service(struct service *service)
{
        const struct config *config = service->shared;
        service->metrics = metrics_new();
        stage_register(service->metrics, service->program->name, service->program->metrics);
        breaker_init(&service->breaker, (unsigned)config->breaker_threshold, config->breaker_timeout_ms);
        limiter_init(&service->limiter, config->messages_per_second, clock_ms());
        lane_init(&service->lane);
        pthread_mutex_init(&service->health.lock, NULL);
        for (size_t i = 0; i < WORK_MUTEXES; i++)
                pthread_mutex_init(&service->mutexes[i], NULL);
}

static void deinit_service(struct service *service)
{
        settings_deinit(service->program->settings, service->config);
        config_deinit(service->config);
        metrics_free(service->metrics);
        lane_deinit(&service->lane);
        free(service->config);
}

static int run_main(const struct program *program, int argc, char **argv, bool json)
{
        struct service service = {.program = program, .config = memory_new(1, program->config_size), .json = json};
        int code;
        char *problems = NULL;
        service.shared = service.config;
        if (command_needs_no_settings(program, argc, argv, &code)) {
                free(service.config);
                return code;
        }
        if (settings_read(program->settings, service.config, &problems)) {
                fprintf(stderr, "%s: bad configuration, nothing was touched:\n%s", program->name, problems);
                free(problems);
                free(service.config);
                return 2;
        }
        config_derive(service.config);
        program->derive(service.config);
        const char *wrong = config_check(service.config);
        log_init(program->name, (enum log_level)service.shared->log_level, (enum log_format)service.shared->log_format);
        settings_warn_of_near_names(program->settings);
        init_service(&service);
        if (wrong) {
                fprintf(stderr, "%s: bad configuration, nothing was touched:\n%s\n", program->name, wrong);
                code = 2;
        } else {
                code = argc < 2 ? run_service(&service) : command_run(&service, argc, argv);
        }
        deinit_service(&service);
        return code;
}

/* Else the next file that is opened, a server's socket, gets the number of a closed one, and what is printed or logged goes
 * there. Opened for reading, so that writing fails. */
static void hold_standard_streams(void)
{
        int fd;
        do
                fd = open("/dev/null", O_RDONLY);
        while (fd >= 0 && fd <= STDERR_FILENO);
        if (fd >= 0)
                close(fd);
}

/* The exit code, once all is written. */
static int end_output(const struct program *program, int code)
{
        const char *why = fflush(stdout) ? strerror(errno) : "a part before its end is lost";
        if (!ferror(stdout))
                return code;
        fprintf(stderr, "%s: what it found cannot be written: %s\n", program->name, why);
        return code ? code : 1;
}

int service_main(const struct program *program, int argc, char **argv)
{
        bool json;
        memory_init();
        hold_standard_streams();
        char **arguments = command_arguments(&argc, argv, &json);
        int code = run_main(program, argc, arguments, json);
        if (code == 2)
                tell_end(&(const struct service){.program = program, .json = json}, false, NULL, 0,
                        "bad usage or configuration, see stderr");
        free(arguments);
        return end_output(program, code);
}
