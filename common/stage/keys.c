#include "common/stage/keys.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/stop.h"

#define CHUNK          4000 /* terms that are done in one go */
#define REASON         "backlog"
#define BY_TERM_FACTOR 10      /* a bucket that failed is done by term for so many times as long as the try took, and more */
#define TOLD_MS        3600000 /* a bucket's entries have one dead letter in so long */

static const char *const bucket_texts[KEYS_BUCKETS] = {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13",
        "14", "15", "16", "17", "18", "19", "20", "21", "22", "23", "24", "25", "26", "27", "28", "29", "30", "31", "32", "33",
        "34", "35", "36", "37", "38", "39", "40", "41", "42", "43", "44", "45", "46", "47", "48", "49", "50", "51", "52", "53",
        "54", "55", "56", "57", "58", "59", "60", "61", "62", "63"};

struct keys_state {
        int64_t by_term_until_ms[KEYS_BUCKETS]; /* monotonic: this bucket is not tried whole before */
        int64_t told_until_ms[KEYS_BUCKETS];    /* a refused term of this bucket has no dead letter before */
};

/* A term to be done, and the first entry that names it, or its bucket. */
struct unit {
        const char *term_id;
        struct stream_entry *entry;
};

struct keys {
        const struct keys_stage *stage;
        struct keys_state *state;
        struct unit *units;
        size_t count, capacity;
        struct stream_entry *buckets[KEYS_BUCKETS]; /* the first entry that names the bucket, NULL: none does */
};

static unsigned digit_value(char digit)
{
        return (unsigned)(digit <= '9' ? digit - '0' : digit - 'a' + 10);
}

unsigned keys_bucket(const char *term_id)
{
        return digit_value(term_id[2]) * 4 + digit_value(term_id[3]) / 4;
}

static bool read_bucket(const char *text, size_t size, unsigned *bucket)
{
        for (*bucket = 0; *bucket < KEYS_BUCKETS; ++*bucket)
                if (size == strlen(bucket_texts[*bucket]) && !memcmp(text, bucket_texts[*bucket], size))
                        return true;
        return false;
}

bool keys_entry_is_backlog(const struct stream_entry *entry, unsigned *bucket)
{
        size_t size = 0;
        const char *text = entry->fields ? stream_entry_field(entry, "bucket", &size) : NULL;
        const char *reason = text ? stream_entry_field(entry, "reason", NULL) : NULL;
        return reason && !strcmp(reason, REASON) && read_bucket(text, size, bucket);
}

void keys_fold_to_buckets(struct work *work)
{
        int64_t blocks[KEYS_BUCKETS];
        bool named[KEYS_BUCKETS] = {false};
        for (size_t i = 0; i < work->key_count; i++) {
                unsigned bucket = keys_bucket(work->keys[i].term_id);
                if (!named[bucket] || work->keys[i].block_number > blocks[bucket])
                        blocks[bucket] = work->keys[i].block_number;
                named[bucket] = true;
        }
        work->key_count = 0;
        for (unsigned bucket = 0; bucket < KEYS_BUCKETS; bucket++)
                if (named[bucket])
                        work_add_bucket(work, bucket_texts[bucket], REASON, blocks[bucket]);
}

/* ---- reading entries ---- */

static bool is_id(const char *text, size_t size)
{
        return size == 66 && !strncmp(text, "0x", 2) && strspn(text + 2, "0123456789abcdef") == 64;
}

static void refuse(struct work *work, struct stream_entry *entry, const char *error_class, const char *error)
{
        work->units_failed++;
        work_add_dead_letter(work, entry, "", error_class, error, 1);
}

static void read_entry(struct work *work, struct keys *keys, struct stream_entry *entry)
{
        size_t size = 0, bucket_size = 0;
        unsigned number;
        const char *term = stream_entry_field(entry, "term_id", &size),
                   *bucket = stream_entry_field(entry, "bucket", &bucket_size);
        const char *reason = stream_entry_field(entry, "reason", NULL), *block = stream_entry_field(entry, "block_number", NULL);
        const int64_t block_number = block ? strtoll(block, NULL, 10) : 0;
        if (bucket && !read_bucket(bucket, bucket_size, &number)) {
                refuse(work, entry, "format", "bucket: is not a number from 0 to 63");
        } else if (bucket) {
                work_add_bucket(work, bucket_texts[number], REASON, block_number);
                if (!keys->buckets[number])
                        keys->buckets[number] = entry;
        } else if (!term || !is_id(term, size)) {
                refuse(work, entry, term ? "format" : "missing",
                        term ? "term_id: is not 0x and 64 lower-case hex digits" : "term_id: the entry has no such field");
        } else {
                if (!reason || !strcmp(reason, "backfill")) /* a backfill of this stage is none of the next */
                        reason = reason ? "requeued" : "unknown";
                work_add_key(work, term, NULL, reason, block_number);
                keys->units = memory_grow(keys->units, &keys->capacity, keys->count + 1, sizeof(*keys->units));
                keys->units[keys->count++] = (struct unit){.term_id = term, .entry = entry};
        }
}

