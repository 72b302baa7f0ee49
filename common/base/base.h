/*
 * The few words every file speaks.
 *
 * Every fallible function returns int and is MUST_CHECK:
 *   0         done
 *   negative  infrastructure broke (Redis, PostgreSQL, memory): roll back, do not ack, unwind to the loop
 *   positive  an outcome the header documents (bad data, nothing there): the direct caller handles it
 *
 * A handle is held in a local declared with AUTO(type): it is released on every way out. Its destructor takes NULL.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define MUST_CHECK             __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))

/* AUTO_DEFINE(struct db *, db, db_close) makes `AUTO(db) struct db *db = NULL;` close db at the end of its scope. */
#define AUTO_DEFINE(type, name, release)                                                                                         \
        static inline void auto_release_##name(type *handle)                                                                     \
        {                                                                                                                        \
                release(*handle);                                                                                                \
        }
#define AUTO(name) __attribute__((cleanup(auto_release_##name)))
AUTO_DEFINE(char *, text, free) /* AUTO(text) char *problem = NULL; */

#define ARRAY_LENGTH(a) (sizeof(a) / sizeof((a)[0]))

/* Memory of the heap. Out of memory ends the process, with a word: no state is lost by it, since nothing is acked before its
 * commit. What is returned is never NULL, and the caller's to free(). */
_Noreturn void memory_end(void);
/* What is larger than 4 MiB goes back to the system when it is freed. glibc would raise this limit with the first such block, and
 * keep the holes that large messages leave: mallopt(3), M_MMAP_THRESHOLD. */
void memory_init(void);
/* Zeroed. */
void *memory_new(size_t count, size_t size);
/* data with room for `needed` elements at least; *capacity: for how many there is. */
void *memory_grow(void *data, size_t *capacity, size_t needed, size_t size);
char *memory_copy(const char *text);
char *memory_copy_part(const char *text, size_t size); /* of at most so many bytes */
/* open_memstream(3): *text and *size are set by memory_stream_end. */
FILE *memory_stream(char **text, size_t *size);
void memory_stream_end(FILE *stream);
