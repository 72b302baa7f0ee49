#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <cjson/cJSON.h>
#include <stdio.h>
#include <string.h>
#include "common/view/pipeline.h"

/* A pipeline of two stages that works; a test changes one member of it. */
static const char well[] =
        "{\"program\":\"a\",\"circuit_breaker_state\":\"Closed\",\"seen_ms_ago\":900,\"streams_old\":false,\"database_old\":"
        "false,"
        "\"servers\":{\"redis\":{\"up\":true},\"postgresql\":{\"up\":true}},\"dead_letters\":{\"count\":0,\"groups\":[]},"
        "\"streams\":[{\"stream\":\"in\",\"stage\":\"a\",\"lag\":0,\"pending\":0,\"entries_per_second\":0,\"most\":0,\"stuck_"
        "ms\":0,"
        "\"rate_history\":[0,0,0,0,0,0]},{\"stream\":\"keys\",\"lag\":0,\"pending\":0,\"entries_per_second\":0,\"most\":0,"
        "\"stuck_ms\":0,\"rate_history\":[]}],\"outboxes\":{\"b\":{\"rows\":0,\"fewer_per_second\":null,\"most\":0}},"
        "\"database\":{\"stages\":[\"a\",\"b\"],\"streams\":{\"in\":\"a\",\"keys\":\"b\"},\"outbox\":{\"b\":0},\"verify\":[],"
        "\"replay_unfinished\":false,\"reorgs_running\":[],\"programs\":{"
        "\"a\":{\"replicas\":2,\"ready\":2,\"breaker\":\"Closed\"},\"b\":{\"replicas\":1,\"ready\":1,\"breaker\":\"Closed\"}}}}";

static cJSON *root;

static int setup(void **state)
{
        (void)state;
        root = cJSON_Parse(well);
        assert_non_null(root);
        return 0;
}

static int teardown(void **state)
{
        (void)state;
        cJSON_Delete(root);
        return 0;
}

/* path: names and places in lists, "streams/0/lag" */
static cJSON *at(const char *path)
{
        char name[64];
        cJSON *item = root;
        while (item && *path) {
                size_t size = strcspn(path, "/");
                snprintf(name, sizeof(name), "%.*s", (int)size, path);
                item = cJSON_IsArray(item) ? cJSON_GetArrayItem(item, name[0] - '0')
                                           : cJSON_GetObjectItemCaseSensitive(item, name);
                path += size + (path[size] == '/');
        }
        assert_non_null(item);
        return item;
}

/* The member named by path becomes what the JSON text says. */
static void set(const char *path, const char *json)
{
        cJSON *item = at(path), *new = cJSON_Parse(json), *next = item->next, *prev = item->prev;
        char *name = item->string;
        assert_non_null(new);
        cJSON_Delete(item->child);
        item->child = new->child;
        item->type = new->type;
        item->valuedouble = new->valuedouble;
        new->child = NULL;
        cJSON_Delete(new);
        item->next = next, item->prev = prev, item->string = name;
}

static void judge(const char *state, const char *severity, const char *text, const char *runbook)
{
        pipeline_add_stages(root);
        pipeline_judge(root);
        assert_string_equal(at("state")->valuestring, state);
        if (!text) {
                assert_int_equal(cJSON_GetArraySize(at("problems")), 0);
                return;
        }
        assert_int_equal(cJSON_GetArraySize(at("problems")), 1);
        assert_string_equal(at("problems/0/text")->valuestring, text);
        assert_string_equal(at("problems/0/severity")->valuestring, severity);
        assert_string_equal(at("problems/0/runbook")->valuestring, runbook);
}

static void works(void **state)
{
        (void)state;
        judge("working", NULL, NULL, NULL);
        assert_int_equal(cJSON_GetArraySize(at("notes")), 0);
        assert_string_equal(at("stages/0/name")->valuestring, "a");
        assert_string_equal(at("stages/1/name")->valuestring, "b");
        assert_string_equal(at("streams/1/stage")->valuestring, "b");
        assert_true(at("waiting/entries")->valuedouble == 0 && at("waiting/seconds_left")->valuedouble == 0);
}

static void streams_stand_in_the_direction_of_the_flow(void **state)
{
        (void)state;
        set("database/streams", "{\"in\":\"b\",\"keys\":\"a\"}");
        cJSON_DeleteItemFromObjectCaseSensitive(at("streams/0"), "stage");
        cJSON_AddItemToArray(at("streams"), cJSON_Parse("{\"stream\":\"of nobody\",\"lag\":0,\"pending\":0}"));
        judge("working", NULL, NULL, NULL);
        assert_string_equal(at("streams/0/stream")->valuestring, "keys");
        assert_string_equal(at("streams/1/stream")->valuestring, "in");
        assert_string_equal(at("streams/2/stream")->valuestring, "of nobody");
}

static void a_replica_is_not_ready(void **state)
{
        (void)state;
        set("database/programs/a/ready", "1");
        judge("degraded", "warning", "a: 1 of 2 replicas not ready", "PipelineNotReady");
}

static void none_is_ready(void **state)
{
        (void)state;
        set("database/programs/b/ready", "0");
        judge("not working", "error", "b: 1 of 1 replicas not ready", "PipelineNotReady");
}

static void no_replica(void **state)
{
        (void)state;
        set("database/programs/b/replicas", "0");
        judge("not working", "error", "b: no replica runs", "PipelineTargetDown");
}

