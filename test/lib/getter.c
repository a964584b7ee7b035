/* SPDX-License-Identifier: Apache-2.0 */
#include "test/lib/getter.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WINDOW (1u << 20)

static void on_response(void *data, struct fetch *fetch)
{
    struct getter *getter = data;
    const char *value = getter->want_header ? fetch_get_header(fetch, getter->want_header) : NULL;

    getter->n_responses++;
    getter->code = fetch_status(fetch);
    snprintf(getter->header, sizeof(getter->header), "%s", value ? value : "");
    snprintf(getter->url, sizeof(getter->url), "%s", fetch_url(fetch));
    getter->range_status =
        fetch_content_range(fetch, &getter->range_off, &getter->range_len, &getter->range_total);
    getter->retry_status = fetch_retry_after(fetch, &getter->retry_ms);
    if (getter->cancel_at_response)
        fetch_cancel(fetch);
}

static void on_slab(void *data, struct slab *slab)
{
    struct getter *getter = data;
    size_t len = slab->len;

    if (!getter->fetch || getter->status == -ECANCELED)
        abort(); /* none comes after a cancel */
    getter->bytes = realloc(getter->bytes, getter->len + len + 1);
    memcpy(getter->bytes + getter->len, slab->bytes, len);
    getter->len += len;
    getter->bytes[getter->len] = '\0';
    getter->n_slabs++;
    if (len > getter->max_slab)
        getter->max_slab = len;
    slab_unlock(slab);
    if (getter->cancel_at_slab) {
        getter->status = -ECANCELED;
        fetch_cancel(getter->fetch);
    } else if (!getter->without_credit) {
        fetch_credit(getter->fetch, len);
    }
}

static void on_end(void *data, int status, const struct clip_error *err)
{
    struct getter *getter = data;

    getter->n_ends++;
    getter->status = status;
    getter->err = *err;
    getter->fetch = NULL;
}

int getter_start(struct getter *getter, const char *url)
{
    int r;

    getter_fini(getter);
    getter->status = 1;
    getter->len = getter->max_slab = 0;
    getter->n_ends = getter->n_responses = getter->code = getter->n_slabs = 0;
    getter->options.url = url;
    getter->options.on_response = on_response;
    getter->options.on_slab = on_slab;
    getter->options.on_end = on_end;
    getter->options.data = getter;
    r = fetch_open(getter->t->engine, &getter->options, &getter->fetch, &getter->err);
    if (r == 0 && !getter->without_credit)
        fetch_credit(getter->fetch, getter->window ? getter->window : WINDOW);
    return r;
}

void getter_wait(struct getter *getter)
{
    LOOP_RUN_UNTIL(getter->t, !getter->fetch);
}

int getter_get(struct getter *getter, const char *url)
{
    int r = getter_start(getter, url);

    if (r < 0)
        return r;
    getter_wait(getter);
    return getter->status;
}

void getter_fini(struct getter *getter)
{
    free(getter->bytes);
    getter->bytes = NULL;
}
