/* SPDX-License-Identifier: Apache-2.0 */
/* What came is kept in one piece of memory, which grows with the slabs of a stream. */
#include "test/lib/fetcher.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

int fetcher_open(struct fetcher *fetcher, struct test_loop *t, const char *image,
                 const struct clip_source_options *options)
{
    *fetcher = (struct fetcher){.t = t};
    return source_open(t->engine, image, options, &fetcher->source, &fetcher->err);
}

static void forget(struct fetcher *fetcher)
{
    manifest_free(fetcher->manifest);
    fetcher->manifest = NULL;
    free(fetcher->bytes);
    fetcher->bytes = NULL;
    fetcher->len = fetcher->max_slab = 0;
    fetcher->n_slabs = 0;
    fetcher->done = false;
    err_clear(&fetcher->err);
}

static void on_closed(void *data)
{
    struct fetcher *fetcher = data;

    fetcher->closed = true;
}

void fetcher_close(struct fetcher *fetcher)
{
    if (fetcher->source) {
        source_close(fetcher->source, on_closed, fetcher);
        LOOP_RUN_UNTIL(fetcher->t, fetcher->closed);
    }
    forget(fetcher);
}

void fetcher_wait(struct fetcher *fetcher)
{
    LOOP_RUN_UNTIL(fetcher->t, fetcher->done);
}

static void on_resolved(struct source_resolve *req, int status)
{
    struct fetcher *fetcher = container_of(req, struct fetcher, resolve);

    cr_assert_not(fetcher->done);
    fetcher->done = true;
    fetcher->status = status;
    fetcher->manifest = req->manifest;
    fetcher->err = req->err;
}

int fetcher_resolve(struct fetcher *fetcher)
{
    forget(fetcher);
    source_resolve(fetcher->source, &fetcher->resolve, on_resolved);
    cr_assert_not(fetcher->done, "never from inside the call");
    fetcher_wait(fetcher);
    return fetcher->status;
}

static void on_slab(void *data, struct slab *slab)
{
    struct fetcher *fetcher = data;

    cr_assert_not(fetcher->done);
    fetcher->bytes = realloc(fetcher->bytes, fetcher->len + slab->len);
    memcpy(fetcher->bytes + fetcher->len, slab->bytes, slab->len);
    fetcher->len += slab->len;
    fetcher->n_slabs++;
    if (slab->len > fetcher->max_slab)
        fetcher->max_slab = slab->len;
    if (fetcher->window)
        blob_stream_credit(fetcher->stream, slab->len);
    slab_unlock(slab);
}

static void on_end(void *data, int status, const struct clip_error *err)
{
    struct fetcher *fetcher = data;

    cr_assert_not(fetcher->done);
    fetcher->done = true;
    fetcher->status = status;
    fetcher->err = *err;
    fetcher->stream = NULL;
}

void fetcher_start_stream(struct fetcher *fetcher, const struct descriptor *blob, uint64_t window)
{
    struct blob_stream_options options = {
        .blob = blob, .lane = WORK_BULK, .on_slab = on_slab, .on_end = on_end, .data = fetcher};

    forget(fetcher);
    fetcher->window = window;
    cr_assert_eq(blob_stream_open(fetcher->source, &options, &fetcher->stream, &fetcher->err), 0);
    if (window)
        blob_stream_credit(fetcher->stream, window);
}

int fetcher_stream(struct fetcher *fetcher, const struct descriptor *blob, uint64_t window)
{
    fetcher_start_stream(fetcher, blob, window);
    fetcher_wait(fetcher);
    return fetcher->status;
}

static void on_range(struct blob_range *req, int status)
{
    struct fetcher *fetcher = container_of(req, struct fetcher, range);

    cr_assert_not(fetcher->done);
    fetcher->done = true;
    fetcher->status = status;
    fetcher->err = req->err;
    if (status < 0) {
        cr_assert_null(req->slab);
        return;
    }
    fetcher->len = req->slab->len;
    fetcher->bytes = malloc(fetcher->len);
    memcpy(fetcher->bytes, req->slab->bytes, fetcher->len);
    slab_unlock(req->slab);
}

int fetcher_range_again(struct fetcher *fetcher, unsigned attempt)
{
    struct blob_range *range = &fetcher->range;

    forget(fetcher);
    *range = (struct blob_range){.blob = range->blob,
                                 .off = range->off,
                                 .len = range->len,
                                 .lane = WORK_READ,
                                 .attempt = attempt};
    blob_range_fetch(fetcher->source, range, on_range);
    cr_assert_not(fetcher->done, "never from inside the call");
    fetcher_wait(fetcher);
    return fetcher->status;
}

int fetcher_range(struct fetcher *fetcher, const struct descriptor *blob, uint64_t off,
                  uint64_t len)
{
    fetcher->range = (struct blob_range){.blob = blob, .off = off, .len = len};
    return fetcher_range_again(fetcher, 0);
}
