#include "common/view/pipeline.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include "common/base/base.h"

#define BACKLOG_MIN 1000.0 /* from so many on what waits is a backlog */
#define STUCK_MS    30000.0
#define MINUTE      6 /* samples of a stream's history */
#define TIME_SIZE   32

static const cJSON *get(const cJSON *object, const char *name)
{
        return cJSON_GetObjectItemCaseSensitive(object, name);
}

static const char *text_of(const cJSON *object, const char *name)
{
        const char *text = cJSON_GetStringValue(get(object, name));
        return text ? text : "";
}

/* NAN: not known. */
static double number_of(const cJSON *object, const char *name)
{
        const cJSON *item = get(object, name);
        return cJSON_IsNumber(item) ? item->valuedouble : (double)NAN;
}

static void add_number(cJSON *object, const char *name, double value)
{
        if (isnan(value))
                cJSON_AddNullToObject(object, name);
        else
                cJSON_AddNumberToObject(object, name, value);
}

/* ---- stages ---- */

struct backlog {
        double waiting, most, per_second;
};

static double seconds_left(const struct backlog *backlog)
{
        return backlog->waiting <= 0 ? 0 : backlog->per_second > 0 ? backlog->waiting / backlog->per_second : (double)NAN;
}

/* A stage whose outbox holds rows has that to do: one entry of its stream may stand for many. */
static struct backlog backlog_of(const cJSON *root, const char *stage, bool *rows, double *entries)
{
        const cJSON *stream, *outbox = get(get(root, "outboxes"), stage);
        struct backlog backlog = {0};
        cJSON_ArrayForEach(stream, get(root, "streams"))
        {
                if (strcmp(text_of(stream, "stage"), stage))
                        continue;
                backlog.waiting += number_of(stream, "lag") + number_of(stream, "pending");
                backlog.most += number_of(stream, "most");
                backlog.per_second += number_of(stream, "entries_per_second");
        }
        *entries = backlog.waiting;
        *rows = number_of(outbox, "rows") > 0;
        if (*rows)
                backlog = (struct backlog){
                        number_of(outbox, "rows"), number_of(outbox, "most"), number_of(outbox, "fewer_per_second")};
        return backlog;
}

static void add_stage(cJSON *root, cJSON *stages, const char *name, double *entries, double *rows, double *left)
{
        const cJSON *program = get(get(get(root, "database"), "programs"), name);
        cJSON *stage = program ? cJSON_Duplicate(program, true) : cJSON_CreateObject();
        bool of_rows;
        double waiting;
        const struct backlog backlog = backlog_of(root, name, &of_rows, &waiting);
        bool much = backlog.waiting > 0 && backlog.most >= BACKLOG_MIN;
        cJSON_AddItemToArray(stages, stage);
        cJSON_AddStringToObject(stage, "name", name);
        cJSON_AddNumberToObject(stage, "entries", waiting);
        add_number(stage, "outbox_rows", number_of(get(get(root, "outboxes"), name), "rows"));
        add_number(stage, "outbox_oldest_s", number_of(get(get(root, "database"), "outbox"), name));
        cJSON_AddStringToObject(stage, "unit", of_rows ? "rows" : "entries");
        cJSON_AddNumberToObject(stage, "waiting", backlog.waiting);
        add_number(stage, "done_per_second", backlog.per_second);
        add_number(stage, "seconds_left", seconds_left(&backlog));
        add_number(stage, "progress", much ? 1 - backlog.waiting / backlog.most : (double)NAN);
        *entries += waiting;
        *rows += of_rows ? backlog.waiting : 0;
        *left = isnan(*left) || isnan(seconds_left(&backlog)) ? (double)NAN : fmax(*left, seconds_left(&backlog));
}

/* Its own streams a program knows; those of the others PostgreSQL does. */
static void add_stage_names(cJSON *root)
{
        cJSON *stream;
        cJSON_ArrayForEach(stream, cJSON_GetObjectItemCaseSensitive(root, "streams"))
        {
                if (!get(stream, "stage"))
                        cJSON_AddStringToObject(
                                stream, "stage", text_of(get(get(root, "database"), "streams"), text_of(stream, "stream")));
        }
}

