#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "common/work.h"

struct runs {
        size_t order[WORK_TURNS], count, failing;
};

static int note_run(struct work *work, void *context, size_t which)
{
        struct runs *runs = context;
        if (work->turns) /* it has its own turn, or waited for it in vain */
                assert_false(work_take_turn(&work->turns[1 + which], 0));
        runs->order[runs->count++] = which;
        return which == runs->failing ? -1 : 0;
}

static void runs_each_once_but_what_is_done(void **state)
{
        bool done[] = {false, true, false, false};
        struct runs runs = {.failing = SIZE_MAX};
        struct work work = {0}; /* without turns, as in replay */
        (void)state;
        assert_int_equal(work_run_turns(&work, 1, done, 4, note_run, &runs), 0);
        assert_int_equal(runs.count, 3);
        assert_int_equal(runs.order[0], 0);
        assert_int_equal(runs.order[1], 2);
        assert_int_equal(runs.order[2], 3);
}

static void what_another_is_at_comes_last(void **state)
{
        bool done[3] = {false};
        struct runs runs = {.failing = SIZE_MAX};
        pthread_mutex_t turns[WORK_TURNS];
        struct work work = {.turns = turns};
        (void)state;
        for (size_t i = 0; i < WORK_TURNS; i++)
                pthread_mutex_init(&turns[i], NULL);
        pthread_mutex_lock(&turns[1]); /* and is never given back: it goes on without */
        assert_int_equal(work_run_turns(&work, 1, done, 3, note_run, &runs), 0);
        assert_int_equal(runs.count, 3);
        assert_int_equal(runs.order[0], 1);
        assert_int_equal(runs.order[1], 2);
        assert_int_equal(runs.order[2], 0);
        assert_true(work_take_turn(&turns[2], 0)); /* given back */
        pthread_mutex_unlock(&turns[2]);
        pthread_mutex_unlock(&turns[1]);
}

static void stops_at_a_failure_and_gives_the_turn_back(void **state)
{
        bool done[3] = {false};
        struct runs runs = {.failing = 1};
        pthread_mutex_t turns[WORK_TURNS];
        struct work work = {.turns = turns};
        (void)state;
        for (size_t i = 0; i < WORK_TURNS; i++)
                pthread_mutex_init(&turns[i], NULL);
        assert_int_equal(work_run_turns(&work, 1, done, 3, note_run, &runs), -1);
        assert_int_equal(runs.count, 2);
        assert_true(work_take_turn(&turns[2], 0));
        pthread_mutex_unlock(&turns[2]);
}

static void parts_are_in_the_order_of_terms(void **state)
{
        char term[67];
        size_t counts[WORK_PARTS_MAX] = {0}, last = 0;
        (void)state;
        for (int digit = 0; digit < 16; digit++) {
                snprintf(term, sizeof(term), "0x%x%063d", (unsigned)digit, 0);
                size_t part = work_part(term, WORK_PARTS_MAX);
                assert_int_equal(work_part(term, 1), 0);
                assert_in_range(part, last, WORK_PARTS_MAX - 1);
                counts[last = part]++;
        }
        for (size_t part = 0; part < WORK_PARTS_MAX; part++)
                assert_int_equal(counts[part], 16 / WORK_PARTS_MAX);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(runs_each_once_but_what_is_done),
                cmocka_unit_test(what_another_is_at_comes_last),
                cmocka_unit_test(stops_at_a_failure_and_gives_the_turn_back),
                cmocka_unit_test(parts_are_in_the_order_of_terms),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
