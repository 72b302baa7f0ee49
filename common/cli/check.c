#include "common/cli/commands.h"

#include <cjson/cJSON.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "common/base/clean.h"
#include "common/base/clock.h"
#include "common/stage/ownership.h"
#include "common/stream/state.h"
#include "common_sql.h"

#define TIMEOUT_MS    5000
#define CLOCK_SLACK_S 5

enum verdict { VERDICT_OK, VERDICT_WARN, VERDICT_FAIL };

struct report {
        int failures;
        cJSON *list; /* NULL: text */
};

static void PRINTF_LIKE(4, 5) tell(struct report *report, enum verdict verdict, const char *subject, const char *format, ...)
{
        static const char *const names[] = {"ok", "warn", "FAIL"};
        char text[700];
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(text, sizeof(text), format, arguments);
        va_end(arguments);
        clean_text(text); /* names of others, texts of servers */
        report->failures += verdict == VERDICT_FAIL;
        if (!report->list) {
                printf("%-5s %-22s %s\n", names[verdict], subject, text);
                return;
        }
        cJSON *item = cJSON_CreateObject();
        cJSON_AddItemToArray(report->list, item);
        cJSON_AddStringToObject(item, "result", names[verdict]);
        cJSON_AddStringToObject(item, "check", subject);
        cJSON_AddStringToObject(item, "detail", text);
}

/* That all streams are in one slot is known: there would be no connection else. */
static void check_cluster(struct report *report, struct redis *redis)
{
        AUTO(redis_reply) struct redis_reply *info = NULL;
        char state[64] = "", masters[64] = "", nodes[64] = "";
        if (redis_call(redis, &info, "CLUSTER", "INFO", NULL)) {
                tell(report, VERDICT_WARN, "redis cluster", "a cluster, all streams are in one slot; CLUSTER INFO: %s",
                        redis_error(redis));
                return;
        }
        redis_info_value(info, "cluster_state", state);
        redis_info_value(info, "cluster_size", masters);
        redis_info_value(info, "cluster_known_nodes", nodes);
        tell(report, strcmp(state, "ok") ? VERDICT_WARN : VERDICT_OK, "redis cluster",
                "a cluster of %s nodes, %s of them masters with slots, state %s; all streams are in one slot", nodes, masters,
                state);
}

static void check_version(struct report *report, struct redis *redis)
{
        AUTO(redis_reply) struct redis_reply *info = NULL;
        char version[64], cluster[64];
        if (redis_call(redis, &info, "INFO", NULL)) {
                tell(report, VERDICT_WARN, "redis version", "INFO is not allowed: %s", redis_error(redis));
                return;
        }
        redis_info_value(info, "redis_version", version);
        redis_info_value(info, "cluster_enabled", cluster);
        double number = strtod(version, NULL);
        tell(report, number >= 7.0 ? VERDICT_OK : VERDICT_FAIL, "redis version", "%s%s", version,
                number >= 7.0 ? "" : ": 7.0 or later is needed");
        if (strcmp(cluster, "1"))
                tell(report, VERDICT_OK, "redis cluster", "not a cluster");
        else
                check_cluster(report, redis);
}

static void check_config(struct report *report, struct redis *redis)
{
        AUTO(redis_reply) struct redis_reply *policy = NULL;
        AUTO(redis_reply) struct redis_reply *append = NULL;
        if (redis_call(redis, &policy, "CONFIG", "GET", "maxmemory-policy", NULL) ||
                redis_call(redis, &append, "CONFIG", "GET", "appendonly", NULL)) {
                tell(report, VERDICT_WARN, "redis configuration",
                        "CONFIG is not allowed; see to noeviction and appendonly yourself");
                return;
        }
        const char *value = redis_reply_text(redis_reply_item(policy, 1), NULL),
                   *aof = redis_reply_text(redis_reply_item(append, 1), NULL);
        bool keeps = value && !strcmp(value, "noeviction"), persists = aof && !strcmp(aof, "yes");
        tell(report, keeps ? VERDICT_OK : VERDICT_WARN, "redis eviction", "maxmemory-policy %s%s", value ? value : "unknown",
                keeps ? "" : ": streams may be evicted, set noeviction");
        tell(report, persists ? VERDICT_OK : VERDICT_WARN, "redis persistence", "appendonly %s%s", aof ? aof : "unknown",
                persists ? "" : ": a crash of Redis may lose entries, set yes");
}

