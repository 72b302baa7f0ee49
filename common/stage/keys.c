#include "common/stage/keys.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "common/base/log.h"
#include "common/base/stop.h"

#define CHUNK       4000 /* terms that are done in one go */
#define REASON      "backlog"
#define PATIENCE_MS 30000

static const char *const bucket_texts[KEYS_BUCKETS] = {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13",
        "14", "15", "16", "17", "18", "19", "20", "21", "22", "23", "24", "25", "26", "27", "28", "29", "30", "31", "32", "33",
        "34", "35", "36", "37", "38", "39", "40", "41", "42", "43", "44", "45", "46", "47", "48", "49", "50", "51", "52", "53",
        "54", "55", "56", "57", "58", "59", "60", "61", "62", "63"};

/* A term to be done, and the entry that names it or its bucket. */
struct unit {
        const char *term_id;
        struct stream_entry *entry;
};

struct keys {
        const struct keys_stage *stage;
        struct unit *units;
        size_t count, capacity;
        struct stream_entry *buckets[KEYS_BUCKETS]; /* the first entry that names the bucket, NULL: none does */
        bool refused[KEYS_BUCKETS];                 /* that entry has a dead letter */
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
        work_add_letter(work, entry, "", error_class, error, 1);
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

static bool is_backfilled(const struct stream_entry *entry)
{
        const char *reason = stream_entry_field(entry, "reason", NULL);
        return reason && !strcmp(reason, "backfill");
}

static void blame(struct work *work, void *context, size_t unit, const char *error, int64_t attempts)
{
        struct keys *keys = context;
        const char *term_id = keys->units[unit].term_id;
        const struct stream_entry *entry = keys->units[unit].entry;
        const unsigned bucket = keys_bucket(term_id);
        const bool by_bucket = entry == keys->buckets[bucket];
        if (is_backfilled(entry) || (by_bucket && keys->refused[bucket])) { /* its row is in the outbox and comes again */
                log_write(LOG_ERROR, "PostgreSQL refuses a key of the outbox; the backfill queues it again",
                        "stream=%s id=%s term_id=%s error=%s", entry->stream, entry->id, term_id, error);
                return;
        }
        if (by_bucket)
                keys->refused[bucket] = true;
        work->units_failed++;
        work_add_letter(work, entry, "", "database",
                arena_format(work->arena, "term_id %s: refused by PostgreSQL: %s", term_id, error), attempts);
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

static void push_buckets(struct keys *keys, struct db_array *numbers)
{
        db_array_init(numbers, DB_BIGINT);
        for (unsigned bucket = 0; bucket < KEYS_BUCKETS; bucket++)
                if (keys->buckets[bucket])
                        db_array_push_number(numbers, bucket);
}

/* The terms that wait in the buckets, a chunk at a time. A stop leaves the rest in the outbox, for the backfill of whoever runs
 * next. */
static int run_waiting_terms(struct work *work, struct keys *keys)
{
        AUTO_ARRAY struct db_array numbers = {0};
        char last[67] = "", limit[16];
        int r = 0;
        size_t found;
        push_buckets(keys, &numbers);
        snprintf(limit, sizeof(limit), "%d", CHUNK);
        if (!numbers.count)
                return 0;
        do {
                AUTO(db_rows) struct db_rows *rows = NULL;
                const struct db_param params[] = {db_array_param(&numbers), db_text(last), db_text(limit)};
                const struct db_call call = {
                        .sql = keys->stage->waiting_terms, .params = params, .param_count = ARRAY_LENGTH(params), .rows = &rows};
                r = db_run(work->db, &call, 1, DB_BEGIN | DB_BY_KEY | DB_COMMIT, PATIENCE_MS);
                found = r ? 0 : db_rows_count(rows);
                keys->count = 0;
                for (size_t i = 0; i < found; i++) {
                        const char *term_id = db_rows_text(rows, i, 0);
                        keys->units = memory_grow(keys->units, &keys->capacity, keys->count + 1, sizeof(*keys->units));
                        keys->units[keys->count++] =
                                (struct unit){.term_id = term_id, .entry = keys->buckets[keys_bucket(term_id)]};
                }
                if (found) {
                        snprintf(last, sizeof(last), "%s", db_rows_text(rows, found - 1, 0));
                        r = run_units(work, keys);
                }
        } while (!r && found == CHUNK && !stop_requested());
        return r > 0 ? -1 : r;
}

/* Whole buckets, those of the batch's terms among them: later entries of a backlog then find nothing left. */
static int run_whole(struct work *work, const struct keys *keys)
{
        bool buckets[KEYS_BUCKETS];
        for (unsigned bucket = 0; bucket < KEYS_BUCKETS; bucket++)
                buckets[bucket] = keys->buckets[bucket];
        for (size_t i = 0; i < keys->count; i++)
                buckets[keys_bucket(keys->units[i].term_id)] = true;
        return keys->stage->buckets(work, buckets);
}

static int run_all(struct work *work, struct keys *keys)
{
        int r = keys->stage->buckets ? run_whole(work, keys) : DB_BAD_DATA;
        if (!r || (r < 0 && !db_alive(work->db)))
                return r;
        r = run_units(work, keys);
        return r ? r : run_waiting_terms(work, keys);
}

int keys_process(struct work *work, const struct keys_stage *stage)
{
        struct keys keys = {.stage = stage};
        for (size_t i = 0; i < work->batch->count; i++)
                if (work->batch->entries[i].fields) /* else it is lost, and the worker says so */
                        read_entry(work, &keys, &work->batch->entries[i]);
        int r = work->key_count ? run_all(work, &keys) : 0;
        free(keys.units);
        return r;
}
