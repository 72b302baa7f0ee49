#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "common/queued.h"

#define KEYS 10

/* Terms 0 … 9, each with an entry 1-0 … 10-0. */
static void fill(struct queued *queued, struct stream_key keys[KEYS])
{
        static char terms[KEYS][67];
        queued_init(queued, KEYS);
        for (size_t i = 0; i < KEYS; i++) {
                memset(terms[i], '0' + (int)i, 66);
                keys[i] = (struct stream_key){.term_id = terms[i], .position = {.ms = i + 1}};
        }
        queued_note(queued, keys, KEYS, false);
}

static struct stream_group reader(uint64_t delivered, int64_t lag)
{
        return (struct stream_group){.delivered = {.ms = delivered}, .lag = lag, .alone = true};
}

static void spares_only_what_is_not_delivered(void **state)
{
        struct queued queued;
        struct stream_key keys[KEYS];
        struct stream_position seen;
        (void)state;
        fill(&queued, keys);
        assert_true(queued_may_wait(&queued));
        const struct stream_group at_four = reader(4, KEYS);
        assert_true(queued_hear(&queued, &at_four, &seen));
        assert_int_equal(seen.ms, 4);
        assert_int_equal(queued_sift(&queued, &at_four, keys, KEYS), 4);
        for (size_t i = 0; i < 4; i++)
                assert_true(keys[i].position.ms <= 4);
        assert_false(queued_may_wait(&queued)); /* six are left */
        queued_deinit(&queued);
}

static void knows_a_backlog(void **state)
{
        struct queued queued;
        struct stream_key keys[KEYS];
        struct stream_position seen;
        (void)state;
        fill(&queued, keys);
        struct stream_group group = reader(0, KEYS - 1);
        assert_false(queued_hear(&queued, &group, &seen));
        group = reader(0, -1); /* Redis does not know */
        assert_false(queued_hear(&queued, &group, &seen));
        group = reader(0, KEYS);
        group.alone = false;
        assert_false(queued_hear(&queued, &group, &seen));
        group.alone = true;
        assert_true(queued_hear(&queued, &group, &seen));
        assert_int_equal(queued_sift(&queued, &group, keys, KEYS), 0);
        queued_deinit(&queued);
}

/* A worker may note its entry when it has long been delivered, and another have heard so. */
static void a_late_note_spares_nothing(void **state)
{
        struct queued queued;
        struct stream_key keys[KEYS];
        struct stream_position seen;
        (void)state;
        fill(&queued, keys);
        const struct stream_group all = reader(KEYS, KEYS);
        for (int late = 0; late < 2; late++) {
                assert_true(queued_hear(&queued, &all, &seen));
                assert_int_equal(queued_sift(&queued, &all, keys, KEYS), KEYS);
                queued_note(&queued, keys, KEYS, false);
        }
        queued_deinit(&queued);
}

/* Deleted and made again, or lost by a failover: what was noted stands in it no more. */
static void forgets_a_stream_that_began_anew(void **state)
{
        struct queued queued;
        struct stream_key keys[KEYS];
        struct stream_position seen;
        (void)state;
        fill(&queued, keys);
        const struct stream_group before = reader(1, KEYS), anew = reader(0, KEYS);
        assert_true(queued_hear(&queued, &before, &seen));
        assert_int_equal(queued_sift(&queued, &before, keys, KEYS), 1);
        assert_true(queued_hear(&queued, &anew, &seen));
        assert_int_equal(seen.ms, 0);
        assert_int_equal(queued_sift(&queued, &anew, keys, KEYS), KEYS);
        queued_deinit(&queued);
}

