#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <limits.h>

#include "common/base/backoff.h"

static void doubles_up_to_the_cap(void **state)
{
        struct backoff backoff;

        (void)state;
        for (uint64_t seed = 0; seed < 200; seed++) {
                uint64_t delay = 100;

                backoff_init(&backoff, 100, 5000, seed);
                for (int i = 0; i < 100; i++, delay *= delay < 5000 ? 2 : 1)
                        assert_in_range(
                                backoff_next(&backoff), (delay < 5000 ? delay : 5000) / 2 + 1, delay < 5000 ? delay : 5000);
        }
}

static void resets(void **state)
{
        struct backoff backoff;

        (void)state;
        backoff_init(&backoff, 100, 5000, 7);
        for (int i = 0; i < 10; i++)
                (void)backoff_next(&backoff);
        backoff_reset(&backoff);
        assert_in_range(backoff_next(&backoff), 51, 100);
}

static void spreads_replicas(void **state)
{
        unsigned seen[64], different = 0;

        (void)state;
        for (uint64_t seed = 0; seed < ARRAY_LENGTH(seen); seed++) {
                struct backoff backoff;

                backoff_init(&backoff, 100000, 100000, seed);
                seen[seed] = backoff_next(&backoff);
                different += seed > 0 && seen[seed] != seen[seed - 1];
        }
        assert_in_range(different, 60, 63);
}

static void extremes(void **state)
{
        struct backoff backoff;

        (void)state;
        backoff_init(&backoff, UINT_MAX, UINT_MAX, 1);
        for (int i = 0; i < 50; i++)
                assert_in_range(backoff_next(&backoff), UINT_MAX / 2 + 1, UINT_MAX);
        backoff_init(&backoff, 1, 1, 1);
        assert_int_equal(backoff_next(&backoff), 1);
        backoff_init(&backoff, 0, 0, 1);
        assert_int_equal(backoff_next(&backoff), 0);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(doubles_up_to_the_cap),
                cmocka_unit_test(resets),
                cmocka_unit_test(spreads_replicas),
                cmocka_unit_test(extremes),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
