#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/metrics.h"

static struct metrics *metrics;

static int setup(void **state)
{
        (void)state;
        metrics = metrics_new();
        return metrics ? 0 : -1;
}

static int teardown(void **state)
{
        (void)state;
        metrics = metrics_free(metrics);
        return 0;
}

static void assert_printed(const char *expected)
{
        char *text = metrics_print(metrics);

        assert_non_null(text);
        assert_string_equal(text, expected);
        free(text);
}

static void empty(void **state)
{
        (void)state;
        assert_printed("");
        assert_null(metrics_free(NULL));
}

static void counter_without_labels(void **state)
{
        static struct metric events = {.name = "events_total", .help = "all of\nthem \\o/ \"\"", .kind = METRIC_COUNTER};

        (void)state;
        metrics_register(metrics, &events);
        assert_printed("# HELP events_total all of\\nthem \\\\o/ \"\"\n# TYPE events_total counter\nevents_total 0\n");
        metrics_add(metrics, &events, 9007199254740991.0, NULL, NULL, NULL);
        assert_printed(
                "# HELP events_total all of\\nthem \\\\o/ \"\"\n# TYPE events_total counter\nevents_total 9007199254740991\n");
        metrics_add(metrics, &events, 1, NULL, NULL, NULL);
        assert_true(metrics_get(metrics, &events, NULL, NULL, NULL) == 9007199254740992.0);
        teardown(state);
        assert_null(events.series);
        setup(state);
}

static void labels_sorted_and_escaped(void **state)
{
        static struct metric lag = {.name = "lag", .help = "h", .kind = METRIC_GAUGE, .labels = {"stream", "group"}};

        (void)state;
        metrics_register(metrics, &lag);
        assert_printed("# HELP lag h\n# TYPE lag gauge\n");
        metrics_set(metrics, &lag, 1, "b", "x", NULL);
        metrics_set(metrics, &lag, 2, "a", "y", NULL);
        metrics_set(metrics, &lag, 3, "a", "q\"b\\n\n", NULL);
        metrics_set(metrics, &lag, 4, NULL, NULL, NULL);
        metrics_set(metrics, &lag, 5, "b", "x", NULL);
        assert_printed("# HELP lag h\n# TYPE lag gauge\n"
                       "lag{stream=\"\",group=\"\"} 4\n"
                       "lag{stream=\"a\",group=\"q\\\"b\\\\n\\n\"} 3\n"
                       "lag{stream=\"a\",group=\"y\"} 2\n"
                       "lag{stream=\"b\",group=\"x\"} 5\n");
        assert_true(metrics_get(metrics, &lag, "a", "y", NULL) == 2);
        assert_true(metrics_get(metrics, &lag, "nobody", "y", NULL) == 0);
}

static void numbers(void **state)
{
        static const struct {
                double value;
                const char *text;
        } cases[] = {
                {0.1, "g 0.1\n"},
                {1.0 / 3, "g 0.33333333333333331\n"},
                {1e21, "g 1e+21\n"},
                {-2.5e-9, "g -2.5e-09\n"},
                {NAN, "g NaN\n"},
                {INFINITY, "g +Inf\n"},
                {-INFINITY, "g -Inf\n"},
        };
        static struct metric gauge = {.name = "g", .help = "h", .kind = METRIC_GAUGE};

        (void)state;
        metrics_register(metrics, &gauge);
        assert_printed("# HELP g h\n# TYPE g gauge\n");
        for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
                char *text;

                metrics_set(metrics, &gauge, cases[i].value, NULL, NULL, NULL);
                text = metrics_print(metrics);
                assert_non_null(text);
                assert_string_equal(strstr(text, "\ng ") + 1, cases[i].text);
                free(text);
        }
}

static void histogram(void **state)
{
        static const double sizes[] = {0.5, 10, 100, 0};
        static struct metric batch = {
                .name = "batch", .help = "h", .kind = METRIC_HISTOGRAM, .labels = {"stage"}, .buckets = sizes};

        (void)state;
        metrics_register(metrics, &batch);
        metrics_observe(metrics, &batch, 0.25, "i", NULL, NULL);
        metrics_observe(metrics, &batch, 10, "i", NULL, NULL);
        metrics_observe(metrics, &batch, 10.5, "i", NULL, NULL);
        metrics_observe(metrics, &batch, 1000, "i", NULL, NULL);
        metrics_observe(metrics, &batch, NAN, "i", NULL, NULL);
        assert_true(metrics_get(metrics, &batch, "i", NULL, NULL) == 4);
        assert_printed("# HELP batch h\n# TYPE batch histogram\n"
                       "batch_bucket{stage=\"i\",le=\"0.5\"} 1\n"
                       "batch_bucket{stage=\"i\",le=\"10\"} 2\n"
                       "batch_bucket{stage=\"i\",le=\"100\"} 3\n"
                       "batch_bucket{stage=\"i\",le=\"+Inf\"} 4\n"
                       "batch_sum{stage=\"i\"} 1020.75\n"
                       "batch_count{stage=\"i\"} 4\n");
}