static void check_writes(struct report *report, const struct service *service, struct redis *redis)
{
        const char *const *streams = service->shared->inputs;
        if (stream_probe(redis, streams[0], service->shared->group))
                tell(report, VERDICT_FAIL, "redis role",
                        redis_error_is(redis, "WRONGTYPE") ? "no stream: %s" : "takes no writes: %s", redis_error(redis));
        else
                tell(report, VERDICT_OK, "redis role", "takes writes");
}

/* A user of Redis may have some commands and keys only (ACL); a script's commands are the user's, too. Each is tried with
 * arguments that are refused, so that nothing changes: whether it is allowed is looked at before. */
#define INPUT   "\1" /* these stand for a stream; where there is none, nothing is tried */
#define QUEUED  "\2" /* where the input is keys, which the backfill queues again */
#define TRIMMED "\3"
#define OUTPUT  "\4"
#define LETTERS "\5"
#define OWNER   "\6" /* the key beside the group, see stream/owner.h */
#define NOBODY  "\a" /* no group's name */
static const char *const redis_commands[][7] = {
        {"XREADGROUP", "GROUP", NOBODY, "-", "STREAMS", INPUT, "?"},
        {"XAUTOCLAIM", INPUT, NOBODY, "-", "?", "?"},
        {"XCLAIM", INPUT, NOBODY, "-", "?", "?"},
        {"XPENDING", INPUT, NOBODY, "?", "?", "?"},
        {"XGROUP", "CREATE", INPUT, NOBODY, "?"},
        {"XGROUP", "SETID", INPUT, NOBODY, "?"},
        {"XGROUP", "DELCONSUMER", INPUT, NOBODY, "-"},
        {"XGROUP", "DESTROY", INPUT, NOBODY},
        {"XINFO", "STREAM", INPUT},
        {"XINFO", "GROUPS", INPUT},
        {"XINFO", "CONSUMERS", INPUT, NOBODY},
        {"XRANGE", INPUT, "?", "?"},
        {"XLEN", INPUT},
        {"EXISTS", INPUT},
        {"XTRIM", TRIMMED, "?", "?"},
        {"XADD", QUEUED, "?", "-", "-"},
        {"XADD", OUTPUT, "?", "-", "-"},
        {"XADD", LETTERS, "?", "-", "-"},
        {"XRANGE", LETTERS, "?", "?"},
        {"XREVRANGE", LETTERS, "?", "?"},
        {"XDEL", LETTERS, "?"},
        {"HGET", OWNER, "-"},
        {"HSET", OWNER, "-", "-", "-"},
        {"TIME"},
        {"MULTI"},
        {"EXEC"},
};

/* Whether it is allowed, or not needed. keys: what INPUT to OWNER stand for, NULL: nothing. *name: the command and its stream. */
static bool is_allowed(struct redis *redis, const char *const words[7], const char *const keys[6], char name[256])
{
        AUTO_COMMAND struct redis_command command = {0};
        const bool two = !strcmp(words[0], "XGROUP") || !strcmp(words[0], "XINFO");
        snprintf(name, 256, "%s%s%s", words[0], two ? " " : "", two ? words[1] : "");
        for (size_t i = 0; i < 7 && words[i]; i++) {
                const char *word = *words[i] < *NOBODY ? keys[*words[i] - *INPUT] : words[i];
                if (!word)
                        return true;
                if (*words[i] > *INPUT && *words[i] < *NOBODY)
                        snprintf(name, 256, "%s on %.200s", words[0], word);
                redis_command_push(&command, word);
        }
        return !redis_run(redis, &command, 0, NULL) ||
               (!redis_error_is(redis, "NOPERM") && !redis_error_is(redis, "ERR unknown command"));
}

