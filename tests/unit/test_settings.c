#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/settings.h"

struct settings {
        char *url, *name;
        int64_t size, all;
        bool prepared;
        int level;
        char **streams;
};

static const char *check_url(const char *value)
{
        return strncmp(value, "db://", 5) == 0 ? NULL : "must start with db://";
}

static const char *const levels[] = {"error", "warn", "info", NULL};

#define AT(field) .offset = offsetof(struct settings, field)
static const struct setting base_rows[] = {
        {.name = "T_URL",
                .kind = SETTING_TEXT,
                .help = "where",
                AT(url),
                .required = true,
                .from_file = true,
                .secret = true,
                .check = check_url},
        {.name = "T_NAME", .kind = SETTING_TEXT, .help = "who", AT(name)},
        {.name = NULL},
};
static const struct setting more_rows[] = {
        {.name = "T_SIZE",
                .kind = SETTING_NUMBER,
                .fallback = "100",
                .help = "messages per read",
                AT(size),
                .min = 1,
                .max = 100000},
        {.name = "T_ALL", .kind = SETTING_NUMBER, .fallback = "0", .help = "any", AT(all), .min = 0, .max = INT64_MAX},
        {.name = "T_PREPARED", .kind = SETTING_SWITCH, .fallback = "true", .help = "prepare statements", AT(prepared)},
        {.name = "T_LEVEL",
                .kind = SETTING_CHOICE,
                .fallback = "info",
                .help = "what is logged; this text is so long that it has to be wrapped, and more than once, to stay readable",
                AT(level),
                .choices = levels},
        {.name = "T_STREAMS", .kind = SETTING_LIST, .fallback = "a,b", .help = "input streams", AT(streams)},
        {.name = NULL},
};
static const struct settings_table more = {.rows = more_rows};
static const struct settings_table table = {.rows = base_rows, .next = &more};

static char path[] = "/tmp/test_settings.XXXXXX";

static int setup(void **state)
{
        static const char *const names[] = {
                "T_URL", "T_URL_FILE", "T_NAME", "T_NAME_FILE", "T_SIZE", "T_ALL", "T_PREPARED", "T_LEVEL", "T_STREAMS"};

        (void)state;
        for (size_t i = 0; i < ARRAY_LENGTH(names); i++)
                unsetenv(names[i]);
        return setenv("T_URL", "db://host", 1);
}

static int setup_all(void **state)
{
        int fd = mkstemp(path);

        (void)state;
        return fd < 0 ? -1 : close(fd);
}

static int teardown_all(void **state)
{
        (void)state;
        return unlink(path);
}

static void write_file(const char *text, size_t size)
{
        FILE *file = fopen(path, "w");

        assert_non_null(file);
        assert_int_equal(fwrite(text, 1, size, file), size);
        assert_int_equal(fclose(file), 0);
}

/* The settings must be refused, with exactly these problems. */
static void assert_refused(const char *expected)
{
        struct settings settings;
        char *problems;

        assert_int_equal(settings_read(&table, &settings, &problems), SETTINGS_BAD);
        assert_string_equal(problems, expected);
        assert_null(settings.url);
        assert_null(settings.streams);
        free(problems);
}

static void assert_url(const char *expected)
{
        struct settings settings;
        char *problems;

        assert_int_equal(settings_read(&table, &settings, &problems), 0);
        assert_null(problems);
        assert_string_equal(settings.url, expected);
        settings_deinit(&table, &settings);
}

static char *print(void)
{
        char *text = NULL;
        size_t size;
        FILE *out = open_memstream(&text, &size);

        assert_non_null(out);
        settings_print(&table, out);
        assert_int_equal(fclose(out), 0);
        return text;
}

static void defaults(void **state)
{
        struct settings settings;
        char *problems;

        (void)state;
        setenv("T_SIZE", "", 1); /* empty counts as unset */
        assert_int_equal(settings_read(&table, &settings, &problems), 0);
        assert_null(problems);
        assert_string_equal(settings.url, "db://host");
        assert_null(settings.name);
        assert_int_equal(settings.size, 100);
        assert_true(settings.prepared);
        assert_int_equal(settings.level, 2);
        assert_string_equal(settings.streams[0], "a");
        assert_string_equal(settings.streams[1], "b");
        assert_null(settings.streams[2]);
        settings_deinit(&table, &settings);
        assert_null(settings.url);
        settings_deinit(&table, &settings);
}