/* Moves the streams of a stage, or with NULL all that are left, to the end of another list. */
static void move_streams(cJSON *from, cJSON *to, const char *stage)
{
        for (cJSON *stream = from->child, *next; stream; stream = next) {
                next = stream->next;
                if (!stage || !strcmp(text_of(stream, "stage"), stage))
                        cJSON_AddItemToArray(to, cJSON_DetachItemViaPointer(from, stream));
        }
}

/* In the direction of the flow. */
static void sort_streams(cJSON *root)
{
        const cJSON *name;
        cJSON *sorted = cJSON_CreateArray(), *streams = cJSON_GetObjectItemCaseSensitive(root, "streams");
        cJSON_ArrayForEach(name, get(get(root, "database"), "stages")) move_streams(streams, sorted, name->valuestring);
        move_streams(streams, sorted, NULL);
        cJSON_ReplaceItemInObjectCaseSensitive(root, "streams", sorted);
}

void pipeline_add_stages(cJSON *root)
{
        const cJSON *name;
        add_stage_names(root);
        sort_streams(root);
        double entries = 0, rows = 0, left = 0;
        cJSON *stages = cJSON_AddArrayToObject(root, "stages");
        cJSON_ArrayForEach(name, get(get(root, "database"), "stages"))
                add_stage(root, stages, name->valuestring, &entries, &rows, &left);
        cJSON *waiting = cJSON_AddObjectToObject(root, "waiting");
        cJSON_AddNumberToObject(waiting, "entries", entries);
        cJSON_AddNumberToObject(waiting, "rows", rows);
        add_number(waiting, "seconds_left", left);
}

/* ---- the verdict ---- */

enum severity { WARNING, ERROR };

struct verdict {
        cJSON *problems, *notes;
        bool warning, error;
};

static void PRINTF_LIKE(4, 5)
        add_problem(struct verdict *verdict, enum severity severity, const char *runbook, const char *format, ...)
{
        char text[700];
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(text, sizeof(text), format, arguments);
        va_end(arguments);
        cJSON *problem = cJSON_CreateObject();
        cJSON_AddStringToObject(problem, "severity", severity == ERROR ? "error" : "warning");
        cJSON_AddStringToObject(problem, "text", text);
        cJSON_AddStringToObject(problem, "runbook", runbook);
        cJSON_AddItemToArray(verdict->problems, problem);
        *(severity == ERROR ? &verdict->error : &verdict->warning) = true;
}

static void PRINTF_LIKE(2, 3) add_note(struct verdict *verdict, const char *format, ...)
{
        char text[300];
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(text, sizeof(text), format, arguments);
        va_end(arguments);
        cJSON_AddItemToArray(verdict->notes, cJSON_CreateString(text));
}

static const char *time_text(double seconds, char out[TIME_SIZE])
{
        const char *unit = seconds < 120 ? "s" : seconds < 7200 ? "min" : seconds < 172800 ? "h" : "days";
        double scale = seconds < 120 ? 1 : seconds < 7200 ? 60 : seconds < 172800 ? 3600 : 86400;
        snprintf(out, TIME_SIZE, "%.0f %s", seconds / scale, unit);
        return out;
}

