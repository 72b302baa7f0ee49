/*
 * The pass before cJSON: refuses what cJSON lets through, and rewrites what cJSON would damage.
 *
 * Accepted is exactly one JSON value by RFC 8259 in valid UTF-8 (white space around it, no BOM), with at most depth_max arrays
 * and objects inside each other. The copy that is handed out differs from the text in three things, all marked by bytes that
 * valid UTF-8 never holds, so that no input can imitate them:
 *   - a number is a string of JSON_NUMBER and the number's own text. cJSON 1.7.15 turns numbers into doubles and refuses those of
 *     more than 63 characters;
 *   - an escaped NUL (\u0000) is JSON_NUL. cJSON makes it a NUL byte, which ends the C string there;
 *   - an escaped surrogate without its other half, which the grammar allows (RFC 8259, section 8.2), is JSON_SURROGATE and two
 *     bytes with its lower 12 bits, as UTF-8 has them. cJSON refuses the text for it.
 */
#pragma once

#include "common/base/arena.h"

#define JSON_NUMBER '\xff'
#define JSON_NUL    "\xc0\x80"
/* followed by a byte above 0x9f, and one more; characters from U+D000 to U+D7FF begin with the same byte, followed by less */
#define JSON_SURROGATE '\xed'

struct json_text {
        char *data; /* in the arena; not NUL-terminated */
        size_t size;
        const char *error; /* static text, where it was refused */
        size_t error_at;   /* offset in the text */
};

enum { JSON_BAD = 1 };

/* 0: data and size are set. JSON_BAD: error and error_at are. The arena must have room for two and a half times the text. */
MUST_CHECK int json_prepare(const char *text, size_t size, size_t depth_max, struct arena *arena, struct json_text *out);

/* Bytes of the UTF-8 character at `at` (Unicode 15, table 3-7), 0 where there is no valid one before `end`. */
size_t json_character_size(const unsigned char *at, const unsigned char *end);
