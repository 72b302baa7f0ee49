#include <stdbool.h>
#include <string.h>
#include "ingest/decode/number.h"

#define U256_MAX        "115792089237316195423570985008687907853269984665640564039457584007913129639935"
#define U256_HEX_DIGITS 64
#define LIMBS           8

/* Value plus one, so that 0 means: no hex digit. A table, as digits of hashes defeat branch prediction. */
static const unsigned char hex_values[256] = {
        ['0'] = 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, ['A'] = 11, 12, 13, 14, 15, 16, ['a'] = 11, 12, 13, 14, 15, 16};

struct digits {
        const char *at; /* the first that is not a leading zero */
        size_t count;
        bool hex;
};

static unsigned hex_value(char digit)
{
        return hex_values[(unsigned char)digit];
}

static bool hex_marked(const char *text, size_t size)
{
        return size >= 2 && text[0] == '0' && text[1] == 'x';
}

static int digits_find(const char *text, size_t size, struct digits *digits)
{
        bool hex = hex_marked(text, size);

        if (hex) {
                text += 2;
                size -= 2;
        }
        if (!size)
                return NUMBER_FORMAT;
        for (size_t i = 0; i < size; i++) {
                unsigned value = hex_value(text[i]);

                if (!value || (!hex && value > 10))
                        return NUMBER_FORMAT;
        }
        while (size && *text == '0') {
                text++;
                size--;
        }
        *digits = (struct digits){.at = text, .count = size, .hex = hex};
        return 0;
}

/* Divides by 10^9 again and again; the remainders are nine decimal digits each, the last ones first. */
static void hex_to_decimal(const struct digits *digits, char decimal[NUMBER_U256_DIGITS + 1])
{
        uint32_t limbs[LIMBS] = {0};
        char text[LIMBS * 10 + 1], *first = text + sizeof(text) - 1;
        size_t top = LIMBS;

        for (size_t i = 0; i < digits->count; i++)
                limbs[i / 8] |= (uint32_t)(hex_value(digits->at[digits->count - 1 - i]) - 1) << (i % 8 * 4);
        *first = '\0';
        while (top) {
                uint64_t rest = 0;

                for (size_t i = top; i-- > 0;) {
                        rest = rest << 32 | limbs[i];
                        limbs[i] = (uint32_t)(rest / 1000000000);
                        rest %= 1000000000;
                }
                while (top && !limbs[top - 1])
                        top--;
                for (int i = 0; i < 9 && (top || rest); i++, rest /= 10)
                        *--first = (char)('0' + rest % 10);
        }
        const char *found = *first ? first : "0";
        memcpy(decimal, found, strlen(found) + 1);
}

int number_read_u256(const char *text, size_t size, char decimal[NUMBER_U256_DIGITS + 1])
{
        struct digits digits;
        int r = digits_find(text, size, &digits);

        if (r)
                return r;
        if (digits.hex) {
                if (digits.count > U256_HEX_DIGITS)
                        return NUMBER_RANGE;
                hex_to_decimal(&digits, decimal);
                return 0;
        }
        if (digits.count > NUMBER_U256_DIGITS ||
                (digits.count == NUMBER_U256_DIGITS && memcmp(digits.at, U256_MAX, NUMBER_U256_DIGITS) > 0))
                return NUMBER_RANGE;
        if (!digits.count)
                digits = (struct digits){.at = "0", .count = 1};
        memcpy(decimal, digits.at, digits.count);
        decimal[digits.count] = '\0';
        return 0;
}

int number_read_int64(const char *text, size_t size, int64_t max, int64_t *value)
{
        struct digits digits;
        uint64_t sum = 0;
        int r = digits_find(text, size, &digits);

        if (r)
                return r;
        /* so many digits fit into 64 bits: 10^19 - 1 and 16^16 - 1 */
        if (digits.count > (digits.hex ? 16 : 19))
                return NUMBER_RANGE;
        for (size_t i = 0; i < digits.count; i++)
                sum = sum * (digits.hex ? 16 : 10) + hex_value(digits.at[i]) - 1;
        if (max < 0 || sum > (uint64_t)max)
                return NUMBER_RANGE;
        *value = (int64_t)sum;
        return 0;
}

int number_read_hex(const char *text, size_t size, unsigned char *bytes, size_t *count)
{
        if (hex_marked(text, size)) {
                text += 2;
                size -= 2;
        }
        if (size % 2)
                return NUMBER_FORMAT;
        for (size_t i = 0; i < size; i += 2) {
                unsigned high = hex_value(text[i]), low = hex_value(text[i + 1]);

                if (!high || !low)
                        return NUMBER_FORMAT;
                bytes[i / 2] = (unsigned char)((high - 1) << 4 | (low - 1));
        }
        *count = size / 2;
        return 0;
}

void number_write_hex(const unsigned char *bytes, size_t count, char *text)
{
        static const char digits[] = "0123456789abcdef";

        *text++ = '0';
        *text++ = 'x';
        for (size_t i = 0; i < count; i++) {
                *text++ = digits[bytes[i] >> 4];
                *text++ = digits[bytes[i] & 0xf];
        }
        *text = '\0';
}
