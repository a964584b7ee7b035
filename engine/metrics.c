/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Metrics hang in one list on the engine, those of one name together, so that formatting is one
 * walk: HELP and TYPE when the name changes, then a line (or a histogram's lines) each.
 * Failure: no memory while formatting.
 */
#include "engine/metrics.h"

#include "engine/engine_private.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_BUCKET_NS 1000u /* 1 us */

void metric_add(struct clip_engine *engine, struct metric *metric, enum metric_kind kind,
                const char *name, const char *help, const char *labels)
{
    struct queue *after = engine->metrics.prev;

    memset(metric, 0, sizeof(*metric));
    metric->kind = kind;
    metric->name = name;
    metric->help = help;
    snprintf(metric->labels, sizeof(metric->labels), "%s", labels ? labels : "");
    queue_for_each(node, &engine->metrics)
    {
        if (strcmp(container_of(node, struct metric, node)->name, name) == 0)
            after = node;
    }
    queue_push_front(after, &metric->node);
}

void metric_remove(struct metric *metric)
{
    if (metric->node.next)
        queue_remove(&metric->node);
}

static unsigned bucket_of(uint64_t ns)
{
    uint64_t bound = FIRST_BUCKET_NS;
    unsigned i = 0;

    while (i < METRIC_BUCKETS - 1 && ns > bound) {
        bound *= 4;
        i++;
    }
    return i;
}

void metric_observe(struct metric *histogram, uint64_t ns)
{
    histogram->buckets[bucket_of(ns)]++;
    histogram->value++;
    histogram->sum_ns += ns;
    if (ns > histogram->max_ns)
        histogram->max_ns = ns;
}

static void format_header(FILE *out, const struct metric *metric)
{
    static const char *const kinds[] = {"counter", "gauge", "histogram"};

    fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", metric->name, metric->help, metric->name,
            kinds[metric->kind]);
}

static void format_histogram(FILE *out, const struct metric *metric)
{
    const char *comma = metric->labels[0] ? "," : "";
    const char *open = metric->labels[0] ? "{" : "";
    const char *close = metric->labels[0] ? "}" : "";
    uint64_t bound = FIRST_BUCKET_NS;
    uint64_t total = 0;

    for (unsigned i = 0; i < METRIC_BUCKETS - 1; i++, bound *= 4) {
        total += metric->buckets[i];
        fprintf(out, "%s_bucket{%s%sle=\"%g\"} %" PRIu64 "\n", metric->name, metric->labels, comma,
                (double)bound / 1e9, total);
    }
    fprintf(out, "%s_bucket{%s%sle=\"+Inf\"} %" PRIu64 "\n", metric->name, metric->labels, comma,
            metric->value);
    fprintf(out, "%s_sum%s%s%s %.9f\n", metric->name, open, metric->labels, close,
            (double)metric->sum_ns / 1e9);
    fprintf(out, "%s_count%s%s%s %" PRIu64 "\n", metric->name, open, metric->labels, close,
            metric->value);
}

static void format_value(FILE *out, const struct metric *metric)
{
    if (metric->labels[0])
        fprintf(out, "%s{%s} %" PRIu64 "\n", metric->name, metric->labels, metric->value);
    else
        fprintf(out, "%s %" PRIu64 "\n", metric->name, metric->value);
}

int metrics_format(const struct queue *metrics, char **out, size_t *out_len)
{
    const char *name = "";
    FILE *file = open_memstream(out, out_len);

    if (!file)
        return -ENOMEM;
    queue_for_each(node, metrics)
    {
        const struct metric *metric = container_of(node, struct metric, node);
        if (strcmp(name, metric->name) != 0)
            format_header(file, metric);
        name = metric->name;
        if (metric->kind == METRIC_HISTOGRAM)
            format_histogram(file, metric);
        else
            format_value(file, metric);
    }
    if (fclose(file) != 0)
        return -ENOMEM;
    return 0;
}

int clip_engine_metrics(struct clip_engine *engine, char **out, size_t *out_len)
{
    return metrics_format(&engine->metrics, out, out_len);
}
