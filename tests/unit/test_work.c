#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "common/stage/work.h"

struct runs {
        size_t order[WORK_MUTEXES], count, failing;
};

static int note_run(struct work *work, void *context, size_t which)
{
        struct runs *runs = context;
        assert_true(pthread_mutex_trylock(&work->mutexes[which])); /* it has it, or waited for it in vain */
        runs->order[runs->count++] = which;
        return which == runs->failing ? -1 : 0;
}

static void runs_each_once_but_what_is_done(void **state)
{
        bool done[] = {false, true, false, false};
        struct runs runs = {.failing = SIZE_MAX};
        pthread_mutex_t mutexes[WORK_MUTEXES];
        struct work work = {.mutexes = mutexes};
        (void)state;
        for (size_t i = 0; i < WORK_MUTEXES; i++)
                pthread_mutex_init(&mutexes[i], NULL);
        assert_int_equal(work_run_each(&work, done, 4, note_run, &runs), 0);
        assert_int_equal(runs.count, 3);
        assert_int_equal(runs.order[0], 0);
        assert_int_equal(runs.order[1], 2);
        assert_int_equal(runs.order[2], 3);
}

static void what_another_is_at_comes_last(void **state)
{
        bool done[3] = {false};
        struct runs runs = {.failing = SIZE_MAX};
        pthread_mutex_t mutexes[WORK_MUTEXES];
        struct work work = {.mutexes = mutexes};
        (void)state;
        for (size_t i = 0; i < WORK_MUTEXES; i++)
                pthread_mutex_init(&mutexes[i], NULL);
        pthread_mutex_lock(&mutexes[0]); /* and is never given back: it goes on without */
        assert_int_equal(work_run_each(&work, done, 3, note_run, &runs), 0);
        assert_int_equal(runs.count, 3);
        assert_int_equal(runs.order[0], 1);
        assert_int_equal(runs.order[1], 2);
        assert_int_equal(runs.order[2], 0);
        assert_false(pthread_mutex_trylock(&mutexes[1])); /* given back */
        pthread_mutex_unlock(&mutexes[1]);
        pthread_mutex_unlock(&mutexes[0]);
}

static void stops_at_a_failure_and_unlocks(void **state)
{
        bool done[3] = {false};
        struct runs runs = {.failing = 1};
        pthread_mutex_t mutexes[WORK_MUTEXES];
        struct work work = {.mutexes = mutexes};
        (void)state;
        for (size_t i = 0; i < WORK_MUTEXES; i++)
                pthread_mutex_init(&mutexes[i], NULL);
        assert_int_equal(work_run_each(&work, done, 3, note_run, &runs), -1);
        assert_int_equal(runs.count, 2);
        assert_false(pthread_mutex_trylock(&mutexes[1]));
        pthread_mutex_unlock(&mutexes[1]);
}

static struct stream_key *key_of(struct work *work, size_t i)
{
        assert_true(i < work->key_count);
        return &work->keys[i];
}

static void folded_keys_are_named_once_with_their_highest_block(void **state)
{
        struct work work = {0};
        (void)state;
        work_add_key(&work, "0xb", "1", "deposited", 5);
        work_add_bucket(&work, "3", "backlog", 7);
        work_add_key(&work, "0xb", NULL, "atom_created", 4);
        work_add_key(&work, "0xb", "1", "redeemed", 9);
        work_add_bucket(&work, "3", "backlog", 8);
        work_fold_keys(&work);
        assert_int_equal(work.key_count, 3);
        assert_null(key_of(&work, 0)->curve_id);
        assert_string_equal(key_of(&work, 1)->reason, "redeemed");
        assert_int_equal(key_of(&work, 1)->block_number, 9);
        assert_string_equal(key_of(&work, 2)->bucket, "3");
        assert_int_equal(key_of(&work, 2)->block_number, 8);
        work_deinit(&work);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(runs_each_once_but_what_is_done),
                cmocka_unit_test(what_another_is_at_comes_last),
                cmocka_unit_test(stops_at_a_failure_and_unlocks),
                cmocka_unit_test(folded_keys_are_named_once_with_their_highest_block),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