static void quantiles(void **state)
{
        static const double sizes[] = {1, 2, 5, 10, 0};
        static struct metric delay = {.name = "delay", .help = "h", .kind = METRIC_HISTOGRAM, .buckets = sizes};
        uint64_t counts[METRIC_BUCKETS_MAX] = {0};
        double half = 0, most = 0;

        (void)state;
        metrics_register(metrics, &delay);
        assert_false(metrics_quantiles(metrics, &delay, counts, &half, &most));
        for (int i = 0; i < 100; i++)
                metrics_observe(metrics, &delay, i < 50 ? 0.5 : i < 99 ? 1.5 : 7, NULL, NULL, NULL);
        assert_true(metrics_quantiles(metrics, &delay, counts, &half, &most));
        assert_true(half == 1 && most == 2);
        metrics_counts(metrics, &delay, counts);
        assert_false(metrics_quantiles(metrics, &delay, counts, &half, &most));
        metrics_observe(metrics, &delay, 4, NULL, NULL, NULL);
        assert_true(metrics_quantiles(metrics, &delay, counts, &half, &most));
        assert_true(half == 3.5 && most > 4.96 && most < 4.98);
        for (int i = 0; i < 3; i++)
                metrics_observe(metrics, &delay, 100, NULL, NULL, NULL);
        assert_true(metrics_quantiles(metrics, &delay, counts, &half, &most));
        assert_true(half == 3.5);
}

static void histogram_of_seconds(void **state)
{
        static struct metric took = {.name = "took_seconds", .help = "h", .kind = METRIC_HISTOGRAM};
        char *text;

        (void)state;
        metrics_register(metrics, &took);
        metrics_observe(metrics, &took, 0.003, NULL, NULL, NULL);
        text = metrics_print(metrics);
        assert_non_null(text);
        assert_non_null(strstr(text, "\ntook_seconds_bucket{le=\"0.0025\"} 0\ntook_seconds_bucket{le=\"0.005\"} 1\n"));
        assert_non_null(strstr(text, "\ntook_seconds_bucket{le=\"+Inf\"} 1\ntook_seconds_sum 0.003\ntook_seconds_count 1\n"));
        free(text);
}

static struct metric shared = {.name = "shared_total", .help = "h", .kind = METRIC_COUNTER, .labels = {"worker"}};

static void *count(void *name)
{
        for (int i = 0; i < 1000; i++) {
                metrics_add(metrics, &shared, 1, name, NULL, NULL);
                metrics_add(metrics, &shared, 1, "all", NULL, NULL);
        }
        return NULL;
}

static void threads(void **state)
{
        static char names[4][2] = {"a", "b", "c", "d"};
        pthread_t ids[ARRAY_LENGTH(names)];

        (void)state;
        metrics_register(metrics, &shared);
        for (size_t i = 0; i < ARRAY_LENGTH(names); i++)
                assert_int_equal(pthread_create(&ids[i], NULL, count, names[i]), 0);
        for (size_t i = 0; i < ARRAY_LENGTH(names); i++)
                assert_int_equal(pthread_join(ids[i], NULL), 0);
        assert_true(metrics_get(metrics, &shared, "all", NULL, NULL) == 4000);
        assert_true(metrics_get(metrics, &shared, "c", NULL, NULL) == 1000);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(empty, setup, teardown),
                cmocka_unit_test_setup_teardown(counter_without_labels, setup, teardown),
                cmocka_unit_test_setup_teardown(labels_sorted_and_escaped, setup, teardown),
                cmocka_unit_test_setup_teardown(numbers, setup, teardown),
                cmocka_unit_test_setup_teardown(histogram, setup, teardown),
                cmocka_unit_test_setup_teardown(quantiles, setup, teardown),
                cmocka_unit_test_setup_teardown(histogram_of_seconds, setup, teardown),
                cmocka_unit_test_setup_teardown(threads, setup, teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
