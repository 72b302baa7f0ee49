#include "common/stage/work.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "common/base/log.h"

#define MUTEX_PATIENCE_MS 25 /* about a batch's time in one table */

void work_add_key(struct work *work, const char *term_id, const char *curve_id, const char *reason, int64_t block_number)
{
        work->keys = memory_grow(work->keys, &work->key_capacity, work->key_count + 1, sizeof(*work->keys));
        work->keys[work->key_count++] =
                (struct stream_key){.term_id = term_id, .curve_id = curve_id, .reason = reason, .block_number = block_number};
}

void work_add_bucket(struct work *work, const char *bucket, const char *reason, int64_t block_number)
{
        work->keys = memory_grow(work->keys, &work->key_capacity, work->key_count + 1, sizeof(*work->keys));
        work->keys[work->key_count++] = (struct stream_key){.bucket = bucket, .reason = reason, .block_number = block_number};
}

void work_add_dead_letter(struct work *work, const struct stream_entry *entry, const char *event_index, const char *error_class,
        const char *error, int64_t attempts)
{
        work->dead_letters = memory_grow(
                work->dead_letters, &work->dead_letter_capacity, work->dead_letter_count + 1, sizeof(*work->dead_letters));
        work->dead_letters[work->dead_letter_count++] = (struct stream_dead_letter){
                .entry = entry,
                .event_index = event_index,
                .error_class = error_class,
                .error = error,
                .attempts = attempts,
        };
}

static int compare_texts(const char *a, const char *b)
{
        return strcmp(a ? a : "", b ? b : "");
}

static int compare_names(const struct stream_key *a, const struct stream_key *b)
{
        int order = compare_texts(a->bucket, b->bucket);
        if (!order)
                order = compare_texts(a->term_id, b->term_id);
        return order ? order : compare_texts(a->curve_id, b->curve_id);
}

/* The highest block first: it is the one that stays. */
static int compare_keys(const void *left, const void *right)
{
        const struct stream_key *a = left, *b = right;
        int order = compare_names(a, b);
        return order ? order : (a->block_number < b->block_number) - (a->block_number > b->block_number);
}

void work_fold_keys(struct work *work)
{
        size_t kept = 0;
        if (work->key_count)
                qsort(work->keys, work->key_count, sizeof(*work->keys), compare_keys);
        for (size_t i = 0; i < work->key_count; i++)
                if (!kept || compare_names(&work->keys[kept - 1], &work->keys[i]))
                        work->keys[kept++] = work->keys[i];
        work->key_count = kept;
}

void work_deinit(struct work *work)
{
        free(work->keys);
        free(work->dead_letters);
        *work = (struct work){0};
}

static int run_single(struct work *work, const struct work_bisect *bisect, size_t unit)
{
        int r = 0;
        for (int64_t attempt = 1; attempt <= work->max_retries; attempt++) {
                r = bisect->run(work, bisect->context, unit, 1);
                if (r != DB_BAD_DATA)
                        break;
        }
        if (r == DB_BAD_DATA) {
                if (bisect->blame)
                        bisect->blame(work, bisect->context, unit, db_error(work->db), work->max_retries);
                return 0;
        }
        if (r == DB_DEADLINE && bisect->entry) {
                struct stream_entry *entry = bisect->entry(bisect->context, unit);
                entry->left = true;
                log_write(LOG_ERROR,
                        "a single message takes longer than PROCESSING_TIMEOUT_MS, or waits for a lock; it stays pending and is "
                        "tried again",
                        "stream=%s id=%s deadline_ms=%lld error=%s", entry->stream, entry->id, (long long)work->deadline_ms,
                        db_error(work->db));
                return db_alive(work->db) ? 0 : -1;
        }
        return r;
}

int work_run(struct work *work, const struct work_bisect *bisect, size_t from, size_t count)
{
        if (!count)
                return 0;
        if (count == 1)
                return run_single(work, bisect, from);
        int r = bisect->run(work, bisect->context, from, count);
        if (r <= 0)
                return r;
        if (r == DB_DEADLINE)
                log_write(LOG_WARN, "a batch takes longer than PROCESSING_TIMEOUT_MS, or waits for a lock; it is halved",
                        "units=%zu deadline_ms=%lld error=%s", count, (long long)work->deadline_ms, db_error(work->db));
        size_t half = count / 2;
        r = work_run(work, bisect, from, half);
        return r ? r : work_run(work, bisect, from + half, count - half);
}

static bool try_mutex(pthread_mutex_t *mutex, int64_t wait_ms)
{
        struct timespec until;
        if (!wait_ms)
                return !pthread_mutex_trylock(mutex);
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += wait_ms % 1000 * 1000000;
        until.tv_sec += wait_ms / 1000 + until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        return !pthread_mutex_clocklock(mutex, CLOCK_MONOTONIC, &until);
}

static bool pick_one(const struct work *work, const bool *done, size_t count, size_t *which)
{
        size_t any = count;
        for (*which = 0; *which < count; ++*which) {
                if (done[*which])
                        continue;
                if (try_mutex(&work->mutexes[*which], 0))
                        return true;
                if (any == count)
                        any = *which;
        }
        *which = any;
        return any < count && try_mutex(&work->mutexes[any], MUTEX_PATIENCE_MS);
}

int work_run_each(struct work *work, bool *done, size_t count, int (*run)(struct work *, void *, size_t which), void *context)
{
        for (;;) {
                size_t which;
                bool locked = pick_one(work, done, count, &which);
                if (which == count)
                        return 0;
                int r = run(work, context, which);
                if (locked)
                        pthread_mutex_unlock(&work->mutexes[which]);
                if (r)
                        return r;
                done[which] = true;
        }
}
