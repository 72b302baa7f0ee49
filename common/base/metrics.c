#include "common/base/metrics.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct metrics {
        pthread_mutex_t lock;
        struct metric *first, **end;
};

/* One block of memory: the series, its bucket counts, then the label values' text. */
struct metric_series {
        struct metric_series *next; /* sorted by label values, so that the output does not depend on what came first */
        const char *labels[METRIC_LABELS_MAX];
        double value; /* a histogram's sum */
        uint64_t count;
        uint64_t buckets[]; /* each on its own; they are added up when printed */
};

static const double seconds_buckets[] = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 0};

static const double *metric_buckets(const struct metric *family)
{
        return family->buckets ? family->buckets : seconds_buckets;
}

static size_t metric_bucket_count(const struct metric *family)
{
        size_t n = 0;

        if (family->kind == METRIC_HISTOGRAM)
                while (metric_buckets(family)[n] > 0)
                        n++;
        return n;
}

static size_t metric_label_count(const struct metric *family)
{
        size_t n = 0;

        while (n < METRIC_LABELS_MAX && family->labels[n])
                n++;
        return n;
}

static struct metric_series *series_new(const struct metric *family, const char *const *labels)
{
        size_t count = metric_label_count(family), buckets = metric_bucket_count(family), size[METRIC_LABELS_MAX], text = 0;
        struct metric_series *series;
        char *to;

        for (size_t i = 0; i < count; i++)
                text += size[i] = strlen(labels[i]) + 1;
        series = memory_new(1, sizeof *series + buckets * sizeof series->buckets[0] + text);
        to = (char *)&series->buckets[buckets];
        for (size_t i = 0; i < count; i++) {
                series->labels[i] = memcpy(to, labels[i], size[i]);
                to += size[i];
        }
        return series;
}

/* Negative, 0, positive as strcmp, over all label values of the family. */
static int series_compare(const struct metric *family, const struct metric_series *series, const char *const *labels)
{
        int order = 0;

        for (size_t i = 0; order == 0 && i < metric_label_count(family); i++)
                order = strcmp(series->labels[i], labels[i]);
        return order;
}

/* NULL: not there, and not to be created. */
static struct metric_series *series_get(struct metric *family, const char *const *labels, bool create)
{
        struct metric_series **at = &family->series, *series;
        int order = 1;

        while (*at && (order = series_compare(family, *at, labels)) < 0)
                at = &(*at)->next;
        if (*at && order == 0)
                return *at;
        if (!create)
                return NULL;
        series = series_new(family, labels);
        series->next = *at;
        return *at = series;
}

static void series_free_all(struct metric *family)
{
        for (struct metric_series *next, *series = family->series; series; series = next) {
                next = series->next;
                free(series);
        }
        family->series = NULL;
}

/* A missing label value counts as "": Prometheus sees no difference. */
#define LABELS(a, b, c) ((const char *const[METRIC_LABELS_MAX]){(a) ? (a) : "", (b) ? (b) : "", (c) ? (c) : ""})

struct metrics *metrics_new(void)
{
        struct metrics *metrics = memory_new(1, sizeof *metrics);
        pthread_mutex_init(&metrics->lock, NULL);
        metrics->end = &metrics->first;
        return metrics;
}

struct metrics *metrics_free(struct metrics *metrics)
{
        if (!metrics)
                return NULL;
        for (struct metric *next, *family = metrics->first; family; family = next) {
                next = family->next;
                family->next = NULL;
                series_free_all(family);
        }
        pthread_mutex_destroy(&metrics->lock);
        free(metrics);
        return NULL;
}

void metrics_register(struct metrics *metrics, struct metric *family)
{
        pthread_mutex_lock(&metrics->lock);
        *metrics->end = family;
        metrics->end = &family->next;
        /* a count without labels is shown from 0 on: a rate() needs the 0; a gauge is not: nobody has looked yet */
        if (family->kind != METRIC_GAUGE && metric_label_count(family) == 0)
                series_get(family, LABELS(NULL, NULL, NULL), true);
        pthread_mutex_unlock(&metrics->lock);
}

static void change(struct metrics *metrics, struct metric *family, bool add, double value, const char *const *labels)
{
        pthread_mutex_lock(&metrics->lock);
        struct metric_series *series = series_get(family, labels, true);
        series->value = add ? series->value + value : value;
        pthread_mutex_unlock(&metrics->lock);
}

void metrics_add(
        struct metrics *metrics, struct metric *family, double amount, const char *label1, const char *label2, const char *label3)
{
        change(metrics, family, true, amount, LABELS(label1, label2, label3));
}

void metrics_set(
        struct metrics *metrics, struct metric *family, double value, const char *label1, const char *label2, const char *label3)
{
        change(metrics, family, false, value, LABELS(label1, label2, label3));
}

void metrics_observe(
        struct metrics *metrics, struct metric *family, double value, const char *label1, const char *label2, const char *label3)
{
        const double *bounds = metric_buckets(family);
        struct metric_series *series;
        size_t i = 0;

        if (isnan(value)) /* one would make the sum NaN for ever */
                return;
        pthread_mutex_lock(&metrics->lock);
        series = series_get(family, LABELS(label1, label2, label3), true);
        while (bounds[i] > 0 && value > bounds[i])
                i++;
        if (bounds[i] > 0)
                series->buckets[i]++;
        series->value += value;
        series->count++;
        pthread_mutex_unlock(&metrics->lock);
}

