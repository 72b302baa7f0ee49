#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "common/base/arena.h"

static void aligned_and_apart(void **state)
{
        struct arena arena = ARENA_NULL;
        unsigned char *pieces[300];

        (void)state;
        for (size_t i = 0; i < ARRAY_LENGTH(pieces); i++) {
                size_t size = i * 31;

                pieces[i] = arena_alloc(&arena, size);
                assert_int_equal((uintptr_t)pieces[i] % _Alignof(max_align_t), 0);
                memset(pieces[i], (int)i & 0xff, size);
        }
        for (size_t i = 0; i < ARRAY_LENGTH(pieces); i++)
                for (size_t at = 0; at < i * 31; at++)
                        assert_int_equal(pieces[i][at], i & 0xff);
        arena_deinit(&arena);
        assert_null(arena.blocks);
}

static void texts(void **state)
{
        struct arena arena = ARENA_NULL;
        char longer[5000];

        (void)state;
        memset(longer, 'x', sizeof(longer) - 1);
        longer[sizeof(longer) - 1] = '\0';
        assert_memory_equal(arena_copy(&arena, "a\0b", 3), "a\0b", 4);
        assert_string_equal(arena_copy(&arena, NULL, 0), "");
        assert_string_equal(arena_format(&arena, "%s-%d", "n", 5), "n-5");
        assert_string_equal(arena_format(&arena, "%s", longer), longer);
        longer[256] = '\0';
        assert_string_equal(arena_format(&arena, "%s", longer), longer);
        longer[255] = '\0';
        assert_string_equal(arena_format(&arena, "%s", longer), longer);
        arena_deinit(&arena);
}

static void reset_keeps_one_block(void **state)
{
        struct arena arena = ARENA_NULL;
        struct arena_block *kept;

        (void)state;
        arena_reset(&arena);
        for (int i = 0; i < 5000; i++)
                arena_alloc(&arena, 1000);
        assert_true(arena.used >= 5000000);
        kept = arena.blocks;
        arena_reset(&arena);
        assert_ptr_equal(arena.blocks, kept);
        assert_int_equal(arena.used, 0);
        for (int i = 0; i < 500; i++)
                memset(arena_alloc(&arena, 1000), 1, 1000);
        assert_ptr_equal(arena.blocks, kept);
        /* one that is too large for sharing goes with the reset */
        memset(arena_alloc(&arena, 50000000), 1, 50000000);
        assert_ptr_equal(arena.blocks, kept);
        arena_reset(&arena);
        assert_ptr_equal(arena.blocks, kept);
        arena_deinit(&arena);
        memset(arena_alloc(&arena, 50000000), 1, 50000000);
        arena_reset(&arena);
        assert_null(arena.blocks);
        arena_deinit(&arena);
        arena_deinit(&arena);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(aligned_and_apart),
                cmocka_unit_test(texts),
                cmocka_unit_test(reset_keeps_one_block),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