/* ---- terms ---- */

static int compare_units(const void *left, const void *right)
{
        const struct unit *a = left, *b = right;
        int order = strcmp(a->term_id, b->term_id);
        return order ? order : (a->entry > b->entry) - (a->entry < b->entry); /* entries are one array: the first one stays */
}

/* One unit a term: a term that fails is tried once, however many entries name it. */
static void fold_units(struct keys *keys)
{
        size_t kept = 0;
        if (keys->count)
                qsort(keys->units, keys->count, sizeof(*keys->units), compare_units);
        for (size_t i = 0; i < keys->count; i++)
                if (!kept || strcmp(keys->units[kept - 1].term_id, keys->units[i].term_id))
                        keys->units[kept++] = keys->units[i];
        keys->count = kept;
}

static void blame_entry(
        struct work *work, struct stream_entry *entry, const char *term_id, bool tell, const char *error, int64_t attempts)
{
        const char *reason = stream_entry_field(entry, "reason", NULL);
        if (!tell || (reason && !strcmp(reason, "backfill"))) { /* its row stays in the outbox and comes again */
                log_write(LOG_ERROR, "PostgreSQL refuses a key of the outbox; the backfill queues it again",
                        "stream=%s id=%s term_id=%s error=%s", entry->stream, entry->id, term_id, error);
                return;
        }
        work->units_failed++;
        work_add_dead_letter(work, entry, "", "database",
                arena_format(work->arena, "term_id %s: refused by PostgreSQL: %s", term_id, error), attempts);
}

/* Each entry that names the term has its dead letter; of those that name its bucket one, now and then. */
static void blame(struct work *work, void *context, size_t unit, const char *error, int64_t attempts)
{
        struct keys *keys = context;
        const char *term_id = keys->units[unit].term_id;
        struct stream_entry *by_bucket = keys->buckets[keys_bucket(term_id)];
        int64_t *told_until_ms = &keys->state->told_until_ms[keys_bucket(term_id)];
        if (keys->units[unit].entry == by_bucket) {
                bool tell = clock_ms() >= *told_until_ms;
                *told_until_ms = tell ? clock_ms() + TOLD_MS : *told_until_ms;
                blame_entry(work, by_bucket, term_id, tell, error, attempts);
                return;
        }
        for (size_t i = 0; i < work->batch->count; i++) {
                struct stream_entry *entry = &work->batch->entries[i];
                const char *name = entry->fields ? stream_entry_field(entry, "term_id", NULL) : NULL;
                if (name && !strcmp(name, term_id))
                        blame_entry(work, entry, term_id, true, error, attempts);
        }
}

static struct stream_entry *unit_entry(void *context, size_t unit)
{
        return ((struct keys *)context)->units[unit].entry;
}

static int run_terms(struct work *work, void *context, size_t from, size_t count)
{
        struct keys *keys = context;
        const char **terms = arena_alloc(work->arena, count * sizeof(*terms));
        for (size_t i = 0; i < count; i++)
                terms[i] = keys->units[from + i].term_id;
        int r = keys->stage->terms(work, terms, count);
        if (!r)
                work->units += count;
        return r;
}

static int run_units(struct work *work, struct keys *keys)
{
        const struct work_bisect bisect = {.run = run_terms, .blame = blame, .entry = unit_entry, .context = keys};
        return work_run(work, &bisect, 0, keys->count);
}

/* ---- buckets ---- */

/* The next chunk of the terms that wait in these buckets becomes the units. *last: the chunk before ended with it. */
static int read_waiting_terms(
        struct work *work, struct keys *keys, struct db_array *numbers, const char *last, struct db_rows **rows)
{
        const struct db_param params[] = {db_array_param(numbers), db_text(last), db_number(CHUNK)};
        const struct db_call call = {
                .sql = keys->stage->waiting_terms, .params = params, .param_count = ARRAY_LENGTH(params), .rows = rows};
        int r = db_run(work->db, &call, 1, DB_BEGIN | DB_BY_KEY | DB_COMMIT, work->deadline_ms);
        keys->count = 0;
        if (r)
                return r;
        keys->units = memory_grow(keys->units, &keys->capacity, db_rows_count(*rows), sizeof(*keys->units));
        for (size_t i = 0; i < db_rows_count(*rows); i++) {
                const char *term_id = db_rows_text(*rows, i, 0);
                keys->units[keys->count++] = (struct unit){.term_id = term_id, .entry = keys->buckets[keys_bucket(term_id)]};
        }
        return 0;
}

