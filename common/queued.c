#include "queued.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "clock.h"

#define SLOTS 65536 /* half of them are used at most */
#define HASHED 18   /* characters of a term: it is a hash itself */
#define LEARN 2000  /* entries of others, a look */

struct queued_key {
        uint64_t hash; /* 0: free */
        struct stream_position position;
};

void queued_init(struct queued *queued, size_t backlog)
{
        *queued = (struct queued){.lock = PTHREAD_MUTEX_INITIALIZER, .backlog = backlog, .seed = (uint64_t)clock_wall_ms()};
        queued->slots = calloc(SLOTS, sizeof(*queued->slots));
        if (!queued->slots)
                abort();
}

void queued_deinit(struct queued *queued)
{
        free(queued->slots);
}

/* FNV-1a, http://www.isthe.com/chongo/tech/comp/fnv/ */
static uint64_t hash_term(const struct queued *queued, const char *term)
{
        uint64_t hash = 0xcbf29ce484222325 ^ queued->seed;
        for (size_t i = 0; term[i] && i < HASHED; i++)
                hash = (hash ^ (unsigned char)term[i]) * 0x100000001b3;
        return hash ? hash : 1;
}

static struct queued_key *find(struct queued_key *slots, uint64_t hash)
{
        size_t i = (hash >> 32) % SLOTS;
        while (slots[i].hash && slots[i].hash != hash)
                i = (i + 1) % SLOTS;
        return &slots[i];
}

/* Forgets what has been delivered. */
static void forget(struct queued *queued, struct stream_position delivered)
{
        struct queued_key *before = queued->slots;
        if (stream_position_compare(delivered, queued->delivered) <= 0)
                return;
        queued->delivered = delivered;
        queued->used = 0;
        queued->slots = calloc(SLOTS, sizeof(*queued->slots));
        if (!queued->slots)
                abort();
        for (size_t i = 0; i < SLOTS; i++) {
                if (!before[i].hash || stream_position_compare(before[i].position, delivered) <= 0)
                        continue;
                *find(queued->slots, before[i].hash) = before[i];
                queued->used++;
        }
        free(before);
}

static bool is_backlog(struct queued *queued)
{
        pthread_mutex_lock(&queued->lock);
        bool is = queued->used >= queued->backlog;
        pthread_mutex_unlock(&queued->lock);
        return is;
}

static void note(struct queued *queued, const char *term, struct stream_position position)
{
        uint64_t hash = hash_term(queued, term);
        struct queued_key *slot = find(queued->slots, hash);
        if (!slot->hash && queued->used >= SLOTS / 2)
                return;
        queued->used += !slot->hash;
        if (!slot->hash || stream_position_compare(slot->position, position) < 0)
                *slot = (struct queued_key){.hash = hash, .position = position};
}

/* What others published. */
static int learn(struct queued *queued, struct redis *redis, const char *stream)
{
        struct stream_batch batch = {0};
        char from[64];
        size_t read;
        pthread_mutex_lock(&queued->lock);
        struct stream_position seen = stream_position_compare(queued->seen, queued->delivered) < 0 ? queued->delivered : queued->seen;
        pthread_mutex_unlock(&queued->lock);
        snprintf(from, sizeof(from), "(%" PRIu64 "-%" PRIu64, seen.ms, seen.seq);
        int r = stream_range(redis, stream, from, "+", LEARN, &batch, &read);
        pthread_mutex_lock(&queued->lock);
        for (size_t i = 0; !r && i < batch.count; i++) {
                const char *term = stream_entry_field(&batch.entries[i], "term_id", NULL);
                queued->seen = (struct stream_position){batch.entries[i].ms, batch.entries[i].seq};
                if (term)
                        note(queued, term, queued->seen);
        }
        pthread_mutex_unlock(&queued->lock);
        stream_batch_deinit(&batch);
        return r;
}

size_t queued_filter(struct queued *queued, struct redis *redis, const char *stream, const char *group, struct stream_key *keys, size_t count)
{
        struct stream_group reader;
        size_t left = 0;
        if (!count || !is_backlog(queued) || learn(queued, redis, stream) || stream_group_read(redis, stream, group, &reader))
                return count;
        pthread_mutex_lock(&queued->lock);
        forget(queued, reader.delivered);
        bool backlog = reader.alone && reader.lag >= (int64_t)queued->backlog;
        for (size_t i = 0; i < count && backlog; i++) {
                const struct queued_key *slot = find(queued->slots, hash_term(queued, keys[i].term_id));
                if (slot->hash && stream_position_compare(slot->position, reader.delivered) > 0)
                        continue;
                struct stream_key key = keys[i];
                keys[i] = keys[left];
                keys[left++] = key;
        }
        pthread_mutex_unlock(&queued->lock);
        return backlog ? left : count;
}

void queued_note(struct queued *queued, const struct stream_key *keys, size_t count)
{
        pthread_mutex_lock(&queued->lock);
        for (size_t i = 0; i < count; i++)
                note(queued, keys[i].term_id, keys[i].position);
        pthread_mutex_unlock(&queued->lock);
}
