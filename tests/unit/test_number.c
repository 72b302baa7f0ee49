#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "ingest/decode/number.h"

#define U256_MAX  "115792089237316195423570985008687907853269984665640564039457584007913129639935"
#define HEX_16(d) d d d d d d d d d d d d d d d d
#define HEX_64(d) HEX_16(d) HEX_16(d) HEX_16(d) HEX_16(d)

static const char *const not_numbers[] = {"", "0x", "0X", "0X1f", "x", "0xg", "0x1g", "1.5", "1e5", "1E5", "1.0", "-1", "-0",
        "+1", " 1", "1 ", "1_000", "a", "12a", "0b1", "0o7", "0x-1", "0x 1", "00x1", "1\xc2\xb2", "\xd9\xa1", "NaN", "1\n",
        "0x0x1"};

static void u256_forms(void **state)
{
        static const struct {
                const char *text, *decimal;
        } good[] = {
                {"0", "0"},
                {"1", "1"},
                {"007", "7"},
                {"000", "0"},
                {"9007199254740993", "9007199254740993"},
                {"0x0", "0"},
                {"0x00000", "0"},
                {"0x1f", "31"},
                {"0xDeAdBeEf", "3735928559"},
                {"0x3b9aca00", "1000000000"},
                {"0x3b9ac9ff", "999999999"},
                {"0xde0b6b3a7640000", "1000000000000000000"},
                {"0xffffffffffffffff", "18446744073709551615"},
                {"0x10000000000000000", "18446744073709551616"},
                {"0x" HEX_64("f"), U256_MAX},
                {"0x000" HEX_64("F"), U256_MAX},
                {"0x8" HEX_16("0") HEX_16("0") HEX_16("0") "000000000000000",
                        "57896044618658097711785492504343953926634992332820282019728792003956564819968"},
                {U256_MAX, U256_MAX},
                {"00" U256_MAX, U256_MAX},
                {"99999999999999999999999999999999999999999999999999999999999999999999999999999",
                        "99999999999999999999999999999999999999999999999999999999999999999999999999999"},
        };
        static const char *const above[] = {
                "115792089237316195423570985008687907853269984665640564039457584007913129639936",
                "115792089237316195423570985008687907853269984665640564039457584007913129639940",
                "200000000000000000000000000000000000000000000000000000000000000000000000000000",
                "1000000000000000000000000000000000000000000000000000000000000000000000000000000",
                "0x1" HEX_64("0"),
        };
        char decimal[NUMBER_U256_DIGITS + 1];

        (void)state;
        for (size_t i = 0; i < ARRAY_LENGTH(good); i++) {
                assert_int_equal(number_read_u256(good[i].text, strlen(good[i].text), decimal), 0);
                assert_string_equal(decimal, good[i].decimal);
        }
        for (size_t i = 0; i < ARRAY_LENGTH(above); i++)
                assert_int_equal(number_read_u256(above[i], strlen(above[i]), decimal), NUMBER_RANGE);
        for (size_t i = 0; i < ARRAY_LENGTH(not_numbers); i++)
                assert_int_equal(number_read_u256(not_numbers[i], strlen(not_numbers[i]), decimal), NUMBER_FORMAT);
        assert_int_equal(number_read_u256("1\0002", 3, decimal), NUMBER_FORMAT);
}

static void int64_forms(void **state)
{
        static const struct {
                const char *text;
                int64_t max, value;
        } good[] = {
                {"0", 0, 0},
                {"007", 7, 7},
                {"0x7", 7, 7},
                {"32767", 32767, 32767},
                {"0x7FFF", 32767, 32767},
                {"1099511627776", (int64_t)1 << 40, (int64_t)1 << 40},
                {"9223372036854775807", INT64_MAX, INT64_MAX},
                {"0x7fffffffffffffff", INT64_MAX, INT64_MAX},
                {"0x0000000000000000000000007fffffffffffffff", INT64_MAX, INT64_MAX},
        };
        static const struct {
                const char *text;
                int64_t max;
        } above[] = {
                {"1", 0},
                {"32768", 32767},
                {"0x8000", 32767},
                {"1099511627777", (int64_t)1 << 40},
                {"9223372036854775808", INT64_MAX},
                {"9999999999999999999", INT64_MAX},
                {"18446744073709551616", INT64_MAX},
                {"18446744073709551617", INT64_MAX},
                {"0x8000000000000000", INT64_MAX},
                {"0xffffffffffffffff", INT64_MAX},
                {"0x10000000000000001", INT64_MAX},
        };
        int64_t value;

        (void)state;
        for (size_t i = 0; i < ARRAY_LENGTH(good); i++) {
                assert_int_equal(number_read_int64(good[i].text, strlen(good[i].text), good[i].max, &value), 0);
                assert_true(value == good[i].value);
        }
        for (size_t i = 0; i < ARRAY_LENGTH(above); i++)
                assert_int_equal(number_read_int64(above[i].text, strlen(above[i].text), above[i].max, &value), NUMBER_RANGE);
        for (size_t i = 0; i < ARRAY_LENGTH(not_numbers); i++)
                assert_int_equal(number_read_int64(not_numbers[i], strlen(not_numbers[i]), INT64_MAX, &value), NUMBER_FORMAT);
}

static void long_texts_are_linear(void **state)
{
        size_t size = (size_t)10 << 20;
        char *text = malloc(size), decimal[NUMBER_U256_DIGITS + 1];
        int64_t value;

        (void)state;
        memset(text, '0', size);
        text[size - 1] = '5';
        assert_int_equal(number_read_u256(text, size, decimal), 0);
        assert_string_equal(decimal, "5");
        assert_int_equal(number_read_int64(text, size, 5, &value), 0);
        assert_int_equal(value, 5);
        text[1] = 'x';
        assert_int_equal(number_read_u256(text, size, decimal), 0);
        assert_string_equal(decimal, "5");
        memset(text, '9', size);
        assert_int_equal(number_read_u256(text, size, decimal), NUMBER_RANGE);
        free(text);
}

static void hex(void **state)
{
        static const char *const bad[] = {"0", "0x0", "xy", "0xg0", "0g", "abc", "0x 1", "x1", "--"};
        unsigned char bytes[8];
        char text[9];
        size_t count;

        (void)state;
        assert_int_equal(number_read_hex("", 0, bytes, &count), 0);
        assert_int_equal(count, 0);
        assert_int_equal(number_read_hex("0x", 2, bytes, &count), 0);
        assert_int_equal(count, 0);
        assert_int_equal(number_read_hex("00fF10", 6, bytes, &count), 0);
        assert_int_equal(count, 3);
        assert_memory_equal(bytes, "\0\xff\x10", 3);
        assert_int_equal(number_read_hex("0xAb", 4, bytes, &count), 0);
        assert_int_equal(count, 1);
        assert_int_equal(bytes[0], 0xab);
        for (size_t i = 0; i < ARRAY_LENGTH(bad); i++)
                assert_int_equal(number_read_hex(bad[i], strlen(bad[i]), bytes, &count), NUMBER_FORMAT);
        number_write_hex((const unsigned char *)"\0\xAB\x9f", 3, text);
        assert_string_equal(text, "0x00ab9f");
        number_write_hex(bytes, 0, text);
        assert_string_equal(text, "0x");
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(u256_forms),
                cmocka_unit_test(int64_forms),
                cmocka_unit_test(long_texts_are_linear),
                cmocka_unit_test(hex),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
