/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Numbers for operators, in Prometheus text format 0.0.4. A metric is embedded in whoever counts
 * and lives as long; several of one name (one per mount, say) differ by their labels and stand
 * under one HELP. On the loop's thread.
 */
#ifndef CLIP_ENGINE_METRICS_H
#define CLIP_ENGINE_METRICS_H

#include "engine/engine.h"

enum metric_kind { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

#define METRIC_BUCKETS 16 /* seconds: 1 us x 4^n, the last is +Inf */

struct metric {
    /* public: counters and gauges are just set and added to */
    uint64_t value;
    /* read-only */
    enum metric_kind kind;
    const char *name, *help; /* static strings */
    char labels[128];        /* a="b",c="d" or empty */
    uint64_t buckets[METRIC_BUCKETS], sum_ns, max_ns;
    /* private */
    struct queue node;
};

/* `labels` may be NULL; values must be bounded in number and hold no quotes. */
void metric_add(struct clip_engine *engine, struct metric *metric, enum metric_kind kind,
                const char *name, const char *help, const char *labels);
/* Harmless for a zeroed metric that was never added. */
void metric_remove(struct metric *metric);
void metric_observe(struct metric *histogram, uint64_t ns);

/* private, for engine.c */
int metrics_format(const struct queue *metrics, char **out, size_t *out_len);

#endif
