#include "queued.h"

#include <stdlib.h>
#include "clock.h"

#define SLOTS  65536 /* half of them are used at most */
#define HASHED 18    /* characters of a term id: they are a hash themselves */

struct queued_term {
        uint64_t hash;                   /* 0: free */
        struct stream_position position; /* of its last entry */
};

static struct queued_term *slots_new(void)
{
        struct queued_term *slots = calloc(SLOTS, sizeof(*slots));
        if (!slots)
                abort();
        return slots;
}

void queued_init(struct queued *queued, size_t backlog)
{
        *queued = (struct queued){
                .lock = PTHREAD_MUTEX_INITIALIZER, .slots = slots_new(), .backlog = backlog, .seed = (uint64_t)clock_wall_ms()};
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

static struct queued_term *find(struct queued_term *slots, uint64_t hash)
{
        size_t i = (hash >> 32) % SLOTS;
        while (slots[i].hash && slots[i].hash != hash)
                i = (i + 1) % SLOTS;
        return &slots[i];
}

/* Forgets what has been delivered. */
static void forget(struct queued *queued, struct stream_position delivered)
{
        struct queued_term *before = queued->slots;
        if (stream_position_compare(delivered, queued->delivered) <= 0)
                return;
        queued->delivered = delivered;
        queued->used = 0;
        queued->slots = slots_new();
        for (size_t i = 0; i < SLOTS; i++) {
                if (!before[i].hash || stream_position_compare(before[i].position, delivered) <= 0)
                        continue;
                *find(queued->slots, before[i].hash) = before[i];
                queued->used++;
        }
        free(before);
}

bool queued_may_wait(struct queued *queued, struct stream_position *seen)
{
        pthread_mutex_lock(&queued->lock);
        *seen = stream_position_compare(queued->seen, queued->delivered) < 0 ? queued->delivered : queued->seen;
        bool may = queued->used >= queued->backlog;
        pthread_mutex_unlock(&queued->lock);
        return may;
}

void queued_note(struct queued *queued, const struct stream_key *keys, size_t count, bool all)
{
        pthread_mutex_lock(&queued->lock);
        for (size_t i = 0; i < count; i++) {
                uint64_t hash = hash_term(queued, keys[i].term_id);
                struct queued_term *slot = find(queued->slots, hash);
                if (all && stream_position_compare(queued->seen, keys[i].position) < 0)
                        queued->seen = keys[i].position;
                if (!slot->hash && queued->used >= SLOTS / 2)
                        continue;
                queued->used += !slot->hash;
                if (!slot->hash || stream_position_compare(slot->position, keys[i].position) < 0)
                        *slot = (struct queued_term){.hash = hash, .position = keys[i].position};
        }
        pthread_mutex_unlock(&queued->lock);
}

size_t queued_sift(struct queued *queued, const struct stream_group *reader, struct stream_key *keys, size_t count)
{
        size_t left = 0;
        if (!reader->alone || reader->lag < (int64_t)queued->backlog)
                return count;
        pthread_mutex_lock(&queued->lock);
        forget(queued, reader->delivered);
        for (size_t i = 0; i < count; i++) {
                const struct queued_term *slot = find(queued->slots, hash_term(queued, keys[i].term_id));
                if (slot->hash && stream_position_compare(slot->position, reader->delivered) > 0)
                        continue; /* noted late, it may be behind what was delivered meanwhile */
                struct stream_key key = keys[i];
                keys[i] = keys[left];
                keys[left++] = key;
        }
        pthread_mutex_unlock(&queued->lock);
        return left;
}