static void check_commands(struct report *report, const struct service *service, struct redis *redis)
{
        const struct config *config = service->shared;
        char owner[300], name[256], missing[600] = "";
        const char *const keys[6] = {config->inputs[0], service_reads_keys(service) ? config->inputs[0] : NULL,
                config->trims_inputs ? config->inputs[0] : NULL, config->output, config->dead_letter_stream, owner};
        stream_owner_key(config->inputs[0], config->group, owner, sizeof(owner));
        for (size_t i = 0, used = 0; i < ARRAY_LENGTH(redis_commands) && used < sizeof(missing); i++)
                if (!is_allowed(redis, redis_commands[i], keys, name))
                        used += (size_t)snprintf(missing + used, sizeof(missing) - used, "%s%s", used ? ", " : "", name);
        tell(report, *missing ? VERDICT_FAIL : VERDICT_OK, "redis commands", "%s%s",
                *missing ? "the user of Redis may not use, or not on our keys: " : "all that are needed are allowed", missing);
}

static void check_groups(struct report *report, const struct service *service, struct redis *redis)
{
        const char *const *streams = service->shared->inputs;
        const char *const written[] = {service->shared->output, service->shared->dead_letter_stream};
        for (size_t i = 0; i < ARRAY_LENGTH(written); i++)
                if (written[i] && redis_call(redis, NULL, "XLEN", written[i], NULL) && redis_error_is(redis, "WRONGTYPE"))
                        tell(report, VERDICT_FAIL, "stream", "%s: %s", written[i], redis_error(redis));
        for (size_t i = 0; streams[i]; i++) {
                struct stream_state state;
                if (stream_state_read(redis, streams[i], service->shared->group, &state))
                        tell(report, VERDICT_FAIL, "stream", "%s: %s", streams[i], redis_error(redis));
                else if (!state.exists)
                        tell(report, service->program->outbox_stale ? VERDICT_OK : VERDICT_WARN, "stream",
                                "%s: not there yet, it is made with group %s at start%s", streams[i], service->shared->group,
                                service->program->outbox_stale ? "" : "; is the name right (REDIS_STREAMS)?");
                else
                        tell(report, *state.foreign ? VERDICT_WARN : VERDICT_OK, "stream",
                                "%s: group %s, length %" PRId64 ", lag %" PRId64 "%s, pending %" PRId64 "%s%s%s", streams[i],
                                service->shared->group, state.length, state.lag, state.lag_known ? "" : " (counted)",
                                state.pending, *state.foreign ? "; group " : "", state.foreign,
                                *state.foreign ? " reads it too, trimming waits for it" : "");
        }
}

static void check_clock(struct report *report, const char *subject, int64_t server_s)
{
        int64_t apart = server_s - clock_wall_ms() / 1000;
        bool close = apart >= -CLOCK_SLACK_S && apart <= CLOCK_SLACK_S;
        tell(report, close ? VERDICT_OK : VERDICT_WARN, subject, "%+" PRId64 " s from this machine's%s", apart,
                close ? "" : ": delays that are measured across machines will be off");
}

static void check_redis(struct report *report, struct service *service, struct redis **out)
{
        struct redis *redis = NULL;
        AUTO(redis_reply) struct redis_reply *time = NULL;
        AUTO(text) char *problem = NULL;
        if (service_open_redis(service, &redis, TIMEOUT_MS, &problem)) {
                tell(report, VERDICT_FAIL, "redis", "cannot connect (REDIS_URL): %s", problem);
                return;
        }
        *out = redis;
        const char *route = redis_route(redis);
        tell(report, VERDICT_OK, "redis", "reachable%s%s", *route ? ": " : "", route);
        check_version(report, redis);
        check_config(report, redis);
        check_writes(report, service, redis);
        check_commands(report, service, redis);
        bool scripts = !redis_call(redis, NULL, "EVAL", "return 1", "0", NULL);
        tell(report, scripts ? VERDICT_OK : VERDICT_FAIL, "redis scripts", "%s",
                scripts ? "EVAL is allowed" : redis_error(redis));
        check_groups(report, service, redis);
        if (!redis_call(redis, &time, "TIME", NULL))
                check_clock(report, "redis clock", redis_reply_number(redis_reply_item(time, 0)));
}