/* The terms that wait in the buckets that entries name and that were not done whole. An urgent stop leaves the rest in the
 * outbox, for the backfill of whoever runs next. */
static int run_waiting_terms(struct work *work, struct keys *keys, const bool done[KEYS_BUCKETS])
{
        AUTO_ARRAY struct db_array numbers;
        char last[67] = "";
        int r = 0;
        size_t found = 0;
        db_array_init(&numbers, DB_BIGINT);
        for (unsigned bucket = 0; bucket < KEYS_BUCKETS; bucket++)
                if (keys->buckets[bucket] && !done[bucket])
                        db_array_push_number(&numbers, bucket);
        while (numbers.count && !r && (!*last || found == CHUNK) && !stop_is_urgent()) {
                AUTO(db_rows) struct db_rows *rows = NULL;
                r = read_waiting_terms(work, keys, &numbers, last, &rows);
                found = keys->count;
                if (r || !found)
                        break;
                snprintf(last, sizeof(last), "%s", keys->units[found - 1].term_id);
                r = run_units(work, keys);
        }
        for (unsigned bucket = 0; r == DB_DEADLINE && bucket < KEYS_BUCKETS; bucket++)
                if (keys->buckets[bucket] && !done[bucket])
                        keys->buckets[bucket]->left = true;
        return r == DB_DEADLINE ? 0 : r > 0 ? -1 : r;
}

/* Whole buckets, those of the batch's terms among them. done: those that need no more. */
static int run_whole(struct work *work, struct keys *keys, bool done[KEYS_BUCKETS])
{
        int64_t *until_ms = keys->state->by_term_until_ms;
        bool named[KEYS_BUCKETS] = {false}, any = false;
        for (size_t i = 0; i < keys->count; i++)
                named[keys_bucket(keys->units[i].term_id)] = true;
        for (unsigned bucket = 0; bucket < KEYS_BUCKETS; bucket++) {
                named[bucket] = (named[bucket] || keys->buckets[bucket]) && clock_ms() >= until_ms[bucket];
                any = any || named[bucket];
        }
        int r = any ? keys->stage->buckets(work, named) : 0;
        if (!r)
                memcpy(done, named, sizeof(named));
        for (unsigned bucket = 0; r && db_alive(work->db) && !stop_is_urgent() && bucket < KEYS_BUCKETS; bucket++) {
                const int64_t started = clock_ms();
                bool alone[KEYS_BUCKETS] = {false};
                if (!named[bucket])
                        continue;
                alone[bucket] = true;
                done[bucket] = !keys->stage->buckets(work, alone);
                if (!done[bucket])
                        until_ms[bucket] = clock_ms() + KEYS_BY_TERM_MS + BY_TERM_FACTOR * (clock_ms() - started);
        }
        return db_alive(work->db) ? 0 : -1;
}

static int run_all(struct work *work, struct keys *keys)
{
        bool done[KEYS_BUCKETS] = {false};
        size_t left = 0;
        int r = keys->stage->buckets ? run_whole(work, keys, done) : 0;
        if (r)
                return r;
        for (size_t i = 0; i < keys->count; i++)
                if (!done[keys_bucket(keys->units[i].term_id)])
                        keys->units[left++] = keys->units[i];
        keys->count = left;
        r = run_units(work, keys);
        return r ? r : run_waiting_terms(work, keys, done);
}

int keys_process(struct work *work, const struct keys_stage *stage)
{
        struct keys keys = {.stage = stage, .state = work->state};
        for (size_t i = 0; i < work->batch->count; i++)
                if (work->batch->entries[i].fields) /* else it is lost, and the worker says so */
                        read_entry(work, &keys, &work->batch->entries[i]);
        fold_units(&keys);
        int r = work->key_count ? run_all(work, &keys) : 0;
        free(keys.units);
        return r;
}

void *keys_state_new(const void *config)
{
        (void)config;
        return memory_new(1, sizeof(struct keys_state));
}

void keys_state_free(void *state)
{
        free(state);
}
