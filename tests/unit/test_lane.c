#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/stage/lane.h"

static struct lane lane;

static int setup(void **state)
{
        (void)state;
        lane_init(&lane);
        return 0;
}

static int teardown(void **state)
{
        (void)state;
        lane_deinit(&lane);
        return 0;
}

static void one_worker_has_it_until_it_leaves(void **state)
{
        (void)state;
        assert_true(lane_take(&lane, 1, 0));
        assert_true(lane_take(&lane, 1, 0));
        assert_false(lane_take(&lane, 0, 0));
        lane_leave(&lane, 0); /* not its own */
        assert_false(lane_take(&lane, 0, 0));
        lane_leave(&lane, 1);
        assert_true(lane_take(&lane, 0, 0));
}

static void a_holder_that_does_not_come_to_read_loses_it(void **state)
{
        (void)state;
        assert_true(lane_take(&lane, 0, 1000));
        assert_true(lane_take(&lane, 0, 2000));
        assert_false(lane_take(&lane, 1, 2000 + LANE_STUCK_MS - 1));
        assert_true(lane_take(&lane, 1, 2000 + LANE_STUCK_MS));
        lane_leave(&lane, 0); /* it fails, and takes nothing from the new holder */
        assert_false(lane_take(&lane, 2, 2000 + 2 * LANE_STUCK_MS - 1));
        lane_leave(&lane, 1);
        assert_true(lane_take(&lane, 0, 9000));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(one_worker_has_it_until_it_leaves, setup, teardown),
                cmocka_unit_test_setup_teardown(a_holder_that_does_not_come_to_read_loses_it, setup, teardown),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