static void check_rights(struct report *report, const struct service *service, struct db *db)
{
        AUTO(db_rows) struct db_rows *rows = NULL;
        if (db_query(db, service->program->rights, NULL, 0, &rows, TIMEOUT_MS))
                tell(report, VERDICT_FAIL, "program privileges", "%s", db_error(db));
        else if (!db_rows_count(rows))
                tell(report, VERDICT_OK, "program privileges", "all that this program and its commands need");
        for (size_t i = 0; i < db_rows_count(rows); i++)
                tell(report, db_rows_number(rows, i, 0) < NEED_RESET ? VERDICT_FAIL : VERDICT_WARN, "program privileges", "%s",
                        db_rows_text(rows, i, 1));
}

static bool check_schema(struct report *report, const struct program_database *database, struct db *db)
{
        int64_t version = 0;
        int r = database->check(db, &version);
        char text[PROGRAM_EXPLAIN_SIZE] = "";
        if (r)
                database->explain(db, r, text);
        tell(report, !r ? VERDICT_OK : VERDICT_FAIL, "schema", "version %" PRId64 ", this program knows %" PRId64 "%s%s", version,
                database->known(), r ? ": " : "", text);
        return !r;
}

static void check_settings(struct report *report, const struct service *service, struct db *db)
{
        const char *problem = NULL;
        int r = service->program->fits ? service->program->fits(service, db, &problem) : 0;
        tell(report, r ? VERDICT_FAIL : VERDICT_OK, "settings", "%s",
                !r        ? "fit what the database holds"
                : problem ? problem
                          : db_error(db));
}

/* Whether its schema fits. */
static bool check_postgres(struct report *report, struct service *service, struct db **out)
{
        struct db *db = NULL;
        AUTO(db_rows) struct db_rows *rows = NULL;
        AUTO(text) char *problem = NULL;
        if (service_open_db(service, &db, TIMEOUT_MS, NULL, NULL, &problem)) {
                tell(report, VERDICT_FAIL, "postgresql", "cannot connect (DATABASE_URL): %s", problem);
                return false;
        }
        *out = db;
        if (db_query(db, &sql_00_server, NULL, 0, &rows, TIMEOUT_MS)) {
                tell(report, VERDICT_FAIL, "postgresql", "%s", db_error(db));
                return false;
        }
        for (size_t i = 0; i < db_rows_count(rows); i++)
                tell(report, (enum verdict)db_rows_number(rows, i, 0), db_rows_text(rows, i, 1), "%s", db_rows_text(rows, i, 2));
        char why[SERVER_WHY_SIZE];
        const bool writes = !service_probe_db(db, TIMEOUT_MS, why);
        tell(report, writes ? VERDICT_OK : VERDICT_FAIL, "database role", "%s", writes ? "takes writes" : why);
        check_rights(report, service, db);
        check_clock(report, "postgresql clock", db_rows_number(rows, 0, 3));
        if (!check_schema(report, service->program->database, db))
                return false;
        check_settings(report, service, db);
        return true;
}

static void check_ownership(struct report *report, struct service *service, struct redis *redis, struct db *db)
{
        const char *problem = NULL;
        char text[PROGRAM_EXPLAIN_SIZE];
        int r = ownership_ask(service, redis, db, text, &problem);
        if (r > 0)
                tell(report, VERDICT_FAIL, "consumer group", "%s", text);
        if (r < 0)
                tell(report, VERDICT_FAIL, "consumer group", "%s", problem);
        else if (!r)
                tell(report, VERDICT_OK, "consumer group", "%s is of this database, or free", service->shared->group);
}

int check_run(struct service *service, int argc, char **argv)
{
        (void)argc, (void)argv;
        struct report report = {.list = service->json ? cJSON_CreateArray() : NULL};
        AUTO(redis) struct redis *redis = NULL;
        AUTO(db) struct db *db = NULL;
        check_redis(&report, service, &redis);
        if (check_postgres(&report, service, &db) && redis)
                check_ownership(&report, service, redis, db);
        if (report.list) {
                char *text = cJSON_Print(report.list);
                puts(text);
                free(text);
                cJSON_Delete(report.list);
        }
        return report.failures ? 1 : 0;
}