/* An older answer of Redis is still right for who asked, whatever others have heard since. */
static void judges_by_what_was_asked(void **state)
{
        struct queued queued;
        struct stream_key keys[KEYS];
        struct stream_position seen;
        (void)state;
        fill(&queued, keys);
        const struct stream_group newer = reader(5, KEYS), older = reader(3, KEYS);
        assert_true(queued_hear(&queued, &older, &seen));
        assert_true(queued_hear(&queued, &newer, &seen));
        assert_int_equal(queued_sift(&queued, &older, keys, KEYS), 5); /* 4 and 5 are forgotten */
        queued_deinit(&queued);
}

/* Ids that differ in their last character only, and curves. */
static void tells_like_keys_apart(void **state)
{
        struct queued queued;
        struct stream_key keys[KEYS];
        static char like[67] = "0x0000000000000000000000000000000000000000000000000000000000000001";
        (void)state;
        fill(&queued, keys);
        struct stream_key one = {.term_id = like, .position = {.ms = 20}};
        queued_note(&queued, &one, 1, false);
        const struct stream_group group = reader(0, KEYS);
        assert_int_equal(queued_sift(&queued, &group, &one, 1), 0);
        one.curve_id = "1";
        assert_int_equal(queued_sift(&queued, &group, &one, 1), 1);
        one.curve_id = NULL;
        like[65] = '2';
        assert_int_equal(queued_sift(&queued, &group, &one, 1), 1);
        queued_deinit(&queued);
}

/* Who reads an entry does all that is of its term; entries name the vaults that changed. */
static void a_term_waits_with_any_of_its_curves(void **state)
{
        struct queued queued;
        struct stream_key keys[KEYS];
        static const char term[] = "0x0000000000000000000000000000000000000000000000000000000000000003";
        (void)state;
        fill(&queued, keys);
        struct stream_key one = {.term_id = term, .curve_id = "1", .position = {.ms = 20}};
        queued_note(&queued, &one, 1, true);
        const struct stream_group group = reader(0, KEYS), delivered = reader(20, KEYS);
        assert_int_equal(queued_sift(&queued, &group, &one, 1), 0);
        one.curve_id = NULL;
        assert_int_equal(queued_sift(&queued, &group, &one, 1), 0);
        assert_int_equal(queued_sift(&queued, &delivered, &one, 1), 1);
        one.curve_id = "2";
        assert_int_equal(queued_sift(&queued, &group, &one, 1), 1);
        queued_deinit(&queued);
}

static void the_last_entry_of_a_key_counts(void **state)
{
        struct queued queued;
        struct stream_key keys[KEYS], again;
        (void)state;
        fill(&queued, keys);
        again = keys[0];
        again.position.ms = 20;
        queued_note(&queued, &again, 1, false);
        queued_note(&queued, keys, 1, false); /* older than what is known */
        const struct stream_group group = reader(10, KEYS);
        assert_int_equal(queued_sift(&queued, &group, keys, 1), 0);
        queued_deinit(&queued);
}

static void reads_on_behind_what_it_has_seen(void **state)
{
        struct queued queued;
        struct stream_key keys[KEYS];
        struct stream_position seen;
        (void)state;
        fill(&queued, keys);
        const struct stream_group group = reader(0, KEYS);
        (void)queued_hear(&queued, &group, &seen);
        assert_int_equal(seen.ms, 0); /* its own entries are no sign that it has seen those between them */
        queued_note(&queued, keys, 7, true);
        (void)queued_hear(&queued, &group, &seen);
        assert_int_equal(seen.ms, 7);
        queued_deinit(&queued);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(spares_only_what_is_not_delivered),
                cmocka_unit_test(knows_a_backlog),
                cmocka_unit_test(a_late_note_spares_nothing),
                cmocka_unit_test(forgets_a_stream_that_began_anew),
                cmocka_unit_test(judges_by_what_was_asked),
                cmocka_unit_test(tells_like_keys_apart),
                cmocka_unit_test(a_term_waits_with_any_of_its_curves),
                cmocka_unit_test(the_last_entry_of_a_key_counts),
                cmocka_unit_test(reads_on_behind_what_it_has_seen),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
