#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <sys/types.h>

#include "common/base/log.h"

static const char text_head[] = "2026-11-22T20:00:00.123Z ", json_head[] = "{\"time\":\"2026-11-22T20:00:00.123Z\"";
static FILE *captured;
static int real_stderr;
static char line[65536];

static int setup(void **state)
{
        (void)state;
        captured = tmpfile();
        real_stderr = dup(STDERR_FILENO);
        return captured && real_stderr >= 0 ? 0 : -1;
}

static int teardown(void **state)
{
        (void)state;
        fclose(captured);
        return close(real_stderr);
}

static void capture(void)
{
        assert_int_equal(ftruncate(fileno(captured), 0), 0);
        assert_int_equal(lseek(fileno(captured), 0, SEEK_SET), 0);
        assert_int_not_equal(dup2(fileno(captured), STDERR_FILENO), -1);
}

/* What was logged since capture(), without the head, which holds the time. */
static const char *logged(const char *head)
{
        ssize_t size;

        assert_int_not_equal(dup2(real_stderr, STDERR_FILENO), -1);
        size = pread(fileno(captured), line, sizeof line - 1, 0);
        assert_true(size >= 0);
        line[size] = '\0';
        if (size == 0)
                return line;
        assert_true((size_t)size > strlen(head));
        for (size_t i = 0; head[i]; i++)
                if (head[i] >= '0' && head[i] <= '9')
                        assert_in_range(line[i], '0', '9');
                else
                        assert_int_equal(line[i], head[i]);
        return line + strlen(head);
}

#define assert_text(expected, ...)                                                                                               \
        do {                                                                                                                     \
                log_init("ingest", LOG_INFO, LOG_TEXT);                                                                          \
                capture();                                                                                                       \
                log_write(__VA_ARGS__);                                                                                          \
                assert_string_equal(logged(text_head), expected);                                                                \
        } while (0)

#define assert_json(expected, ...)                                                                                               \
        do {                                                                                                                     \
                log_init("ingest", LOG_INFO, LOG_JSON);                                                                          \
                capture();                                                                                                       \
                log_write(__VA_ARGS__);                                                                                          \
                assert_string_equal(logged(json_head), expected);                                                                \
        } while (0)

static void levels(void **state)
{
        (void)state;
        assert_text("ERROR ingest: gone\n", LOG_ERROR, "gone", NULL);
        assert_text("WARN  ingest: gone\n", LOG_WARN, "gone", NULL);
        assert_text("INFO  ingest: gone\n", LOG_INFO, "gone", NULL);
        assert_text("", LOG_DEBUG, "gone", NULL);
        log_init("ingest", LOG_DEBUG, LOG_TEXT);
        assert_true(log_enabled(LOG_DEBUG));
        capture();
        log_write(LOG_DEBUG, "here", NULL);
        assert_string_equal(logged(text_head), "DEBUG ingest: here\n");
        log_init("ingest", LOG_ERROR, LOG_TEXT);
        assert_false(log_enabled(LOG_WARN));
}

static void conversions(void **state)
{
        const char *volatile none = NULL; /* volatile: the compiler would refuse a NULL it can see */

        (void)state;
        assert_text("INFO  ingest: m a=-1 b=2 c=-3 d=4 e=-5 f=6 g=7 h=-8\n", LOG_INFO, "m",
                "a=%d b=%u c=%ld d=%lu e=%lld f=%llu g=%zu h=%zd", -1, 2U, -3L, 4UL, -5LL, 6ULL, (size_t)7, (ssize_t)-8);
        assert_text("INFO  ingest: m i=-9223372036854775808 u=18446744073709551615 s=stream v=- x=1-2s z=\"\"\n", LOG_INFO, "m",
                "i=%" PRId64 " u=%" PRIu64 " s=%s v=%s x=%d-%ds z=%s", INT64_MIN, UINT64_MAX, "stream", none, 1, 2, "");
}

static void text_quoting(void **state)
{
        (void)state;
        assert_text("INFO  ingest: two words a=plain:/-1 b=\"two words\" c=\"k=v\" d=\"say \\\"hi\\\" \\\\\" "
                    "e=\"x\\ny\\r\\t\\x1b\\x7f\"\n",
                LOG_INFO, "two words", "a=%s b=%s c=%s d=%s e=%s", "plain:/-1", "two words", "k=v", "say \"hi\" \\",
                "x\ny\r\t\x1b\x7f");
        assert_text("INFO  ingest: m a=é€😀 b=\"\\xff\\xc3(\\xed\\xa0\\x80\"\n", LOG_INFO, "m", "a=%s b=%s", "é€😀",
                "\xff\xc3(\xed\xa0\x80");
}