double metrics_get(struct metrics *metrics, struct metric *family, const char *label1, const char *label2, const char *label3)
{
        const struct metric_series *series;
        double value = 0;

        pthread_mutex_lock(&metrics->lock);
        series = series_get(family, LABELS(label1, label2, label3), false);
        if (series)
                value = family->kind == METRIC_HISTOGRAM ? (double)series->count : series->value;
        pthread_mutex_unlock(&metrics->lock);
        return value;
}

void metrics_counts(struct metrics *metrics, struct metric *family, uint64_t *counts)
{
        pthread_mutex_lock(&metrics->lock);
        memcpy(counts, family->series->buckets, metric_bucket_count(family) * sizeof(*counts));
        pthread_mutex_unlock(&metrics->lock);
}

/* The value that the share's observation has if those of a bucket are spread evenly over it. */
static double quantile(const double *bounds, const uint64_t *new, size_t size, double rank)
{
        double below = 0, seen = 0;

        for (size_t i = 0; i < size; i++) {
                if (seen + (double)new[i] >= rank)
                        return below + (bounds[i] - below) * (rank - seen) / (double)new[i];
                seen += (double)new[i];
                below = bounds[i];
        }
        return below;
}

bool metrics_quantiles(struct metrics *metrics, struct metric *family, const uint64_t *before, double *half, double *most)
{
        const double *bounds = metric_buckets(family);
        size_t size = metric_bucket_count(family);
        uint64_t total = 0;

        uint64_t new[METRIC_BUCKETS_MAX];
        metrics_counts(metrics, family, new);
        for (size_t i = 0; i < size; i++)
                total += new[i] -= before[i];
        if (!total)
                return false;
        *half = quantile(bounds, new, size, (double)total * 0.5);
        *most = quantile(bounds, new, size, (double)total * 0.99);
        return true;
}

static void print_escaped(FILE *out, const char *text, const char *special)
{
        for (; *text; text++) {
                if (strchr(special, *text))
                        fprintf(out, "\\%c", *text == '\n' ? 'n' : *text);
                else
                        fputc(*text, out);
        }
}

/* Counts stay whole numbers, others are as short as they can be without loss. */
static void print_number(FILE *out, double value)
{
        char text[32];

        if (isnan(value)) {
                fputs("NaN", out);
        } else if (isinf(value)) {
                fputs(value > 0 ? "+Inf" : "-Inf", out);
        } else if (value == trunc(value) && fabs(value) <= 0x1p53) {
                fprintf(out, "%.0f", value);
        } else {
                snprintf(text, sizeof text, "%.15g", value);
                if (strtod(text, NULL) != value)
                        snprintf(text, sizeof text, "%.17g", value);
                fputs(text, out);
        }
}

/* One line. le: a histogram bucket's bound, 0 where there is none. */
static void print_sample(
        FILE *out, const struct metric *family, const char *suffix, const struct metric_series *series, double le, double value)
{
        const char *separator = "{";

        fprintf(out, "%s%s", family->name, suffix);
        for (size_t i = 0; i < metric_label_count(family); i++, separator = ",") {
                fprintf(out, "%s%s=\"", separator, family->labels[i]);
                print_escaped(out, series->labels[i], "\\\"\n");
                fputc('"', out);
        }
        if (le > 0) {
                fprintf(out, "%sle=\"", separator);
                print_number(out, le);
                fputc('"', out);
                separator = ",";
        }
        fputs(*separator == ',' ? "} " : " ", out);
        print_number(out, value);
        fputc('\n', out);
}

static void print_histogram(FILE *out, const struct metric *family, const struct metric_series *series)
{
        const double *bounds = metric_buckets(family);
        uint64_t count = 0;

        for (size_t i = 0; bounds[i] > 0; i++) {
                count += series->buckets[i];
                print_sample(out, family, "_bucket", series, bounds[i], (double)count);
        }
        print_sample(out, family, "_bucket", series, HUGE_VAL, (double)series->count);
        print_sample(out, family, "_sum", series, 0, series->value);
        print_sample(out, family, "_count", series, 0, (double)series->count);
}

static void print_family(FILE *out, const struct metric *family)
{
        static const char *const kinds[] = {"counter", "gauge", "histogram"};

        fprintf(out, "# HELP %s ", family->name);
        print_escaped(out, family->help, "\\\n");
        fprintf(out, "\n# TYPE %s %s\n", family->name, kinds[family->kind]);
        for (const struct metric_series *series = family->series; series; series = series->next) {
                if (family->kind == METRIC_HISTOGRAM)
                        print_histogram(out, family, series);
                else
                        print_sample(out, family, "", series, 0, series->value);
        }
}

char *metrics_print(struct metrics *metrics)
{
        char *text = NULL;
        size_t size = 0;
        FILE *out = memory_stream(&text, &size);
        pthread_mutex_lock(&metrics->lock);
        for (const struct metric *family = metrics->first; family; family = family->next)
                print_family(out, family);
        pthread_mutex_unlock(&metrics->lock);
        memory_stream_end(out);
        return text;
}