static void judge_servers(struct verdict *verdict, const cJSON *root)
{
        const cJSON *server;
        char time[TIME_SIZE], seen[64] = "";
        bool told = false;
        if (cJSON_IsTrue(get(root, "streams_old")))
                snprintf(seen, sizeof(seen), "the streams were last seen %s ago",
                        time_text(number_of(root, "seen_ms_ago") / 1000, time));
        cJSON_ArrayForEach(server, get(root, "servers"))
        {
                bool redis = !strcmp(server->string, "redis");
                const char *why = text_of(server, "error"), *since = redis ? seen : "";
                if (cJSON_IsTrue(get(server, "up")))
                        continue;
                add_problem(verdict, ERROR, "PipelineBreakerOpen", "%s away%s%s%s%s", redis ? "Redis" : "PostgreSQL",
                        *why ? ": " : "", why, *since ? "; " : "", since);
                told = told || redis;
        }
        if (*text_of(root, "waiting_for"))
                add_problem(verdict, ERROR, "PipelineNotReady", "%s waits for %s", text_of(root, "program"),
                        text_of(root, "waiting_for"));
        if (*text_of(root, "failing"))
                add_problem(verdict, WARNING, "PipelineBatchRetries", "%s: batches fail: %s", text_of(root, "program"),
                        text_of(root, "failing"));
        if (*text_of(root, "refused"))
                add_problem(verdict, ERROR, "PipelineForeignDatabase", "%s reads nothing: %s", text_of(root, "program"),
                        text_of(root, "refused"));
        if (*seen && !told)
                add_problem(verdict, ERROR, "PipelineBreakerOpen", "%s", seen);
        if (!cJSON_IsObject(get(root, "database")) || cJSON_IsTrue(get(root, "database_old")))
                add_problem(verdict, ERROR, "PipelineBreakerOpen", "the state of the replicas is not known");
}

static bool is_open(const char *breaker)
{
        return !strcmp(breaker, "Open") || !strcmp(breaker, "HalfOpen");
}

static void judge_stage(struct verdict *verdict, const cJSON *root, const cJSON *stage)
{
        char time[TIME_SIZE];
        const char *name = text_of(stage, "name"), *breaker = text_of(root, "circuit_breaker_state");
        double replicas = number_of(stage, "replicas"), ready = number_of(stage, "ready");
        double waited = number_of(stage, "outbox_oldest_s");
        if (strcmp(name, text_of(root, "program")) || !is_open(breaker))
                breaker = text_of(stage, "breaker");
        if (replicas == 0)
                add_problem(verdict, ERROR, "PipelineTargetDown", "%s: no replica runs", name);
        else if (is_open(breaker))
                add_problem(verdict, ERROR, "PipelineBreakerOpen", "%s: circuit breaker %s", name, breaker);
        else if (ready < replicas)
                add_problem(verdict, ready > 0 ? WARNING : ERROR, "PipelineNotReady", "%s: %.0f of %.0f replicas not ready", name,
                        replicas - ready, replicas);
        if (waited * 1000 > STUCK_MS && number_of(stage, "entries") == 0)
                add_problem(verdict, WARNING, "PipelineOutboxOld", "%s: a change has waited in the outbox for %s", name,
                        time_text(waited, time));
}

/* In the last minute. */
static bool acked_nothing(const cJSON *stream)
{
        const cJSON *rates = get(stream, "rate_history");
        int count = cJSON_GetArraySize(rates);
        double sum = count < MINUTE ? 1 : 0;
        for (int i = count - MINUTE; i >= 0 && i < count; i++) {
                const cJSON *rate = cJSON_GetArrayItem(rates, i);
                sum += cJSON_IsNumber(rate) ? rate->valuedouble : 1;
        }
        return sum == 0;
}

/* Where none runs that is all there is to say of what it reads. */
static bool is_read(const cJSON *root, const cJSON *stream)
{
        const cJSON *stage;
        cJSON_ArrayForEach(stage, get(root, "stages"))
        {
                if (!strcmp(text_of(stream, "stage"), text_of(stage, "name")) && number_of(stage, "replicas") == 0)
                        return false;
        }
        return true;
}

static void judge_stream(struct verdict *verdict, const cJSON *root, const cJSON *stream)
{
        char time[TIME_SIZE];
        const char *name = text_of(stream, "stream");
        double lag = number_of(stream, "lag"), stuck = number_of(stream, "stuck_ms"), lost = number_of(stream, "lost");
        if (lost > 0)
                add_problem(verdict, WARNING, "PipelineLostEntries", "%s: %.0f entries were trimmed away before they were stored",
                        name, lost);
        if (lag > 0 && acked_nothing(stream))
                add_problem(
                        verdict, ERROR, "PipelineStalled", "%s: %.0f entries wait, and none was acked for a minute", name, lag);
        else if (lag < BACKLOG_MIN && stuck > STUCK_MS && is_read(root, stream))
                add_problem(verdict, WARNING, "PipelineOldestPending",
                        "%s: an entry has been pending for %s; a slow message, or a lock that somebody holds", name,
                        time_text(stuck / 1000, time));
}

