/*
 * Metrics in the Prometheus text exposition format 0.0.4 (https://prometheus.io/docs/instrumenting/exposition_formats/).
 * A family is declared once, with name, help and label names; series appear as they are touched. All calls are thread-safe.
 * Families are printed in the order they were registered in, series sorted by label values. Label values are UTF-8.
 */
#pragma once

#include <stdbool.h>
#include <stdio.h>
#include "common/base/base.h"

enum metric_kind { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

#define METRIC_LABELS_MAX 3

struct metric {
        const char *name, *help;
        enum metric_kind kind;
        const char *labels[METRIC_LABELS_MAX]; /* label names, unused ones NULL */
        const double *buckets; /* histogram: upper bounds, ascending, ends at 0; NULL: the registry's default for seconds */
        struct metric_series *series; /* filled by the module; start with NULL */
        struct metric *next;
};

/* Declares a family: GAUGE(variable, "name", "help", "label", …, NULL). */
#define METRIC_OF(variable, type, bounds, text, about, ...)                                                                      \
        struct metric variable = {.name = text, .help = about, .kind = type, .labels = {__VA_ARGS__}, .buckets = bounds}
#define COUNTER(variable, ...)           METRIC_OF(variable, METRIC_COUNTER, NULL, __VA_ARGS__)
#define GAUGE(variable, ...)             METRIC_OF(variable, METRIC_GAUGE, NULL, __VA_ARGS__)
#define HISTOGRAM(variable, bounds, ...) METRIC_OF(variable, METRIC_HISTOGRAM, bounds, __VA_ARGS__)

struct metrics *metrics_new(void);
/* returns NULL; families themselves belong to the caller, their series are freed */
struct metrics *metrics_free(struct metrics *metrics);
void metrics_register(struct metrics *metrics, struct metric *family); /* once; the family outlives metrics */

/* label values as many as the family has label names; NULL ends them */
void metrics_add(struct metrics *metrics, struct metric *family, double amount, const char *label1, const char *label2,
        const char *label3);
void metrics_set(
        struct metrics *metrics, struct metric *family, double value, const char *label1, const char *label2, const char *label3);
void metrics_observe(
        struct metrics *metrics, struct metric *family, double value, const char *label1, const char *label2, const char *label3);
/* 0 where untouched; a histogram's count */
double metrics_get(struct metrics *metrics, struct metric *family, const char *label1, const char *label2, const char *label3);
#define METRIC_BUCKETS_MAX 32
/* What a histogram without labels has counted, one number a bound. */
void metrics_counts(struct metrics *metrics, struct metric *family, uint64_t *counts);
/* Half and 99 % of what it saw since `before` (of metrics_counts, or zeros) are at most these, interpolated between its bounds;
 * what lies beyond the last bound is left out. False: it saw nothing. */
bool metrics_quantiles(struct metrics *metrics, struct metric *family, const uint64_t *before, double *half, double *most);

/* The whole exposition; malloc'd, caller frees. A counter or histogram without labels is shown from 0
 * on, a gauge from its first metrics_set on. */
char *metrics_print(struct metrics *metrics);