static void own_breaker(void **state)
{
        (void)state;
        cJSON_SetValuestring(at("circuit_breaker_state"), "Open");
        judge("not working", "error", "a: circuit breaker Open", "PipelineBreakerOpen");
}

static void old_streams(void **state)
{
        (void)state;
        set("streams_old", "true");
        set("seen_ms_ago", "150000");
        judge("not working", "error", "the streams were last seen 2 min ago", "PipelineBreakerOpen");
}

static void old_streams_without_redis(void **state)
{
        (void)state;
        set("streams_old", "true");
        set("seen_ms_ago", "20000");
        set("servers/redis/up", "false");
        judge("not working", "error", "Redis away; the streams were last seen 20 s ago", "PipelineBreakerOpen");
}

static void stalled(void **state)
{
        (void)state;
        set("streams/0/lag", "7");
        judge("not working", "error", "in: 7 entries wait, and none was acked for a minute", "PipelineStalled");
}

static void not_yet_stalled(void **state)
{
        (void)state;
        set("streams/0/lag", "7");
        set("streams/0/rate_history", "[0,0,0,0,0]");
        judge("working", NULL, NULL, NULL);
}

static void a_reorg_stalls_nothing(void **state)
{
        (void)state;
        set("streams/0/lag", "7");
        set("database/reorgs_running", "[{\"fork_block\":12,\"events\":3400}]");
        judge("working", NULL, NULL, NULL);
        assert_string_equal(at("notes/0")->valuestring, "A reorg from block 12 on is being handled: it moves up to 3400 events");
}

static void an_entry_is_pending(void **state)
{
        (void)state;
        set("streams/1/pending", "1");
        set("streams/1/stuck_ms", "31000");
        judge("degraded", "warning", "keys: an entry has been pending for 31 s; a slow message, or a lock that somebody holds",
                "PipelineOldestPending");
}

static void a_change_waits_in_the_outbox(void **state)
{
        (void)state;
        set("database/outbox/b", "45.2");
        judge("degraded", "warning", "b: a change has waited in the outbox for 45 s", "PipelineOutboxOld");
}

static void a_backlog_is_no_problem(void **state)
{
        (void)state;
        set("database/outbox/b", "45.2");
        set("streams/1/pending", "64");
        set("outboxes/b/rows", "3000");
        set("outboxes/b/most", "12000");
        set("outboxes/b/fewer_per_second", "100");
        judge("working", NULL, NULL, NULL);
        assert_string_equal(at("notes/0")->valuestring, "b is in a backlog: 3000 rows wait, 75 % done, 30 s left");
        assert_true(at("stages/1/progress")->valuedouble == 0.75 && at("stages/1/seconds_left")->valuedouble == 30);
        assert_true(at("waiting/entries")->valuedouble == 64 && at("waiting/rows")->valuedouble == 3000);
}

static void time_left_is_not_known(void **state)
{
        (void)state;
        set("streams/0/lag", "2000");
        set("streams/0/most", "2000");
        set("streams/0/entries_per_second", "null");
        set("streams/0/rate_history", "[]");
        judge("working", NULL, NULL, NULL);
        assert_string_equal(at("notes/0")->valuestring, "a is in a backlog: 2000 entries wait, 0 % done, time left not known");
        assert_true(cJSON_IsNull(at("waiting/seconds_left")));
}

static void a_lag_is_counted_up_to_a_limit(void **state)
{
        (void)state;
        set("streams/0/lag", "2000");
        set("streams/0/most", "2000");
        set("streams/0/rate_history", "[]");
        cJSON_AddFalseToObject(at("streams/0"), "lag_known");
        judge("working", NULL, NULL, NULL);
        assert_non_null(strstr(at("notes/0")->valuestring, "a is in a backlog: at least 2000 entries wait"));
}

static void verify_found_differences(void **state)
{
        (void)state;
        set("database/verify", "[{\"program\":\"a\",\"differences\":0},{\"program\":\"b\",\"differences\":2}]");
        judge("not working", "error", "b verify: the tables differ in 2 rows", "PipelineVerifyDifferences");
}

static void a_dead_letter(void **state)
{
        (void)state;
        set("dead_letters/count", "1");
        judge("degraded", "warning", "1 dead letter", "PipelineDeadLetters");
}

static void nothing_was_asked_yet(void **state)
{
        (void)state;
        set("database", "null");
        judge("not working", "error", "the state of the replicas is not known", "PipelineBreakerOpen");
        assert_int_equal(cJSON_GetArraySize(at("stages")), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(works),
                TEST(streams_stand_in_the_direction_of_the_flow),
                TEST(a_replica_is_not_ready),
                TEST(none_is_ready),
                TEST(no_replica),
                TEST(own_breaker),
                TEST(old_streams),
                TEST(old_streams_without_redis),
                TEST(stalled),
                TEST(not_yet_stalled),
                TEST(a_reorg_stalls_nothing),
                TEST(an_entry_is_pending),
                TEST(a_change_waits_in_the_outbox),
                TEST(a_backlog_is_no_problem),
                TEST(time_left_is_not_known),
                TEST(a_lag_is_counted_up_to_a_limit),
                TEST(verify_found_differences),
                TEST(a_dead_letter),
                TEST(nothing_was_asked_yet),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
