#include "common/cli/commands.h"

#include <cjson/cJSON.h>
#include <inttypes.h>
#include <stdio.h>
#include "common/base/clean.h"
#include "common/base/clock.h"
#include "common/cli/connect.h"
#include "common/cli/tell.h"
#include "common/io/redis.h"
#include "common/stream/state.h"

#define VERIFY_TIMEOUT_MS 3600000
#define END_TIMEOUT_MS    5000

static void print_difference(const void *context, const char *table, const char *key, const char *text)
{
        const struct service *service = context;
        char shown[2][1024];
        if (!service->json) {
                printf("%s %s: %s\n", table, clean_copy(key, shown[0], sizeof(shown[0])),
                        clean_copy(text, shown[1], sizeof(shown[1])));
                return;
        }
        cJSON *line = cJSON_CreateObject();
        cJSON_AddStringToObject(line, "table", table);
        cJSON_AddStringToObject(line, "key", key);
        cJSON_AddStringToObject(line, "difference", text);
        tell_object(line);
}

static int verify_table(
        const struct service *service, struct db *db, const struct program_check *check, int64_t sample, int64_t *differences)
{
        AUTO(db_rows) struct db_rows *rows = NULL;
        const struct db_param params[] = {
                db_text(check->table), db_text(check->definition), db_text(check->waiting), db_number(sample)};
        int r = db_query(db, service->program->database->verify_table, params, ARRAY_LENGTH(params), &rows, VERIFY_TIMEOUT_MS);
        if (r)
                return r;
        for (size_t i = 0; i < db_rows_count(rows); i++)
                print_difference(service, check->table, db_rows_text(rows, i, 0), db_rows_text(rows, i, 1));
        *differences += (int64_t)db_rows_count(rows);
        fprintf(stderr, "%-24s %zu differences%s\n", check->table, db_rows_count(rows), sample ? " (sampled)" : "");
        return 0;
}

static int count_in_flight(struct db *db, const struct sql *sql, int64_t *count)
{
        AUTO(db_rows) struct db_rows *rows = NULL;
        *count = 0;
        if (!sql)
                return 0;
        int r = db_query(db, sql, NULL, 0, &rows, VERIFY_TIMEOUT_MS);
        if (!r)
                *count = db_rows_number(rows, 0, 0);
        return r;
}

static int verify_snapshot(const struct service *service, struct db *db, int64_t sample, int64_t *differences, int64_t *in_flight)
{
        int r = db_run(db, NULL, 0, DB_SNAPSHOT, VERIFY_TIMEOUT_MS);
        if (!r)
                r = count_in_flight(db, service->program->in_flight, in_flight);
        for (const struct program_check *check = service->program->checks; !r && check->table; check++)
                r = verify_table(service, db, check, sample, differences);
        if (!r && service->program->verify_more)
                r = service->program->verify_more(db, differences, print_difference, service);
        return r ? r : db_run(db, NULL, 0, DB_ROLLBACK, END_TIMEOUT_MS);
}

/* For the status page and the alert. Who may only read can verify all the same. */
static void note_verify(const struct service *service, struct db *db, int64_t sample, int64_t differences, int64_t in_flight)
{
        const struct db_param params[] = {
                db_text(service->program->name), db_number(differences), db_number(in_flight), db_number(sample)};
        if (db_query(db, service->program->database->verify_note, params, ARRAY_LENGTH(params), NULL, VERIFY_TIMEOUT_MS))
                fprintf(stderr, "%s: the result is not kept for the status page: %s\n", service->program->name, db_error(db));
}

/* A stage that reads events is judged by what its group has read of its streams: without one of them, nothing is said. */
static cJSON *tell_missing_streams(const struct service *service)
{
        cJSON *missing = cJSON_CreateArray();
        const char *const *streams = service->shared->inputs;
        AUTO(redis) struct redis *redis = NULL;
        AUTO(text) char *problem = NULL;
        if (service->program->outbox_stale || service_open_redis(service, &redis, 5000, &problem))
                return missing;
        for (size_t i = 0; streams[i]; i++) {
                bool unread;
                if (stream_has_unread(redis, streams[i], service->shared->group, &unread) != STREAM_NO_GROUP)
                        continue;
                cJSON_AddItemToArray(missing, cJSON_CreateString(streams[i]));
                fprintf(stderr,
                        "%s verify: there is no stream %s, or no group %s of it: nothing of it was judged; are the names "
                        "right?\n",
                        service->program->name, streams[i], service->shared->group);
        }
        return missing;
}

int verify_run(struct service *service, int64_t sample)
{
        int64_t differences = 0, in_flight = 0, started = clock_ms();
        AUTO(db) struct db *db = connect_schema(service);
        if (!db || connect_may(service, db, NEED_VERIFY)) {
                tell_end(service, false, NULL, 0, "not begun, see stderr");
                return 1;
        }
        int before = service->program->verify_begin ? service->program->verify_begin(service, db) : 0;
        if (before || verify_snapshot(service, db, sample, &differences, &in_flight)) {
                fprintf(stderr, "%s: verify did not come to its end: %s\n", service->program->name,
                        *db_error(db) ? db_error(db) : "see above");
                tell_end(service, false, NULL, 0, *db_error(db) ? db_error(db) : "it did not come to its end, see stderr");
                return 1;
        }
        note_verify(service, db, sample, differences, in_flight);
        cJSON *missing = tell_missing_streams(service);
        if (service->json) {
                cJSON *end = cJSON_CreateObject();
                cJSON_AddStringToObject(end, "program", service->program->name);
                cJSON_AddNumberToObject(end, "differences", (double)differences);
                cJSON_AddNumberToObject(end, "in_flight", (double)in_flight);
                if (cJSON_GetArraySize(missing))
                        cJSON_AddItemReferenceToObject(end, "not_judged", missing);
                tell_object(end);
        }
        cJSON_Delete(missing);
        fprintf(stderr, "%s verify: %" PRId64 " differences, %" PRId64 " keys in flight left out, %.1f s\n",
                service->program->name, differences, in_flight, (double)(clock_ms() - started) / 1000.0);
        return differences ? 1 : 0;
}