static void judge_tables(struct verdict *verdict, const cJSON *database)
{
        const cJSON *item;
        cJSON_ArrayForEach(item, get(database, "verify"))
        {
                if (number_of(item, "differences") > 0)
                        add_problem(verdict, ERROR, "PipelineVerifyDifferences", "%s verify: the tables differ in %.0f rows",
                                text_of(item, "program"), number_of(item, "differences"));
        }
        const cJSON *trouble = get(database, "reconcile_trouble");
        if (cJSON_IsObject(trouble))
                add_problem(verdict, WARNING,
                        strcmp(text_of(trouble, "cause"), "repeated") ? "PipelineReconcileOld" : "PipelineReconcileRepeats",
                        "reconciling with the chain waits: %s", text_of(trouble, "why"));
        if (cJSON_IsTrue(get(database, "replay_unfinished")))
                add_note(verdict, "A replay is under way: the tables do not hold all yet");
        cJSON_ArrayForEach(item, get(database, "reorgs_running"))
                add_note(verdict, "A reorg from block %.0f on is being handled: it moves up to %.0f events",
                        number_of(item, "fork_block"), number_of(item, "events"));
}

/* Where Redis does not know a lag it is counted, up to a limit. */
static bool is_lag_counted(const cJSON *root, const cJSON *stage)
{
        const cJSON *stream;
        cJSON_ArrayForEach(stream, get(root, "streams"))
        {
                if (!strcmp(text_of(stream, "stage"), text_of(stage, "name")) && cJSON_IsFalse(get(stream, "lag_known")))
                        return true;
        }
        return false;
}

static void note_backlog(struct verdict *verdict, const cJSON *root, const cJSON *stage)
{
        char time[TIME_SIZE];
        const bool least = !strcmp(text_of(stage, "unit"), "entries") && is_lag_counted(root, stage);
        double progress = number_of(stage, "progress"), left = number_of(stage, "seconds_left");
        if (isnan(progress))
                return;
        if (isnan(left))
                snprintf(time, sizeof(time), "time left not known");
        else
                time_text(left, time);
        add_note(verdict, "%s is in a backlog: %s%.0f %s wait, %.0f %% done, %s%s", text_of(stage, "name"),
                least ? "at least " : "", number_of(stage, "waiting"), text_of(stage, "unit"), 100 * progress, time,
                isnan(left) ? "" : " left");
}

void pipeline_judge(cJSON *root)
{
        const cJSON *item, *database = get(root, "database");
        struct verdict verdict = {0};
        cJSON *state = cJSON_AddStringToObject(root, "state", "not working");
        verdict.problems = cJSON_AddArrayToObject(root, "problems");
        verdict.notes = cJSON_AddArrayToObject(root, "notes");
        judge_servers(&verdict, root);
        cJSON_ArrayForEach(item, get(root, "stages")) judge_stage(&verdict, root, item);
        if (!cJSON_IsTrue(get(root, "streams_old")) && !cJSON_GetArraySize(get(database, "reorgs_running")))
                cJSON_ArrayForEach(item, get(root, "streams")) judge_stream(&verdict, root, item);
        judge_tables(&verdict, database);
        cJSON_ArrayForEach(item, get(root, "stages")) note_backlog(&verdict, root, item);
        double letters = number_of(get(root, "dead_letters"), "count");
        if (letters > 0)
                add_problem(
                        &verdict, WARNING, "PipelineDeadLetters", "%.0f dead %s", letters, letters == 1 ? "letter" : "letters");
        if (!verdict.error)
                cJSON_SetValuestring(state, verdict.warning ? "degraded" : "working");
}
