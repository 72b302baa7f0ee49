#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/crew.h"

#define START 1000000

/* Of two replicas with four workers each. */
static struct crew crew;
static int64_t now, read_so_far;

static int setup(void **state)
{
        (void)state;
        crew_init(&crew, 4);
        now = START;
        read_so_far = 7;
        return 0;
}

static int teardown(void **state)
{
        (void)state;
        crew_deinit(&crew);
        return 0;
}

/* A flood in which so many entries a second are read, for so long; noted as often as wanted. */
static void flood(int64_t ms, int64_t per_second, int64_t replicas)
{
        const int64_t end = now + ms, step = CREW_NOTE_MS;
        while (true) {
                if (crew_wants_note(&crew, now))
                        crew_note(&crew, now, read_so_far, replicas);
                if (now >= end)
                        return;
                now += step;
                read_so_far += per_second * step / 1000;
        }
}

static void all_without_flood(void **state)
{
        (void)state;
        assert_int_equal(crew_size(&crew, now), 4);
        assert_false(crew_is_first(&crew));
}

static void one_looks(void **state)
{
        (void)state;
        crew_begin(&crew, now);
        assert_int_equal(crew_size(&crew, now), 1);
        assert_int_equal(crew_size(&crew, now + CREW_TRY_MS - 1), 1);
        assert_int_equal(crew_size(&crew, now + CREW_TRY_MS), 4); /* it hangs */
        assert_true(crew_is_first(&crew));
        crew_read(&crew);
        assert_false(crew_is_first(&crew));
        assert_int_equal(crew_size(&crew, now), 4);
}

static void one_looks_and_meets_a_flood(void **state)
{
        (void)state;
        crew_begin(&crew, now);
        crew_note(&crew, now, read_so_far, 2);
        assert_int_equal(crew_size(&crew, now), 2);
        crew_read(&crew); /* a batch that is not full does not end it */
        assert_int_equal(crew_size(&crew, now), 2);
}

static void share_at_first(void **state)
{
        (void)state;
        const int64_t shares[] = {4, 2, 1, 1, 1, 1};
        for (int64_t replicas = 1; replicas <= 6; replicas++) {
                crew_note(&crew, now, read_so_far, replicas);
                assert_int_equal(crew_size(&crew, now), shares[replicas - 1]);
        }
}

static void one_is_to_note(void **state)
{
        (void)state;
        assert_true(crew_wants_note(&crew, now));
        assert_false(crew_wants_note(&crew, now));
        assert_false(crew_wants_note(&crew, now + CREW_NOTE_MS - 1));
        assert_true(crew_wants_note(&crew, now + CREW_NOTE_MS));
        assert_false(crew_wants_note(&crew, now + CREW_NOTE_MS));
}

static void one_worker_notes_nothing(void **state)
{
        (void)state;
        crew.workers = 1;
        assert_false(crew_wants_note(&crew, now));
        assert_int_equal(crew_size(&crew, now), 1);
}

static void over_when_nobody_notes_it(void **state)
{
        (void)state;
        crew_note(&crew, now, read_so_far, 2);
        assert_int_equal(crew_size(&crew, now + CREW_TRY_MS - 1), 2);
        assert_int_equal(crew_size(&crew, now + CREW_TRY_MS), 4);
        crew_note(&crew, now + CREW_TRY_MS, read_so_far, 2); /* another one */
        assert_int_equal(crew_size(&crew, now + CREW_TRY_MS), 2);
        assert_int_equal(crew_size(&crew, now + 2 * CREW_TRY_MS - 1), 2);
}

static void over_when_released(void **state)
{
        (void)state;
        crew_note(&crew, now, read_so_far, 2);
        crew_release(&crew);
        assert_int_equal(crew_size(&crew, now), 4);
}

static void all_are_tried(void **state)
{
        (void)state;
        flood(CREW_TRY_MS - CREW_NOTE_MS, 1000, 2);
        assert_int_equal(crew_size(&crew, now), 2);
        flood(CREW_NOTE_MS, 1000, 2);
        assert_int_equal(crew_size(&crew, now), 4);
        flood(CREW_TRY_MS - CREW_NOTE_MS, 1000, 2);
        assert_int_equal(crew_size(&crew, now), 4);
}