static void values(void **state)
{
        static const char *const on[] = {"true", "1", "yes", "ON", "True"}, *const off[] = {"false", "0", "no", "OFF", "False"};
        struct settings settings;
        char *problems;

        (void)state;
        setenv("T_NAME", " kept as it is ", 1);
        setenv("T_NAME_FILE", "/not/looked/at", 1);
        setenv("T_SIZE", "007", 1);
        setenv("T_ALL", "9223372036854775807", 1);
        setenv("T_LEVEL", "WARN", 1);
        setenv("T_STREAMS", " x ,\ty, z z", 1);
        for (size_t i = 0; i < ARRAY_LENGTH(on) + ARRAY_LENGTH(off); i++) {
                bool expected = i < ARRAY_LENGTH(on);

                setenv("T_PREPARED", expected ? on[i] : off[i - ARRAY_LENGTH(on)], 1);
                assert_int_equal(settings_read(&table, &settings, &problems), 0);
                assert_int_equal(settings.prepared, expected);
                assert_string_equal(settings.name, " kept as it is ");
                assert_int_equal(settings.size, 7);
                assert_true(settings.all == INT64_MAX);
                assert_int_equal(settings.level, 1);
                assert_string_equal(settings.streams[0], "x");
                assert_string_equal(settings.streams[1], "y");
                assert_string_equal(settings.streams[2], "z z");
                assert_null(settings.streams[3]);
                settings_deinit(&table, &settings);
        }
}

static void bad_numbers(void **state)
{
        static const char *const bad[] = {"0", "100001", "-1", "+1", " 1", "1 ", "0x10", "1e3", "1.0", "abc",
                "9223372036854775808", "99999999999999999999999"};

        (void)state;
        for (size_t i = 0; i < ARRAY_LENGTH(bad); i++) {
                char expected[128];

                setenv("T_SIZE", bad[i], 1);
                snprintf(expected, sizeof expected, "T_SIZE: '%s' is not a whole number from 1 to 100000\n", bad[i]);
                assert_refused(expected);
        }
        unsetenv("T_SIZE");
        setenv("T_ALL", "9223372036854775808", 1);
        assert_refused("T_ALL: '9223372036854775808' is not a whole number from 0 to 9223372036854775807\n");
}

static void all_problems_at_once(void **state)
{
        (void)state;
        unsetenv("T_URL");
        setenv("T_SIZE", "x\ny", 1);
        setenv("T_PREPARED", "maybe", 1);
        setenv("T_LEVEL", "loud", 1);
        setenv("T_STREAMS", "a,,b", 1);
        assert_refused("T_URL: not set, and it has no default; set it, or T_URL_FILE to the path of a file that holds it\n"
                       "T_SIZE: 'x?y' is not a whole number from 1 to 100000\n"
                       "T_PREPARED: 'maybe' is not one of false, true, 0, 1, no, yes, off, on\n"
                       "T_LEVEL: 'loud' is not one of error, warn, info\n"
                       "T_STREAMS: 'a,,b': has an empty item\n");
}

static void bad_lists(void **state)
{
        (void)state;
        setenv("T_STREAMS", "a, b ,a", 1);
        assert_refused("T_STREAMS: 'a, b ,a': has an item twice\n");
        setenv("T_STREAMS", "a,", 1);
        assert_refused("T_STREAMS: 'a,': has an empty item\n");
        setenv("T_STREAMS", " ", 1);
        assert_refused("T_STREAMS: ' ': has an empty item\n");
}

static void from_file(void **state)
{
        (void)state;
        setenv("T_URL_FILE", path, 1);
        assert_refused("T_URL: set together with T_URL_FILE; only one of them is allowed\n");
        setenv("T_URL", "", 1);
        write_file("db://from/file\n", 15);
        assert_url("db://from/file");
        write_file("db://from/file\r\n", 16);
        assert_url("db://from/file");
        write_file("db://two\n\n", 10);
        assert_url("db://two");
        write_file("db://none", 9);
        assert_url("db://none");
}

static void bad_files(void **state)
{
        static char big[8193], expected[256];

        (void)state;
        unsetenv("T_URL");
        setenv("T_URL_FILE", "/nowhere/at/all", 1);
        assert_refused("T_URL_FILE: cannot read '/nowhere/at/all': No such file or directory\n");
        setenv("T_URL_FILE", "/", 1);
        assert_refused("T_URL_FILE: cannot read '/': Is a directory\n");
        setenv("T_URL_FILE", "db://u:geheim@host", 1);
        assert_refused("T_URL_FILE: cannot read 'db://u:***@host': No such file or directory\n");
        setenv("T_URL_FILE", path, 1);
        write_file("\n", 1);
        snprintf(expected, sizeof expected, "T_URL_FILE: cannot read '%s': it is empty\n", path);
        assert_refused(expected);
        write_file("db://a\0b", 8);
        snprintf(expected, sizeof expected, "T_URL_FILE: cannot read '%s': it holds a NUL byte\n", path);
        assert_refused(expected);
        memset(big, 'a', sizeof big);
        write_file(big, sizeof big);
        snprintf(expected, sizeof expected, "T_URL_FILE: cannot read '%s': larger than 8 KB\n", path);
        assert_refused(expected);
}

