/*
 * A JSON text as a tree. An event holds what cJSON cannot: numbers of up to 78 digits (cJSON's are doubles), and an escaped NUL,
 * which ends its strings.
 *
 * Accepted is exactly one JSON value by RFC 8259 in valid UTF-8 (white space around it, no BOM), with at most depth_max arrays
 * and objects inside each other and JSON_VALUES_MAX values in all. The tree takes up to forty times the memory of its text, and
 * no more than 20 MB beyond it.
 */
#pragma once

#include "common/base/arena.h"

#define JSON_VALUES_MAX 262144 /* a chunk of rindexer has some 2,000 */

enum json_type { JSON_NULL, JSON_FALSE, JSON_TRUE, JSON_NUMBER, JSON_STRING, JSON_ARRAY, JSON_OBJECT };

/*
 * text and name end with a NUL. In them an escaped NUL (\u0000) is C0 80, and an escaped surrogate without its other half, which
 * the grammar allows (RFC 8259, section 8.2), is three bytes as other characters have them: bytes that valid UTF-8 never holds,
 * so that no other text equals them.
 */
struct json {
        enum json_type type;
        const char *text;          /* of a string, without its escapes; of a number, as it stands; else NULL */
        const char *name;          /* of a member, else NULL */
        const char *source, *end;  /* the value in the text that was read */
        const char *member;        /* where a member begins there, with its name; else as source */
        const char *unstorable;    /* in words, what in it or its name PostgreSQL cannot store; NULL: nothing */
        struct json *child, *next; /* the first element or member; the one behind it in the same array or object */
};

enum { JSON_BAD = 1 };

/* 0: *root is in the arena. JSON_BAD: *error, static text, says why, *error_at where. The text outlives the tree. */
MUST_CHECK int json_read(const char *text, size_t size, size_t depth_max, struct arena *arena, struct json **root,
        const char **error, size_t *error_at);

/* Bytes of the UTF-8 character at `at` (Unicode 15, table 3-7), 0 where there is no valid one before `end`. */
size_t json_character_size(const unsigned char *at, const unsigned char *end);