static void share_goes_on_where_all_do_not_help(void **state)
{
        (void)state;
        flood(CREW_TRY_MS, 1000, 2);
        flood(CREW_TRY_MS, 1160, 2);
        assert_int_equal(crew_size(&crew, now), 2);
        flood(CREW_AGAIN_MS - CREW_NOTE_MS, 1000, 2);
        assert_int_equal(crew_size(&crew, now), 2);
        flood(CREW_NOTE_MS, 1000, 2);
        assert_int_equal(crew_size(&crew, now), 4); /* tried again */
}

static void all_stay_where_they_help(void **state)
{
        (void)state;
        flood(CREW_TRY_MS, 1000, 2);
        flood(CREW_TRY_MS, 1170, 2);
        assert_int_equal(crew_size(&crew, now), 4);
        flood(CREW_AGAIN_MS - CREW_NOTE_MS, 100, 2);
        assert_int_equal(crew_size(&crew, now), 4);
        flood(CREW_NOTE_MS, 100, 2);
        assert_int_equal(crew_size(&crew, now), 2); /* do they still? */
}

static void second_trial_is_measured_anew(void **state)
{
        (void)state;
        flood(CREW_TRY_MS, 1000, 2);
        flood(CREW_TRY_MS, 1000, 2);
        flood(CREW_AGAIN_MS, 200, 2); /* entries became larger */
        flood(CREW_TRY_MS, 240, 2);
        assert_int_equal(crew_size(&crew, now), 4);
        flood(CREW_NOTE_MS, 240, 2);
        assert_int_equal(crew_size(&crew, now), 4);
}

static void replicas_come_and_go(void **state)
{
        (void)state;
        crew_note(&crew, now, read_so_far, 1);
        assert_int_equal(crew_size(&crew, now), 4);
        crew_note(&crew, now + CREW_NOTE_MS, read_so_far, 2);
        assert_int_equal(crew_size(&crew, now + CREW_NOTE_MS), 2);
        crew_note(&crew, now + 2 * CREW_NOTE_MS, read_so_far, 1);
        assert_int_equal(crew_size(&crew, now + 2 * CREW_NOTE_MS), 4);
}

/* What the share read with one replica says nothing about two. */
static void another_replica_begins_anew(void **state)
{
        (void)state;
        flood(CREW_TRY_MS, 1000, 1);
        flood(CREW_TRY_MS, 1200, 1);
        flood(CREW_NOTE_MS, 2000, 2);
        assert_int_equal(crew_size(&crew, now), 2);
        flood(CREW_TRY_MS, 2000, 2);
        assert_int_equal(crew_size(&crew, now), 4);
        flood(CREW_TRY_MS, 2000, 2);
        assert_int_equal(crew_size(&crew, now), 2);
}

static void a_group_made_again_begins_anew(void **state)
{
        (void)state;
        flood(CREW_TRY_MS - 2 * CREW_NOTE_MS, 1000, 2);
        read_so_far = 0;
        now += CREW_NOTE_MS;
        flood(CREW_TRY_MS, 1000, 2);
        assert_int_equal(crew_size(&crew, now), 4); /* the trial */
        flood(CREW_TRY_MS, 1100, 2);
        assert_int_equal(crew_size(&crew, now), 2);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(all_without_flood, setup, teardown),
                cmocka_unit_test_setup_teardown(one_looks, setup, teardown),
                cmocka_unit_test_setup_teardown(one_looks_and_meets_a_flood, setup, teardown),
                cmocka_unit_test_setup_teardown(share_at_first, setup, teardown),
                cmocka_unit_test_setup_teardown(one_is_to_note, setup, teardown),
                cmocka_unit_test_setup_teardown(one_worker_notes_nothing, setup, teardown),
                cmocka_unit_test_setup_teardown(over_when_nobody_notes_it, setup, teardown),
                cmocka_unit_test_setup_teardown(over_when_released, setup, teardown),
                cmocka_unit_test_setup_teardown(all_are_tried, setup, teardown),
                cmocka_unit_test_setup_teardown(share_goes_on_where_all_do_not_help, setup, teardown),
                cmocka_unit_test_setup_teardown(all_stay_where_they_help, setup, teardown),
                cmocka_unit_test_setup_teardown(second_trial_is_measured_anew, setup, teardown),
                cmocka_unit_test_setup_teardown(replicas_come_and_go, setup, teardown),
                cmocka_unit_test_setup_teardown(another_replica_begins_anew, setup, teardown),
                cmocka_unit_test_setup_teardown(a_group_made_again_begins_anew, setup, teardown),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
