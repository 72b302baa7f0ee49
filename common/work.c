#include "work.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "log.h"

#define TURN_PATIENCE_MS 25
#define PARTS_FROM       200 /* terms; fewer are not long in anybody's way */
#define PART_TURN        1   /* the first is the stage's, see worker.c */

void work_add_key(struct work *work, const char *term_id, const char *curve_id, const char *reason, int64_t block_number)
{
        work->keys = memory_grow(work->keys, &work->key_capacity, work->key_count + 1, sizeof(*work->keys));
        work->keys[work->key_count++] =
                (struct stream_key){.term_id = term_id, .curve_id = curve_id, .reason = reason, .block_number = block_number};
}

void work_add_letter(struct work *work, const struct stream_entry *entry, const char *event_index, const char *error_class,
        const char *error, int64_t attempts)
{
        work->letters = memory_grow(work->letters, &work->letter_capacity, work->letter_count + 1, sizeof(*work->letters));
        work->letters[work->letter_count++] = (struct stream_letter){
                .entry = entry,
                .event_index = event_index,
                .error_class = error_class,
                .error = error,
                .attempts = attempts,
        };
}

static int compare_keys(const void *left, const void *right)
{
        const struct stream_key *a = left, *b = right;
        int order = strcmp(a->term_id, b->term_id);
        if (!order)
                order = strcmp(a->curve_id ? a->curve_id : "", b->curve_id ? b->curve_id : "");
        if (!order) /* the highest block first: it is the one that stays */
                order = (a->block_number < b->block_number) - (a->block_number > b->block_number);
        return order;
}

void work_fold_keys(struct work *work)
{
        size_t kept = 0;
        if (work->key_count)
                qsort(work->keys, work->key_count, sizeof(*work->keys), compare_keys);
        for (size_t i = 0; i < work->key_count; i++) {
                const struct stream_key *key = &work->keys[i], *last = kept ? &work->keys[kept - 1] : NULL;
                if (last && !strcmp(last->term_id, key->term_id) &&
                        !strcmp(last->curve_id ? last->curve_id : "", key->curve_id ? key->curve_id : ""))
                        continue;
                work->keys[kept++] = *key;
        }
        work->key_count = kept;
}

void work_deinit(struct work *work)
{
        free(work->keys);
        free(work->letters);
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
        size_t half = count / 2;
        r = work_run(work, bisect, from, half);
        return r ? r : work_run(work, bisect, from + half, count - half);
}

/* ---- keys ---- */

static bool is_id(const char *text, size_t size)
{
        return size == 66 && !strncmp(text, "0x", 2) && strspn(text + 2, "0123456789abcdef") == 64;
}

static void read_key(struct work *work, struct stream_entry *entry)
{
        size_t size = 0;
        const char *term = stream_entry_field(entry, "term_id", &size), *reason = stream_entry_field(entry, "reason", NULL);
        const char *block = stream_entry_field(entry, "block_number", NULL);
        if (!term || !is_id(term, size)) {
                work->units_failed++;
                work_add_letter(work, entry, "", term ? "format" : "missing",
                        term ? "term_id: is not 0x and 64 lower-case hex digits" : "term_id: the entry has no such field", 1);
                return;
        }
        if (!reason || !strcmp(reason, "backfill")) /* of this stage: to the next one it is no backfill (is_backfilled) */
                reason = reason ? "requeued" : "unknown";
        work_add_key(work, term, NULL, reason, block ? strtoll(block, NULL, 10) : 0);
        work->keys[work->key_count - 1].entry = entry;
}

static bool is_backfilled(const struct stream_entry *entry)
{
        const char *reason = stream_entry_field(entry, "reason", NULL);
        return reason && !strcmp(reason, "backfill");
}

static void blame_key(struct work *work, void *context, size_t unit, const char *error, int64_t attempts)
{
        (void)context;
        const struct stream_entry *entry = work->keys[unit].entry;
        if (is_backfilled(entry)) { /* stands in the outbox, comes again, and has had its letter */
                log_write(LOG_ERROR, "PostgreSQL refuses a key of the outbox; the backfill queues it again",
                        "stream=%s id=%s term_id=%s error=%s", entry->stream, entry->id, work->keys[unit].term_id, error);
                return;
        }
        work->units_failed++;
        work_add_letter(work, entry, "", "database", arena_format(work->arena, "refused by PostgreSQL: %s", error), attempts);
}

static struct stream_entry *key_entry(void *context, size_t unit)
{
        return ((struct work *)context)->keys[unit].entry;
}

int work_run_keys(struct work *work, int (*run)(struct work *work, void *context, size_t from, size_t count))
{
        const struct work_bisect bisect = {.run = run, .blame = blame_key, .entry = key_entry, .context = work};
        for (size_t i = 0; i < work->batch->count; i++)
                if (work->batch->entries[i].fields) /* else it is lost, and the worker says so */
                        read_key(work, &work->batch->entries[i]);
        return work_run(work, &bisect, 0, work->key_count);
}

bool work_take_turn(pthread_mutex_t *turn, int64_t wait_ms)
{
        struct timespec until;
        if (!wait_ms)
                return !pthread_mutex_trylock(turn);
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += wait_ms % 1000 * 1000000;
        until.tv_sec += wait_ms / 1000 + until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        return !pthread_mutex_clocklock(turn, CLOCK_MONOTONIC, &until);
}

static bool pick_turn(const struct work *work, size_t first, const bool *done, size_t count, size_t *which)
{
        size_t any = count;
        for (*which = 0; *which < count; ++*which) {
                if (done[*which])
                        continue;
                if (work->turns && work_take_turn(&work->turns[first + *which], 0))
                        return true;
                if (any == count)
                        any = *which;
        }
        *which = any;
        return any < count && work->turns && work_take_turn(&work->turns[first + any], TURN_PATIENCE_MS);
}

int work_run_turns(
        struct work *work, size_t first, bool *done, size_t count, int (*run)(struct work *, void *, size_t which), void *context)
{
        for (;;) {
                size_t which;
                bool turn = pick_turn(work, first, done, count, &which);
                if (which == count)
                        return 0;
                int r = run(work, context, which);
                if (turn)
                        pthread_mutex_unlock(&work->turns[first + which]);
                if (r)
                        return r;
                done[which] = true;
        }
}

size_t work_count_parts(const struct work *work, size_t terms)
{
        return work->alone || terms < PARTS_FROM ? 1 : WORK_PARTS_MAX;
}

size_t work_part(const char *term_id, size_t parts)
{
        return (size_t)(term_id[2] <= '9' ? term_id[2] - '0' : term_id[2] - 'a' + 10) * parts / 16;
}

int work_run_parts(struct work *work, size_t parts, int (*run)(struct work *, void *, size_t part), void *context)
{
        bool done[WORK_PARTS_MAX] = {false};
        return parts == 1 ? run(work, context, 0) : work_run_turns(work, PART_TURN, done, parts, run, context);
}
