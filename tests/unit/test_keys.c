#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include "common/stage/keys.h"

static const char *term(char text[67], unsigned head)
{
        snprintf(text, 67, "0x%02x%062d", head, 7);
        return text;
}

static void buckets_are_the_first_six_bits(void **state)
{
        char text[67];
        (void)state;
        for (unsigned head = 0; head < 256; head++)
                assert_int_equal(keys_bucket(term(text, head)), head / 4);
}

static void a_backlog_names_each_bucket_once_with_its_highest_block(void **state)
{
        char a[67], b[67], c[67];
        struct work work = {0};
        (void)state;
        work_add_key(&work, term(a, 0xff), "1", "deposited", 5);
        work_add_key(&work, term(b, 0x03), NULL, "atom_created", 6);
        work_add_key(&work, term(c, 0xfc), "1", "redeemed", 9);
        work_add_key(&work, a, "2", "deposited", 7);
        keys_fold_to_buckets(&work);
        assert_int_equal(work.key_count, 2);
        assert_string_equal(work.keys[0].bucket, "0");
        assert_int_equal(work.keys[0].block_number, 6);
        assert_string_equal(work.keys[1].bucket, "63");
        assert_int_equal(work.keys[1].block_number, 9);
        for (size_t i = 0; i < work.key_count; i++) {
                assert_null(work.keys[i].term_id);
                assert_null(work.keys[i].curve_id);
                assert_string_equal(work.keys[i].reason, "backlog");
        }
        work_deinit(&work);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(buckets_are_the_first_six_bits),
                cmocka_unit_test(a_backlog_names_each_bucket_once_with_its_highest_block),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
