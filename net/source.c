/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The happy path of a source is:
 * - source_open() looks at the prefix and opens the sort it is: local (net/local.c) or a registry
 *   (net/registry.c). Both fill in source_ops, and all calls go there.
 * - what is in flight stands in `requests`.
 * Possible failure modes are: names that cannot be read, at open; all else belongs to requests.
 * On close: requests are cancelled; when the last has ended the sort frees what is its own, and
 * source_closed() tells the owner, always from the loop. An engine that closes does the same to
 * sources that nobody closed.
 */
#include "net/source.h"

#include "net/source_private.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static void close_now(struct later *later)
{
    struct source *source = container_of(later, struct source, later);

    source->ops->close(source);
}

static void maybe_closed(struct source *source)
{
    if (source->closing && queue_empty(&source->requests))
        later_call(source->engine, &source->later, close_now);
}

static void begin_close(struct source *source)
{
    source->closing = true;
    queue_for_each(node, &source->requests)
    {
        struct source_request *request = container_of(node, struct source_request, node);
        request->cancel(request);
    }
    maybe_closed(source);
}

static void on_engine_close(struct engine_child *child)
{
    struct source *source = container_of(child, struct source, child);

    if (!source->closing)
        begin_close(source);
}

int source_init(struct source *source, struct clip_engine *engine, const struct source_ops *ops,
                const char *name, struct clip_error *err)
{
    int r;

    *source = (struct source){.engine = engine, .ops = ops, .name = strdup(name)};
    if (!source->name)
        return err_set(err, -ENOMEM, "out of memory for a source");
    queue_init(&source->requests);
    later_init(&source->later);
    r = engine_add(engine, &source->child, ENGINE_NET, NULL, on_engine_close);
    if (r < 0) {
        free(source->name);
        return err_set(err, r, "the engine is closing");
    }
    return 0;
}

void source_closed(struct source *source)
{
    source_close_cb on_close = source->on_close;
    void *data = source->close_data;

    engine_remove(source->engine, &source->child);
    free(source->name);
    free(source);
    if (on_close)
        on_close(data);
}

void source_begin(struct source *source, struct source_request *request, source_cancel_fn cancel)
{
    assert(!source->closing);
    request->source = source;
    request->cancel = cancel;
    queue_push(&source->requests, &request->node);
}

void source_end(struct source_request *request)
{
    queue_remove(&request->node);
    maybe_closed(request->source);
}

int source_open(struct clip_engine *engine, const char *image,
                const struct clip_source_options *options, struct source **out,
                struct clip_error *err)
{
    static const struct clip_source_options defaults;

    if (!options)
        options = &defaults;
    if (local_is(image))
        return local_open(engine, image, options, out, err);
    return registry_open(engine, image, options, out, err);
}

void source_close(struct source *source, source_close_cb on_close, void *data)
{
    source->on_close = on_close;
    source->close_data = data;
    if (!source->closing)
        begin_close(source);
}

struct clip_engine *source_engine(const struct source *source)
{
    return source->engine;
}

const char *source_name(const struct source *source)
{
    return source->name;
}

bool source_may_differ(const struct source *source)
{
    return !source->ops->has_one_copy;
}

static void on_refused(struct later *later)
{
    struct source_resolve *req = container_of(later, struct source_resolve, refusal);

    req->done(req, req->err.code);
}

void source_refuse_resolve(struct source_resolve *req)
{
    req->impl = NULL;
    later_init(&req->refusal);
    later_call(req->source->engine, &req->refusal, on_refused);
}

void source_resolve(struct source *source, struct source_resolve *req, source_resolve_cb done)
{
    assert(!source->closing);
    req->source = source;
    req->done = done;
    req->manifest = NULL;
    err_clear(&req->err);
    source->ops->resolve(req);
}

void source_resolve_cancel(struct source_resolve *req)
{
    if (req->impl)
        req->source->ops->resolve_cancel(req);
}
