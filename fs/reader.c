/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The happy path of a reader is:
 * - it opens its source and its part of the cache; neither does any I/O yet. What the image's
 *   profile names is asked for, if it is to be fetched ahead.
 * - clip_reader_read() goes through the file in steps of READ_MAX, one at a time, and copies.
 * Possible failure modes are: what fs/read.h says; a read that fails after its first step fails
 * as a whole.
 * On close: reads are cancelled, other users are told to stop; when the last has ended the client
 * closes, then the source, then on_close.
 */
#include "fs/reader.h"

#include "fs/read.h"

#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

/* ---- users */

int reader_use(struct clip_reader *reader, struct reader_user *user, reader_stop_fn stop)
{
    if (reader->closing)
        return -ESHUTDOWN;
    user->reader = reader;
    user->stop = stop;
    queue_push(&reader->users, &user->node);
    return 0;
}

void reader_unuse(struct reader_user *user)
{
    queue_remove(&user->node);
    reader_maybe_closed(user->reader);
}

/* ---- reading */

struct copying {
    struct reader_user user;
    struct read read;
    uint8_t *buf;
    size_t len, done_len;
    bool reading; /* the read will tell */
    bool stopped;
    struct later later;
    clip_done_cb done;
    void *data;
    int status;
    struct clip_error err;
};

static void next_step(struct later *later);

static void copying_end(struct later *later)
{
    struct copying *copying = container_of(later, struct copying, later);
    clip_done_cb done = copying->done;
    void *data = copying->data;
    int status = copying->status;
    struct clip_error err = copying->err;

    if (status == 0)
        status = (int)copying->done_len;
    reader_unuse(&copying->user);
    free(copying);
    done(data, status, status < 0 ? &err : NULL);
}

static void step_later(struct copying *copying, later_cb cb)
{
    later_call(copying->user.reader->engine, &copying->later, cb);
}

static void copying_fail(struct copying *copying, int status, const struct clip_error *err)
{
    copying->status = status;
    if (err)
        copying->err = *err;
    else
        err_set(&copying->err, status, status == -ECANCELED ? "cancelled" : "out of memory");
    step_later(copying, copying_end);
}

static void take_pieces(struct copying *copying)
{
    struct read *read = &copying->read;
    bool is_last = read->n_bytes < read->len;

    for (unsigned i = 0; i < read->n_pieces; i++) {
        memcpy(copying->buf + copying->done_len, read->pieces[i].iov_base, read->pieces[i].iov_len);
        copying->done_len += read->pieces[i].iov_len;
    }
    read_release(read);
    step_later(copying, is_last || copying->done_len == copying->len ? copying_end : next_step);
}

static void on_read(struct read *read, int status)
{
    struct copying *copying = container_of(read, struct copying, read);

    copying->reading = false;
    if (status < 0)
        copying_fail(copying, status, read->err);
    else
        take_pieces(copying);
}

static int start_step(struct copying *copying)
{
    size_t left = copying->len - copying->done_len;
    uint64_t off = copying->read.off + copying->read.len;
    int r;

    copying->read.off = off;
    copying->read.len = left < READ_MAX ? left : READ_MAX;
    r = read_start(copying->user.reader, &copying->read, on_read);
    if (r > 0)
        take_pieces(copying);
    copying->reading = r == 0;
    return r;
}

static void next_step(struct later *later)
{
    struct copying *copying = container_of(later, struct copying, later);
    int r = copying->stopped ? -ECANCELED : start_step(copying);

    if (r < 0)
        copying_fail(copying, r, NULL);
}

static void stop_copying(struct reader_user *user)
{
    struct copying *copying = container_of(user, struct copying, user);

    copying->stopped = true;
    if (copying->reading)
        read_cancel(&copying->read);
}

int clip_reader_read(struct clip_reader *reader, uint64_t ino, uint64_t off, void *buf, size_t len,
                     clip_done_cb done, void *data)
{
    struct copying *copying;
    int r;

    if (len > INT_MAX)
        return -EINVAL;
    copying = calloc(1, sizeof(*copying));
    if (!copying)
        return -ENOMEM;
    copying->buf = buf;
    copying->len = len;
    copying->done = done;
    copying->data = data;
    copying->read.ino = ino;
    copying->read.off = off;
    copying->read.tells = true;
    later_init(&copying->later);
    r = reader_use(reader, &copying->user, stop_copying);
    if (r < 0) {
        free(copying);
        return r;
    }
    r = start_step(copying);
    if (r < 0) {
        reader_unuse(&copying->user);
        free(copying);
        return r;
    }
    return 0;
}

