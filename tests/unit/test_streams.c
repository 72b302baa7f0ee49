#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/view/streams.h"

/* Two looks at one stream, a second apart. */
static double rate(struct stream_state then, struct stream_state now)
{
        const struct view_streams before = {.rows = {{.stream = "s", .state = then}}, .count = 1, .looked_ms = 1000};
        const struct view_streams after = {.rows = {{.stream = "s", .state = now}}, .count = 1, .looked_ms = 2000};
        return view_streams_rate(&before, &after, &after.rows[0]);
}

static void what_was_acked_in_between(void **state)
{
        (void)state;
        assert_true(rate((struct stream_state){.length = 9, .delivered = 4, .pending = 1, .lag = 5},
                            (struct stream_state){.length = 9, .delivered = 9, .pending = 2}) == 4);
        assert_true(rate((struct stream_state){.length = 9, .lag = 9}, (struct stream_state){.length = 9, .delivered = 9}) == 9);
        assert_true(rate((struct stream_state){.length = 9, .delivered = 9}, (struct stream_state){.length = 9}) == -1);
        assert_true(view_streams_rate(NULL, NULL, &(struct view_stream){.stream = "s"}) == -1);
}

static void after_a_restart_redis_does_not_know_how_many_were_read(void **state)
{
        (void)state;
        assert_true(rate((struct stream_state){.length = 720}, (struct stream_state){.length = 721, .delivered = 721}) == -1);
        assert_true(rate((struct stream_state){.length = 720}, (struct stream_state){.length = 720}) == 0);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(what_was_acked_in_between),
                cmocka_unit_test(after_a_restart_redis_does_not_know_how_many_were_read),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
