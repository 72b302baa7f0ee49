#include "common/io/resolve.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include "common/base/clock.h"
#include "common/base/stop.h"

#define TICK_MS 250

/* Of the thread and of who waits for it; the one that is last to let go of it frees it. */
struct job {
        pthread_mutex_t lock;
        pthread_cond_t changed;
        bool done, abandoned;
        int result;
        struct addrinfo *found;
        char host[];
};

static void job_free(struct job *job)
{
        if (job->found)
                freeaddrinfo(job->found);
        pthread_cond_destroy(&job->changed);
        pthread_mutex_destroy(&job->lock);
        free(job);
}

static void *run(void *context)
{
        const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
        struct job *job = context;
        struct addrinfo *found = NULL;
        int result = getaddrinfo(job->host, NULL, &hints, &found);
        pthread_mutex_lock(&job->lock);
        job->result = result;
        job->found = result ? NULL : found;
        job->done = true;
        const bool abandoned = job->abandoned;
        pthread_cond_signal(&job->changed);
        pthread_mutex_unlock(&job->lock);
        if (abandoned)
                job_free(job);
        return NULL;
}

static struct job *job_start(const char *host)
{
        struct job *job = memory_new(1, sizeof(*job) + strlen(host) + 1);
        pthread_condattr_t monotonic;
        pthread_attr_t detached;
        pthread_t thread;
        memcpy(job->host, host, strlen(host) + 1);
        pthread_mutex_init(&job->lock, NULL);
        pthread_condattr_init(&monotonic);
        pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
        pthread_cond_init(&job->changed, &monotonic);
        pthread_condattr_destroy(&monotonic);
        pthread_attr_init(&detached);
        pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
        const int refused = pthread_create(&thread, &detached, run, job);
        pthread_attr_destroy(&detached);
        if (!refused)
                return job;
        job_free(job);
        errno = refused;
        return NULL;
}

/* Whether it is done by then. */
static bool job_wait(struct job *job, int64_t until_ms)
{
        const struct timespec until = {.tv_sec = until_ms / 1000, .tv_nsec = until_ms % 1000 * 1000000};
        pthread_mutex_lock(&job->lock);
        while (!job->done && !pthread_cond_timedwait(&job->changed, &job->lock, &until))
                ;
        const bool done = job->done;
        pthread_mutex_unlock(&job->lock);
        return done;
}

static void job_leave(struct job *job)
{
        pthread_mutex_lock(&job->lock);
        job->abandoned = true;
        const bool done = job->done;
        pthread_mutex_unlock(&job->lock);
        if (done)
                job_free(job);
}

int resolve_host(const char *host, const struct resolve_wait *wait, struct addrinfo **found, char *problem, size_t problem_size)
{
        const int64_t deadline = clock_ms() + wait->limit_ms;
        const char *why = "no answer from the name servers in time";
        const struct addrinfo numeric = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST};
        *found = NULL;
        if (!getaddrinfo(host, NULL, &numeric, found))
                return 0;
        struct job *job = job_start(host);
        bool done = false;
        while (job && !done && clock_ms() < deadline && !(wait->ends_at_stop && stop_requested())) {
                done = job_wait(job, clock_ms() + TICK_MS < deadline ? clock_ms() + TICK_MS : deadline);
                if (!done && wait->tick)
                        wait->tick(wait->context);
        }
        if (!job)
                why = strerror(errno);
        else if (done && job->result)
                why = gai_strerror(job->result);
        else if (done) {
                *found = job->found;
                job->found = NULL;
        }
        if (job)
                job_leave(job);
        if (*found)
                return 0;
        snprintf(problem, problem_size, "could not translate host name \"%s\" to address: %s", host, why);
        return job && !done && clock_ms() < deadline ? RESOLVE_STOPPED : RESOLVE_FAILED;
}
