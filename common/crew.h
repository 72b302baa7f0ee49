/*
 * How many of a program's workers read. It begins with one; what that reads first says whether there is a flood. Without one all
 * read. In a flood more sessions than PostgreSQL has processors for make each other slower, and how many it has nobody here
 * knows. So it is tried: a flood begins with a share, over all replicas about as many workers as one replica has. After
 * CREW_TRY_MS all come for as long. Where the replicas together read a sixth more then, all stay, else the share works on; after
 * CREW_AGAIN_MS either is tried again. With one replica the share is all. Time is handed in (CLOCK_MONOTONIC milliseconds), so
 * tests need no clock.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include "base.h"

#define CREW_TRY_MS   5000 /* a flood that nobody has noted for so long is over, too */
#define CREW_AGAIN_MS 60000
#define CREW_NOTE_MS  250 /* between two notes */

struct crew {
        pthread_mutex_t lock;
        enum crew_phase { CREW_CALM, CREW_FIRST, CREW_SHARE, CREW_TRIAL, CREW_ALL } phase;
        int64_t workers, replicas;
        int64_t asked_ms, noted_ms, since_ms, lasts_ms; /* the last asking, the last note; the phase's begin and length */
        int64_t since_read, noted_read;                 /* entries read by the phase's begin, by the last note */
        double shared;                                  /* entries a millisecond that the share read */
};

void crew_init(struct crew *crew, int64_t workers);
void crew_deinit(struct crew *crew);
void crew_begin(struct crew *crew, int64_t now_ms); /* one reads, for CREW_TRY_MS at most */
void crew_read(struct crew *crew);                  /* no full batch: if it was the first, there is no flood */
/* To who is in a flood: whether it is to note that. Says so to one, every CREW_NOTE_MS. */
bool crew_wants_note(struct crew *crew, int64_t now_ms);
bool crew_is_first(struct crew *crew);
/* There is a flood. read: entries that the group has read of all inputs since it was made. replicas: at least 1. */
void crew_note(struct crew *crew, int64_t now_ms, int64_t read, int64_t replicas);
void crew_release(struct crew *crew); /* all may read at once */
/* How many workers may read, those with the lowest numbers; without a flood all. */
int64_t crew_size(struct crew *crew, int64_t now_ms);
