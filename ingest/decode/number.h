/*
 * Numbers and bytes as text. A number is at least one decimal digit, or 0x (0X) and at least one hex digit in any case; leading
 * zeros are taken, signs, fractions, exponents and spaces are not. Time is linear in the text's length, whatever it holds.
 */
#pragma once

#include "common/base/base.h"

enum {
        NUMBER_FORMAT = 1, /* not the text of a number */
        NUMBER_RANGE,      /* a number, but above the maximum */
};

#define NUMBER_U256_DIGITS 78 /* of 2^256-1 */

/* 0, NUMBER_FORMAT or NUMBER_RANGE. Writes the canonical decimal, without leading zeros and with a NUL behind it. */
MUST_CHECK int number_read_u256(const char *text, size_t size, char decimal[NUMBER_U256_DIGITS + 1]);

/* 0, NUMBER_FORMAT or NUMBER_RANGE (above max). */
MUST_CHECK int number_read_int64(const char *text, size_t size, int64_t max, int64_t *value);

/* The bytes of hex text with or without 0x (0X): 0, or NUMBER_FORMAT where a digit is none or their count is odd. *count <= size
 * / 2. */
MUST_CHECK int number_read_hex(const char *text, size_t size, unsigned char *bytes, size_t *count);

/* 0x, two lower-case digits a byte, NUL: 2 * count + 3 bytes in all. */
void number_write_hex(const unsigned char *bytes, size_t count, char *text);
