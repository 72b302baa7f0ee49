#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/base/breaker.h"

/* Opened at 1000 by its third failure, for 500 ms. */
static struct breaker breaker;

static int setup_closed(void **state)
{
        (void)state;
        breaker_init(&breaker, 3, 500);
        return 0;
}

static int setup_open(void **state)
{
        setup_closed(state);
        (void)breaker_fail(&breaker, 0);
        (void)breaker_fail(&breaker, 100);
        (void)breaker_fail(&breaker, 1000);
        return 0;
}

static void stays_closed_below_threshold(void **state)
{
        (void)state;
        for (int i = 0; i < 10; i++) {
                assert_int_equal(breaker_fail(&breaker, 1000), BREAKER_CLOSED);
                assert_int_equal(breaker_fail(&breaker, 1000), BREAKER_CLOSED);
                assert_int_equal(breaker_ask(&breaker, 1000), 0);
                assert_int_equal(breaker_succeed(&breaker), BREAKER_CLOSED);
        }
        assert_int_equal(breaker_get(&breaker), BREAKER_CLOSED);
}

/* Five workers notice the same loss, each again and again, until the server is back. */
static void one_loss_counts_once_however_many_notice_it(void **state)
{
        (void)state;
        for (int worker = 0; worker < 5; worker++)
                assert_int_equal(breaker_fail(&breaker, 1000 + worker), BREAKER_CLOSED);
        for (int worker = 0; worker < 5; worker++)
                assert_int_equal(breaker_fail(&breaker, 1100 + worker), BREAKER_CLOSED);
        assert_int_equal(breaker_fail(&breaker, 1299), BREAKER_CLOSED);
        assert_int_equal(breaker_fail(&breaker, 1300), BREAKER_OPEN);
}

static void opens_at_threshold(void **state)
{
        (void)state;
        assert_int_equal(breaker_fail(&breaker, 0), BREAKER_CLOSED);
        assert_int_equal(breaker_fail(&breaker, 100), BREAKER_CLOSED);
        assert_int_equal(breaker_fail(&breaker, 1000), BREAKER_OPEN);
        assert_int_equal(breaker_ask(&breaker, 1000), 500);
        assert_int_equal(breaker_ask(&breaker, 1499), 1);
        assert_int_equal(breaker_ask(&breaker, 900), 500);
        assert_int_equal(breaker_get(&breaker), BREAKER_OPEN);
}

static void ignores_work_begun_before_it_opened(void **state)
{
        (void)state;
        assert_int_equal(breaker_succeed(&breaker), BREAKER_OPEN);
        assert_int_equal(breaker_fail(&breaker, 1400), BREAKER_OPEN);
        assert_int_equal(breaker_ask(&breaker, 1400), 100);
}

static void one_probe_closes(void **state)
{
        (void)state;
        assert_int_equal(breaker_ask(&breaker, 1500), 0);
        assert_int_equal(breaker_get(&breaker), BREAKER_HALF_OPEN);
        assert_int_equal(breaker_ask(&breaker, 1500), 200);
        assert_int_equal(breaker_succeed(&breaker), BREAKER_HALF_OPEN);
        assert_int_equal(breaker_ask(&breaker, 1500), 0);
        assert_int_equal(breaker_ask(&breaker, 1500), 0);
        assert_int_equal(breaker_fail(&breaker, 1500), BREAKER_CLOSED);
}

static void failed_probe_opens_again(void **state)
{
        (void)state;
        assert_int_equal(breaker_ask(&breaker, 1700), 0);
        assert_int_equal(breaker_fail(&breaker, 1800), BREAKER_OPEN);
        assert_int_equal(breaker_ask(&breaker, 1800), 500);
        assert_int_equal(breaker_ask(&breaker, 2300), 0);
        assert_int_equal(breaker_ask(&breaker, 2300), 200);
}

static void short_timeouts(void **state)
{
        struct breaker fast;

        (void)state;
        breaker_init(&fast, 1, 1);
        assert_int_equal(breaker_fail(&fast, 10), BREAKER_OPEN);
        assert_int_equal(breaker_ask(&fast, 10), 1);
        assert_int_equal(breaker_ask(&fast, 11), 0);
        assert_int_equal(breaker_ask(&fast, 11), 1);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup(stays_closed_below_threshold, setup_closed),
                cmocka_unit_test_setup(one_loss_counts_once_however_many_notice_it, setup_closed),
                cmocka_unit_test_setup(opens_at_threshold, setup_closed),
                cmocka_unit_test_setup(ignores_work_begun_before_it_opened, setup_open),
                cmocka_unit_test_setup(one_probe_closes, setup_open),
                cmocka_unit_test_setup(failed_probe_opens_again, setup_open),
                cmocka_unit_test(short_timeouts),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