static void json(void **state)
{
        (void)state;
        assert_json(",\"level\":\"warn\",\"program\":\"ingest\",\"message\":\"say \\\"hi\\\"\"}\n", LOG_WARN, "say \"hi\"", NULL);
        assert_json(",\"level\":\"info\",\"program\":\"ingest\",\"message\":\"m\",\"n\":-1,\"s\":\"1\",\"t\":\"15s\",\"z\":0}\n",
                LOG_INFO, "m", "n=%d s=%s t=%ds z=%zu", -1, "1", 15, (size_t)0);
        assert_json(",\"level\":\"info\",\"program\":\"ingest\",\"message\":\"m\",\"a\":\"\\\"\\\\\\n\\u0001\\u001f é\"}\n",
                LOG_INFO, "m", "a=%s", "\"\\\n\x01\x1f é");
        assert_json(",\"level\":\"info\",\"program\":\"ingest\",\"message\":\"m\",\"a\":\"\\ufffd("
                    "\\ufffd\\ufffdx\\ufffd\\ufffd\\ufffd\"}\n",
                LOG_INFO, "m", "a=%s", "\xc3(\xff\xfex\xf4\x90\x80");
}

static int ends_with(const char *text, const char *end)
{
        return strlen(text) >= strlen(end) && strcmp(text + strlen(text) - strlen(end), end) == 0;
}

/* A line of any length ends within 8 KB, between two characters, and says that it was cut. */
static void long_lines(void **state)
{
        static char value[20000];
        static const char *const fills[] = {"a", "é", "😀", "\"", "\x01", "\xff"};

        (void)state;
        for (size_t i = 0; i < ARRAY_LENGTH(fills); i++) {
                size_t length = strlen(fills[i]);

                for (size_t shift = 0; shift < 13; shift++) {
                        const char *text;

                        memset(value, 'x', shift);
                        for (size_t at = shift; at < sizeof value; at++)
                                value[at] = fills[i][(at - shift) % length];
                        value[sizeof value - 1] = '\0';
                        log_init("ingest", LOG_INFO, LOG_JSON);
                        capture();
                        log_write(LOG_INFO, "m", "a=%s b=%d", value, 1);
                        text = logged(json_head);
                        assert_in_range(strlen(line), 8192 - 64, 8192);
                        assert_true(ends_with(text, "\",\"truncated\":true}\n"));
                        log_init("ingest", LOG_INFO, LOG_TEXT);
                        capture();
                        log_write(LOG_INFO, "m", "a=%s b=%d", value, 1);
                        text = logged(text_head);
                        assert_in_range(strlen(line), 8192 - 64, 8192);
                        assert_true(ends_with(text, " (truncated)\n"));
                }
        }
}

/* Where a piece just fits or just does not, nothing may be left half written. */
static void lines_of_any_length(void **state)
{
        static char value[8192];

        (void)state;
        log_init("ingest", LOG_INFO, LOG_JSON);
        for (size_t size = 7900; size < 8191; size++) {
                const char *text;

                memset(value, 'x', size);
                value[size] = '\0';
                capture();
                log_write(LOG_INFO, "m", "a=%s number=%d c=%s", value, 123456, "y");
                text = logged(json_head);
                assert_true(strlen(line) <= 8192);
                assert_true(ends_with(text, "x\",\"number\":123456,\"c\":\"y\"}\n") ||
                            ends_with(text, "\",\"truncated\":true}\n") ||
                            ends_with(text, ",\"number\":123456,\"truncated\":true}\n"));
        }
}

static void errno_is_kept(void **state)
{
        (void)state;
        log_init("ingest", LOG_INFO, LOG_TEXT);
        errno = ENOENT;
        capture();
        errno = ENOENT;
        log_write(LOG_INFO, "m", "a=%s", "x");
        assert_int_equal(errno, ENOENT);
        assert_string_equal(logged(text_head), "INFO  ingest: m a=x\n");
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(levels),
                cmocka_unit_test(conversions),
                cmocka_unit_test(text_quoting),
                cmocka_unit_test(json),
                cmocka_unit_test(long_lines),
                cmocka_unit_test(lines_of_any_length),
                cmocka_unit_test(errno_is_kept),
        };

        return cmocka_run_group_tests(tests, setup, teardown);
}
