#include "queued.h"

#include <stdlib.h>
#include "clock.h"

#define SLOTS 65536 /* half of them are used at most */

struct queued_key {
        uint64_t hash;                   /* 0: free */
        struct stream_position position; /* of its last entry */
};

void queued_init(struct queued *queued, size_t backlog)
{
        *queued = (struct queued){.lock = PTHREAD_MUTEX_INITIALIZER,
                .slots = memory_new(SLOTS, sizeof(struct queued_key)),
                .backlog = backlog,
                .seed = (uint64_t)clock_wall_ms()};
}

void queued_deinit(struct queued *queued)
{
        free(queued->slots);
}

/* FNV-1a, http://www.isthe.com/chongo/tech/comp/fnv/ */
static uint64_t hash_text(uint64_t hash, const char *text)
{
        for (; *text; text++)
                hash = (hash ^ (unsigned char)*text) * 0x100000001b3;
        return hash;
}

static uint64_t hash_key(const struct queued *queued, const struct stream_key *key)
{
        uint64_t hash = hash_text(0xcbf29ce484222325 ^ queued->seed, key->term_id);
        if (key->curve_id)
                hash = hash_text(hash_text(hash, "/"), key->curve_id);
        return hash ? hash : 1;
}

static struct queued_key *find(struct queued_key *slots, uint64_t hash)
{
        size_t i = (hash >> 32) % SLOTS;
        while (slots[i].hash && slots[i].hash != hash)
                i = (i + 1) % SLOTS;
        return &slots[i];
}

/* Forgets what has been delivered; all, where the reader stands further back than before: it may be another stream. */
static void forget(struct queued *queued, struct stream_position delivered)
{
        struct queued_key *before = queued->slots;
        int order = stream_position_compare(delivered, queued->delivered);
        if (!order)
                return;
        queued->delivered = delivered;
        queued->used = 0;
        queued->slots = memory_new(SLOTS, sizeof(struct queued_key));
        for (size_t i = 0; i < SLOTS && order > 0; i++) {
                if (!before[i].hash || stream_position_compare(before[i].position, delivered) <= 0)
                        continue;
                *find(queued->slots, before[i].hash) = before[i];
                queued->used++;
        }
        if (order < 0 || stream_position_compare(queued->seen, delivered) < 0)
                queued->seen = delivered;
        free(before);
}

bool queued_may_wait(struct queued *queued)
{
        pthread_mutex_lock(&queued->lock);
        bool may = queued->used >= queued->backlog;
        pthread_mutex_unlock(&queued->lock);
        return may;
}

bool queued_hear(struct queued *queued, const struct stream_group *reader, struct stream_position *seen)
{
        pthread_mutex_lock(&queued->lock);
        forget(queued, reader->delivered);
        *seen = queued->seen;
        pthread_mutex_unlock(&queued->lock);
        return reader->alone && reader->lag >= (int64_t)queued->backlog;
}

static void note(struct queued *queued, uint64_t hash, struct stream_position position)
{
        struct queued_key *slot = find(queued->slots, hash);
        if (!slot->hash && queued->used >= SLOTS / 2)
                return;
        queued->used += !slot->hash;
        if (!slot->hash || stream_position_compare(slot->position, position) < 0)
                *slot = (struct queued_key){.hash = hash, .position = position};
}

void queued_note(struct queued *queued, const struct stream_key *keys, size_t count, bool all)
{
        pthread_mutex_lock(&queued->lock);
        for (size_t i = 0; i < count; i++) {
                const struct stream_key term = {.term_id = keys[i].term_id};
                note(queued, hash_key(queued, &term), keys[i].position);
                if (keys[i].curve_id)
                        note(queued, hash_key(queued, &keys[i]), keys[i].position);
                if (all && stream_position_compare(queued->seen, keys[i].position) < 0)
                        queued->seen = keys[i].position;
        }
        pthread_mutex_unlock(&queued->lock);
}

size_t queued_sift(struct queued *queued, const struct stream_group *reader, struct stream_key *keys, size_t count)
{
        size_t left = 0;
        pthread_mutex_lock(&queued->lock);
        for (size_t i = 0; i < count; i++) {
                const struct queued_key *slot = find(queued->slots, hash_key(queued, &keys[i]));
                if (slot->hash && stream_position_compare(slot->position, reader->delivered) > 0)
                        continue; /* noted late, it may be behind what was delivered meanwhile */
                struct stream_key key = keys[i];
                keys[i] = keys[left];
                keys[left++] = key;
        }
        pthread_mutex_unlock(&queued->lock);
        return left;
}