/* Every value is refused by check_url, so the problem shows it as it would be printed. */
static void secrets(void **state)
{
        static const struct {
                const char *value, *shown;
        } cases[] = {
                {"pg://user:geheim@host:5432/db", "pg://user:***@host:5432/db"},
                {"pg://:geheim@host", "pg://:***@host"},
                {"pg://user@host:5432/db?sslmode=require", "pg://user@host:5432/db?sslmode=require"},
                {"pg://host/db?password=geheim&x=1", "pg://host/db?password=***&x=1"},
                {"pg://host/db?x=1&sslPASSWORD=geheim", "pg://host/db?x=1&sslPASSWORD=***"},
                {"pg://u:geheim@host/db?password=geh@eim", "pg://u:***@host/db?password=***"},
                {"pg://u:ge@he/i?m@host/db", "pg://u:***@host/db"},
                {"pg//u:geheim@host", "pg//u:***@host"},
                {"u:geheim://x@host", "u:***@host"},
                {"pg://u:xpassword=geheim@host", "pg://u:***"},
                {"host=h password=geheim dbname=d", "host=h password=*** dbname=d"},
                {"password = 'geh\\'eim x' dbname=d", "password = *** dbname=d"},
                {"password=geh\\ eim dbname=d", "password=*** dbname=d"},
                {"password=geheim", "password=***"},
                {"password=", "password="},
                {"https://node.example/v3/geheim", "https://node.example/***"},
                {"https://u:geheim@node.example?key=geheim", "https://u:***@node.example?***"},
                {"http://node.example:8545/", "http://node.example:8545/"},
                {"redis://geheim:@host:6379", "redis://***@host:6379"},
                {"redis://:geheim", "redis://:***"},
                {"pg://u:geheim/db", "pg://u:***/db"},
                {"pg://u:geheim@a:1,b:geheim,[::1]:5432/db", "pg://u:***@a:1,b:***,[::1]:5432/db"},
                {"pg://[fe80::1],[::1]/db", "pg://[fe80::1],[::1]/db"},
                {"pg://h/db?p%61ssword=geheim&oauth_client_secret=geheim", "pg://h/db?p%61ssword=***&oauth_client_secret=***"},
                {"host=h pwd=geheim sslkey=/a/b", "host=h pwd=*** sslkey=/a/b"},
                {"host=h password=a geheim b dbname=d", "host=h password=*** dbname=d"},
                {"host=h password='a geheim dbname=d", "host=h password=***"},
                {"node.example/v3/geheim", "***"},
                {"node.example/v3/geheim?x=1", "***"},
                {"wss://node.example/v3/geheim", "wss://node.example/***"},
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
                char expected[256], *text;

                setenv("T_URL", cases[i].value, 1);
                snprintf(expected, sizeof expected, "T_URL: '%s': must start with db://\n", cases[i].shown);
                assert_refused(expected);
                text = print();
                assert_non_null(strstr(text, cases[i].shown));
                assert_null(strstr(text, "geheim"));
                free(text);
        }
}

static void printed(void **state)
{
        char *text;

        (void)state;
        setenv("T_URL", "db://user:geheim@a-rather-long-host-name/db", 1);
        setenv("T_SIZE", "abc", 1);
        text = print();
        assert_string_equal(text,
                "T_URL       db://user:***@a-rather-long-host-name/db\n"
                "                                      where; or T_URL_FILE\n"
                "T_NAME      -                         who\n"
                "T_SIZE      abc                       messages per read; a whole number from 1 to 100000; default\n"
                "                                      100\n"
                "T_ALL       0                         any; a whole number from 0 to 9223372036854775807\n"
                "T_PREPARED  true                      prepare statements\n"
                "T_LEVEL     info                      what is logged; this text is so long that it has to be\n"
                "                                      wrapped, and more than once, to stay readable; one of error,\n"
                "                                      warn, info\n"
                "T_STREAMS   a,b                       input streams\n");
        free(text);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup(defaults, setup),
                cmocka_unit_test_setup(values, setup),
                cmocka_unit_test_setup(bad_numbers, setup),
                cmocka_unit_test_setup(all_problems_at_once, setup),
                cmocka_unit_test_setup(bad_lists, setup),
                cmocka_unit_test_setup(from_file, setup),
                cmocka_unit_test_setup(bad_files, setup),
                cmocka_unit_test_setup(secrets, setup),
                cmocka_unit_test_setup(printed, setup),
        };

        return cmocka_run_group_tests(tests, setup_all, teardown_all);
}
