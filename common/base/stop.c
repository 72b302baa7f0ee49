#include "common/base/stop.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>
#include "common/base/clock.h"
#include "common/base/log.h"

static atomic_bool requested;
static atomic_llong urgent_ms = INT64_MAX; /* monotonic */
static int stop_fd = -1;                   /* an eventfd: once readable it stays so. Written before the first thread */

struct signals {
        int fd;
        int64_t patience_ms;
};

bool stop_requested(void)
{
        return atomic_load(&requested);
}

bool stop_is_urgent(void)
{
        return clock_ms() >= atomic_load(&urgent_ms);
}

bool stop_wait(int64_t ms)
{
        struct pollfd fd = {.fd = stop_fd, .events = POLLIN};
        (void)poll(&fd, 1, ms > 60000 ? 60000 : (int)ms);
        return stop_requested();
}

static void *signals_run(void *argument)
{
        const struct signals *signals = argument;
        struct signalfd_siginfo info;
        struct pollfd fd = {.fd = signals->fd, .events = POLLIN};
        if (read(signals->fd, &info, sizeof(info)) != (ssize_t)sizeof(info))
                return NULL;
        log_write(LOG_INFO, "stopping: finishing the batch", "signal=%s", info.ssi_signo == SIGTERM ? "SIGTERM" : "SIGINT");
        atomic_store(&urgent_ms, clock_ms() + signals->patience_ms / 2);
        atomic_store(&requested, true);
        (void)!write(stop_fd, &(uint64_t){1}, sizeof(uint64_t));
        if (poll(&fd, 1, (int)signals->patience_ms))
                log_write(LOG_WARN, "second signal: ending at once; pending entries are read again at the next start", NULL);
        else
                log_write(LOG_ERROR,
                        "not finished within SHUTDOWN_TIMEOUT_MS: ending; pending entries are read again at the next start",
                        NULL);
        _exit(1);
}

int stop_init(int64_t patience_ms)
{
        static struct signals signals; /* of the thread, which ends with the process */
        pthread_t thread;
        sigset_t set;
        sigemptyset(&set);
        sigaddset(&set, SIGTERM);
        sigaddset(&set, SIGINT);
        pthread_sigmask(SIG_BLOCK, &set, NULL);
        signal(SIGPIPE, SIG_IGN);
        stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (stop_fd < 0)
                return -errno;
        signals = (struct signals){.fd = signalfd(-1, &set, SFD_CLOEXEC), .patience_ms = patience_ms};
        if (signals.fd < 0)
                return -errno;
        int r = pthread_create(&thread, NULL, signals_run, &signals);
        if (!r)
                pthread_detach(thread);
        return -r;
}
