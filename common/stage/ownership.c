#include "common/stage/ownership.h"

#include <stdio.h>
#include <string.h>
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/stage/stage.h"

#define TIMEOUT_MS 5000
#define FRESH_MS   10000 /* own.lua: nobody else takes the group for a minute after each question */

int ownership_read(const struct service *service, struct db *db, struct stream_owner *self, const char **problem)
{
        AUTO(db_rows) struct db_rows *rows = NULL;
        char place[512];
        if (db_query(db, service->program->database->identity, NULL, 0, &rows, TIMEOUT_MS)) {
                *problem = db_error(db);
                return -1;
        }
        db_url_place(service->shared->database_url, place, sizeof(place));
        snprintf(self->id, sizeof(self->id), "%s", db_rows_text(rows, 0, 0));
        snprintf(self->place, sizeof(self->place), "%s", db_rows_text(rows, 0, 1));
        snprintf(self->name, sizeof(self->name), "%s (schema %s)", place, db_rows_text(rows, 0, 2));
        return 0;
}

bool ownership_is(struct service *service, const char *place)
{
        pthread_mutex_lock(&service->health.lock);
        bool is = !strcmp(service->owner.place, place);
        pthread_mutex_unlock(&service->health.lock);
        return is;
}

/* A sentence on a stream whose group is another's, with the way out. */
static void explain(const struct service *service, const char *stream, const struct stream_owner *self,
        const struct stream_owner *other, char text[PROGRAM_EXPLAIN_SIZE])
{
        char key[300];
        const char *group = service->shared->group;
        stream_owner_key(stream, group, key, sizeof(key));
        bool copy = !strcmp(self->id, other->id);
        snprintf(text, PROGRAM_EXPLAIN_SIZE,
                "group %.60s of stream %.60s %s the database %.100s, %s %.100s: %s (CONSUMER_GROUP_SUFFIX)%s%.100s%s", group,
                stream, copy ? "is read for" : "belongs to", other->name, copy ? "and this is a copy of it:" : "not to",
                self->name,
                copy ? "stop the programs of that one, or give this one a group of its own" : "give this one a group of its own",
                copy ? "" : "; where the other is gone for good, delete the key ", copy ? "" : key,
                copy ? "" : " from Redis and read the streams again (replay)");
}

static int note(struct service *service, const char *text)
{
        struct service_health *health = &service->health;
        metrics_set(service->metrics, &stage_foreign_database, *text != 0, NULL, NULL, NULL);
        pthread_mutex_lock(&health->lock);
        bool news = strcmp(health->refused, text) != 0;
        snprintf(health->refused, sizeof(health->refused), "%s", text);
        pthread_mutex_unlock(&health->lock);
        atomic_store(&service->owns, !*text);
        if (news)
                log_write(*text ? LOG_ERROR : LOG_INFO,
                        *text ? "the consumer group is another database's; nothing is read" : "the consumer group is ours",
                        *text ? "reason=%s" : NULL, text);
        return *text ? OWNERSHIP_OTHER : 0;
}

/* Of every input stream, up to the first that is another's: the text says whose it is. */
static int ask(const struct service *service, struct redis *redis, const struct stream_owner *self, bool take,
        char text[PROGRAM_EXPLAIN_SIZE], const char **problem)
{
        const char *const *streams = service->shared->inputs;
        struct stream_owner other;
        int r = 0;
        for (size_t i = 0; !r && streams[i]; i++) {
                r = stream_own(redis, streams[i], service->shared->group, self, take, &other);
                if (r < 0)
                        *problem = redis_error(redis);
                else if (r)
                        explain(service, streams[i], self, &other, text);
        }
        return r < 0 ? r : r ? OWNERSHIP_OTHER : 0;
}

int ownership_take(struct service *service, struct redis *redis, const struct stream_owner *self, const char **problem)
{
        char text[PROGRAM_EXPLAIN_SIZE] = "";
        const int64_t asked_ms = clock_ms();
        pthread_mutex_lock(&service->health.lock);
        if (self)
                service->owner = *self;
        const struct stream_owner known = service->owner;
        pthread_mutex_unlock(&service->health.lock);
        int r = ask(service, redis, &known, true, text, problem);
        if (!r)
                atomic_store(&service->owned_ms, asked_ms);
        return r < 0 ? r : note(service, text);
}

int ownership_confirm(struct service *service, const char *place, struct redis *redis, const char **problem)
{
        *problem = "the consumer group is another database's";
        if (!ownership_is(service, place))
                return OWNERSHIP_OTHER;
        if (atomic_load(&service->owns) && clock_ms() - atomic_load(&service->owned_ms) < FRESH_MS)
                return 0;
        return ownership_take(service, redis, NULL, problem);
}

int ownership_ask(
        const struct service *service, struct redis *redis, struct db *db, char text[PROGRAM_EXPLAIN_SIZE], const char **problem)
{
        struct stream_owner self = {0};
        int r = ownership_read(service, db, &self, problem);
        return r ? r : ask(service, redis, &self, false, text, problem);
}