void clip_reader_counters(const struct clip_reader *reader, struct clip_counters *out)
{
    *out = reader->counters;
}

/* ---- open and close */

static void reader_closed(void *data)
{
    struct clip_reader *reader = data;
    clip_close_cb on_close = reader->on_close;
    void *close_data = reader->close_data;

    later_cancel(&reader->later);
    engine_remove(reader->engine, &reader->child);
    clip_image_unref(reader->image);
    profile_fini(&reader->profile);
    foresee_fini(&reader->foresee);
    free(reader);
    if (on_close)
        on_close(close_data);
}

static void client_closed(void *data)
{
    struct clip_reader *reader = data;

    span_source_close(reader->client.source, reader_closed, reader);
}

static void close_client(struct later *later)
{
    struct clip_reader *reader = container_of(later, struct clip_reader, later);

    cache_client_close(&reader->client, client_closed, reader);
}

void reader_maybe_closed(struct clip_reader *reader)
{
    if (!reader->closing || reader->closed || !queue_empty(&reader->reads) ||
        !queue_empty(&reader->users))
        return;
    reader->closed = true;
    later_call(reader->engine, &reader->later, close_client);
}

static void begin_close(struct clip_reader *reader)
{
    reader->closing = true;
    queue_for_each(node, &reader->users)
    {
        struct reader_user *user = container_of(node, struct reader_user, node);
        user->stop(user);
    }
    read_cancel_all(reader);
    reader_maybe_closed(reader);
}

static void on_engine_close(struct engine_child *child)
{
    struct clip_reader *reader = container_of(child, struct clip_reader, child);

    if (!reader->closing)
        begin_close(reader);
}

void clip_reader_close(struct clip_reader *reader, clip_close_cb on_close, void *data)
{
    reader->on_close = on_close;
    reader->close_data = data;
    if (!reader->closing)
        begin_close(reader);
}

void reader_own(struct clip_reader *reader)
{
    engine_remove(reader->engine, &reader->child);
}

static int open_client(struct clip_reader *reader, const struct clip_reader_options *options,
                       struct clip_error *err)
{
    reader->client.engine = reader->engine;
    reader->client.image = reader->image;
    reader->client.counters = &reader->counters;
    return cache_client_open(&reader->client, options->cache_dir, options->cache_size, err);
}

static void prefetch(struct clip_reader *reader)
{
    const struct clip_profile_span *spans;
    size_t n = clip_image_profile(reader->image, &spans);

    if (n > 0)
        cache_prefetch(&reader->client, spans, n);
    foresee_init(&reader->foresee, &reader->client);
}

int clip_reader_open(struct clip_engine *engine, struct clip_image *image,
                     const struct clip_reader_options *options, struct clip_reader **out,
                     struct clip_error *err)
{
    static const struct clip_reader_options defaults;
    struct clip_reader *reader = calloc(1, sizeof(*reader));
    int r;

    if (!reader)
        return err_set(err, -ENOMEM, "out of memory for a reader");
    if (!options)
        options = &defaults;
    reader->engine = engine;
    reader->image = image;
    queue_init(&reader->reads);
    queue_init(&reader->users);
    later_init(&reader->later);
    r = span_source_open(engine, image, options->source, &options->net, &reader->client.source,
                         err);
    if (r < 0)
        goto fail;
    r = open_client(reader, options, err);
    if (r < 0)
        goto fail_source;
    r = engine_add(engine, &reader->child, ENGINE_USER, NULL, on_engine_close);
    if (r < 0) {
        err_set(err, r, "the engine is closing");
        goto fail_client;
    }
    clip_image_ref(image);
    if (options->prefetch)
        prefetch(reader);
    *out = reader;
    return 0;
fail_client:
    cache_client_drop(&reader->client);
fail_source:
    span_source_close(reader->client.source, NULL, NULL);
fail:
    free(reader);
    return r;
}
