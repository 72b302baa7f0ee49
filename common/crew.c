#include "crew.h"

void crew_init(struct crew *crew, int64_t workers)
{
        *crew = (struct crew){.lock = PTHREAD_MUTEX_INITIALIZER, .workers = workers, .replicas = 1};
}

void crew_deinit(struct crew *crew)
{
        pthread_mutex_destroy(&crew->lock);
}

static bool is_over(const struct crew *crew, int64_t now_ms)
{
        return crew->phase == CREW_CALM || now_ms - crew->noted_ms >= CREW_TRY_MS;
}

static void enter(struct crew *crew, enum crew_phase phase, int64_t now_ms, int64_t read, int64_t lasts_ms)
{
        crew->phase = phase;
        crew->since_ms = now_ms;
        crew->since_read = read;
        crew->lasts_ms = lasts_ms;
}

void crew_begin(struct crew *crew, int64_t now_ms)
{
        pthread_mutex_lock(&crew->lock);
        crew->phase = CREW_FIRST;
        crew->noted_ms = now_ms;
        pthread_mutex_unlock(&crew->lock);
}

void crew_read(struct crew *crew)
{
        pthread_mutex_lock(&crew->lock);
        if (crew->phase == CREW_FIRST)
                crew->phase = CREW_CALM;
        pthread_mutex_unlock(&crew->lock);
}

bool crew_wants_note(struct crew *crew, int64_t now_ms)
{
        pthread_mutex_lock(&crew->lock);
        bool wants = crew->workers > 1 && (!crew->asked_ms || now_ms - crew->asked_ms >= CREW_NOTE_MS);
        if (wants)
                crew->asked_ms = now_ms;
        pthread_mutex_unlock(&crew->lock);
        return wants;
}

bool crew_is_first(struct crew *crew)
{
        pthread_mutex_lock(&crew->lock);
        bool first = crew->phase == CREW_FIRST;
        pthread_mutex_unlock(&crew->lock);
        return first;
}

/* What its time has shown. */
static void end_phase(struct crew *crew, int64_t now_ms, int64_t read)
{
        const double rate = (double)(read - crew->since_read) / (double)(now_ms - crew->since_ms);
        switch (crew->phase) {
        case CREW_SHARE:
                crew->shared = rate;
                enter(crew, CREW_TRIAL, now_ms, read, CREW_TRY_MS);
                break;
        case CREW_TRIAL:
                enter(crew, rate * 6 >= crew->shared * 7 ? CREW_ALL : CREW_SHARE, now_ms, read, CREW_AGAIN_MS);
                break;
        default:
                enter(crew, CREW_SHARE, now_ms, read, CREW_TRY_MS);
        }
}

void crew_note(struct crew *crew, int64_t now_ms, int64_t read, int64_t replicas)
{
        pthread_mutex_lock(&crew->lock);
        /* what was measured does not count with other replicas, or where the group was made anew */
        if (crew->phase == CREW_FIRST || is_over(crew, now_ms) || replicas != crew->replicas || 2 * read < crew->noted_read)
                enter(crew, CREW_SHARE, now_ms, read, CREW_TRY_MS);
        else if (now_ms - crew->since_ms >= crew->lasts_ms)
                end_phase(crew, now_ms, read);
        crew->noted_ms = now_ms;
        crew->noted_read = read;
        crew->replicas = replicas;
        pthread_mutex_unlock(&crew->lock);
}

void crew_release(struct crew *crew)
{
        pthread_mutex_lock(&crew->lock);
        crew->phase = CREW_CALM;
        pthread_mutex_unlock(&crew->lock);
}

int64_t crew_size(struct crew *crew, int64_t now_ms)
{
        pthread_mutex_lock(&crew->lock);
        const enum crew_phase phase = is_over(crew, now_ms) ? CREW_CALM : crew->phase;
        const int64_t share = phase == CREW_FIRST ? 0 : phase == CREW_SHARE ? crew->workers / crew->replicas : crew->workers;
        pthread_mutex_unlock(&crew->lock);
        return share ? share : 1;
}
