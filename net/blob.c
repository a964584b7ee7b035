/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is the same for blobs of all sources: what is asked is checked here and handed to the sort
 * of source, which serves it (net/local.c, net/registry.c).
 * Failure: ranges that are not inside their blob or too long end with -EINVAL or -EFBIG, from the
 * loop like all else.
 */
#include "net/blob.h"

#include "net/source_private.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

int blob_stream_init(struct blob_stream *stream, struct source *source,
                     const struct blob_stream_options *options)
{
    stream->source = source;
    stream->options = *options;
    stream->blob = *options->blob;
    stream->options.blob = &stream->blob;
    if (!options->blob->media_type)
        return 0;
    stream->blob.media_type = strdup(options->blob->media_type);
    return stream->blob.media_type ? 0 : -ENOMEM;
}

void blob_stream_fini(struct blob_stream *stream)
{
    descriptor_fini(&stream->blob);
}

int blob_stream_open(struct source *source, const struct blob_stream_options *options,
                     struct blob_stream **out, struct clip_error *err)
{
    assert(!source->closing);
    return source->ops->stream_open(source, options, out, err);
}

void blob_stream_credit(struct blob_stream *stream, uint64_t len)
{
    stream->source->ops->stream_credit(stream, len);
}

void blob_stream_cancel(struct blob_stream *stream)
{
    stream->source->ops->stream_cancel(stream);
}

static void on_refused(struct later *later)
{
    struct blob_range *req = container_of(later, struct blob_range, refusal);

    req->done(req, req->err.code);
}

void source_refuse_range(struct blob_range *req)
{
    req->impl = NULL;
    later_init(&req->refusal);
    later_call(req->source->engine, &req->refusal, on_refused);
}

static int check_range(struct blob_range *req)
{
    char digest[DIGEST_TEXT_LEN + 1];

    if (req->len > BLOB_RANGE_MAX)
        return err_set(&req->err, -EFBIG, "%" PRIu64 " bytes are too many for one range", req->len);
    if (req->len == 0 || req->off > req->blob->size || req->len > req->blob->size - req->off)
        return err_set(&req->err, -EINVAL,
                       "%" PRIu64 " bytes from %" PRIu64 " are not inside of blob %s of %" PRIu64,
                       req->len, req->off, digest_format(&req->blob->digest, digest),
                       req->blob->size);
    return 0;
}

void blob_range_fetch(struct source *source, struct blob_range *req, blob_range_cb done)
{
    assert(!source->closing);
    req->source = source;
    req->done = done;
    req->slab = NULL;
    req->impl = NULL;
    err_clear(&req->err);
    if (check_range(req) < 0)
        source_refuse_range(req);
    else
        source->ops->range_fetch(req);
}

void blob_range_cancel(struct blob_range *req)
{
    if (req->impl)
        req->source->ops->range_cancel(req);
}
