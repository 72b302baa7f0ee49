/*
 * Log lines on stderr: one line a fact, level, time, program, message, then key=value pairs (LOG_FORMAT=text) or a JSON object
 * (json). Lines of several threads do not mix. Where nobody reads them any more they are lost, and their number is said later.
 */
#pragma once

#include <stdbool.h>
#include "common/base/base.h"

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };
enum log_format { LOG_TEXT, LOG_JSON };

/* Before the first thread. program stays the caller's. Without it: info, text. */
void log_init(const char *program, enum log_level level, enum log_format format);

/*
 * log_write(LOG_INFO, "batch done", "stream=%s events=%zu", stream, n): message is a fixed text; fields is a printf format of
 * space-separated key=%conversion pairs, NULL for none. Each pair is formatted on its own, so that a value with spaces, quotes, =
 * or control characters is quoted (text: "..." with backslash escapes) or becomes a JSON string; integers stay JSON numbers.
 * Conversions understood: %s %d %u %ld %lu %lld %llu %zu %zd, and PRId64/PRIu64. Text around a conversion (at=%s:%d) makes the
 * value a string. Bytes that are not UTF-8 are replaced; a line ends at 8 KB and says so. errno is kept.
 */
void log_write(enum log_level level, const char *message, const char *fields, ...) PRINTF_LIKE(3, 4);
int log_enabled(enum log_level level);

/* The bytes of the character at text, which ends with a NUL; 0 where it is not valid UTF-8 (RFC 3629). */
size_t log_character_size(const char *text);
/* Whether that character commands a terminal or hides what is written: C0, DEL, C1 (U+0080 to U+009F), line and paragraph
 * separators, marks of the direction of writing. */
bool log_is_command(const char *text, size_t size);
