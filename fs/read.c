/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The happy path of a read is:
 * - plan() cuts what was asked for into parts: each a hole, or bytes of one span.
 * - a part whose span is in memory, or on disk and in the kernel's page cache, is answered there;
 *   for the others wants are started, all at once, and the read waits until the last has come.
 * - the first read of a file of a few spans asks for all of them, behind what is waited for, and
 *   foresees what the file needs.
 * - the parts become the pieces of the answer. Where there are more of them than pieces, they are
 *   copied together, a round of READ_PIECES_MAX parts at a time.
 * Possible failure modes are: no memory; a span that cannot be had: the read fails with -EIO, one
 * line in the log says why unless the caller does, and the next read tries again.
 * On cancel, and on close of the reader: the wants are cancelled, and the read ends with the last.
 */
#include "fs/read.h"

#include "engine/log.h"
#include "fs/reader.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define WHOLE_MAX (5u << 20) /* bytes of a file that is wanted whole once its beginning is read */

/* Nothing is ever written here, so that it costs no memory. */
static uint8_t zeros[READ_MAX];

struct part {
    size_t len;
    size_t off;        /* in the span, or in what was read of it */
    struct slab *slab; /* NULL: a hole, or not here yet */
    struct read_task *task;
    struct cache_want want;
    bool waits;
};

struct read_task {
    struct queue node; /* in the reader's, while it waits */
    struct read *read;
    struct slab *together; /* set: the answer is copied together in here */
    size_t planned;        /* bytes of the answer that have become parts */
    unsigned n_waits;
    uint64_t began_ns;
    int status;
    struct clip_error err;
    unsigned n_parts;
    struct part parts[READ_PIECES_MAX];
};

/* ---- parts */

static void on_want(struct cache_want *want, int status);

/* From memory, from the kernel's page cache, or later. */
static void fill_part(struct part *part, unsigned layer, uint64_t index)
{
    struct clip_reader *reader = part->task->read->reader;
    struct cache_client *client = &reader->client;

    profile_note(&reader->profile, reader->image, layer, index);
    part->slab = cache_peek(client, layer, index);
    if (part->slab)
        return;
    part->slab = cache_read_now(client, layer, index, part->off, part->len, &part->off);
    if (part->slab)
        return;
    part->waits = true;
    part->task->n_waits++;
    cache_want_start(client, layer, index, &part->want, on_want);
}

/* The part that begins `off` bytes into a stretch of a layer: what of it lies in one span. */
static void plan_part(struct read_task *task, const struct image_extent *extent, uint64_t off)
{
    struct clip_reader *reader = task->read->reader;
    struct part *part = &task->parts[task->n_parts++];
    uint64_t at = extent->layer_off + off;
    struct image_span span;
    uint64_t index;

    part->task = task;
    part->slab = NULL;
    part->waits = false;
    part->off = 0;
    part->len = extent->len - off;
    if (extent->hole)
        return;
    index = image_span_at(reader->image, extent->layer, at);
    image_span(reader->image, extent->layer, index, &span);
    part->off = at - span.out_off;
    if (part->len > span.out_len - part->off)
        part->len = span.out_len - part->off;
    fill_part(part, extent->layer, index);
}

/* As many parts as there is room for. */
static void plan(struct read_task *task)
{
    struct read *read = task->read;
    struct image_extent extent;

    task->n_parts = 0;
    while (task->n_parts < READ_PIECES_MAX && task->planned < read->len) {
        image_extent(read->reader->image, read->ino, read->off + task->planned,
                     read->len - task->planned, &extent);
        if (extent.len == 0)
            break;
        for (uint64_t off = 0; off < extent.len && task->n_parts < READ_PIECES_MAX;) {
            plan_part(task, &extent, off);
            off += task->parts[task->n_parts - 1].len;
            task->planned += task->parts[task->n_parts - 1].len;
        }
    }
}

/* Who reads the beginning of a library or a module goes on to its other parts, in an order of its
 * own that no stream shows; each of them would be waited for by itself. */
static void ask_for_whole(struct clip_reader *reader, uint64_t ino)
{
    const struct clip_image *image = reader->image;
    struct image_extent extent;
    uint64_t first, last;

    image_extent(image, ino, 0, WHOLE_MAX + 1, &extent);
    if (extent.hole || extent.len == 0 || extent.len > WHOLE_MAX)
        return;
    image_extent_spans(image, &extent, &first, &last);
    cache_ask(&reader->client, extent.layer, first, last);
}

static bool is_all_planned(const struct read_task *task)
{
    struct image_extent extent;

    if (task->planned == task->read->len)
        return true;
    image_extent(task->read->reader->image, task->read->ino, task->read->off + task->planned, 1,
                 &extent);
    return extent.len == 0;
}

static void drop_parts(struct read_task *task)
{
    for (unsigned i = 0; i < task->n_parts; i++)
        slab_unlock(task->parts[i].slab);
    task->n_parts = 0;
}

/* ---- the answer */

static const uint8_t *part_bytes(const struct part *part)
{
    return part->slab ? part->slab->bytes + part->off : zeros;
}

static void answer_pieces(struct read_task *task)
{
    struct read *read = task->read;

    for (unsigned i = 0; i < task->n_parts; i++) {
        const struct part *part = &task->parts[i];
        read->pieces[i] = (struct iovec){(void *)part_bytes(part), part->len};
        read->n_bytes += part->len;
    }
    read->n_pieces = task->n_parts;
}

static void copy_parts(struct read_task *task)
{
    struct slab *to = task->together;

    for (unsigned i = 0; i < task->n_parts; i++) {
        memcpy(to->bytes + to->len, part_bytes(&task->parts[i]), task->parts[i].len);
        to->len += task->parts[i].len;
    }
    drop_parts(task);
    task->read->pieces[0] = (struct iovec){to->bytes, to->len};
    task->read->n_pieces = to->len > 0;
    task->read->n_bytes = to->len;
}

/* All parts of the round are here. 1: the answer is whole; 0: the next round waits; or a failure.
 */
static int round_done(struct read_task *task)
{
    for (;;) {
        bool is_last = is_all_planned(task);
        if (is_last && !task->together) {
            answer_pieces(task);
            return 1;
        }
        if (!task->together) {
            task->together = slab_new(task->read->reader->engine, task->read->len);
            if (!task->together)
                return err_set(&task->err, -ENOMEM, "out of memory for an answer");
        }
        copy_parts(task);
        if (is_last)
            return 1;
        plan(task);
        if (task->n_waits > 0)
            return 0;
    }
}

static void count_served(const struct read *read)
{
    read->reader->counters.bytes_served += read->n_bytes;
}

/* ---- waiting */

static void task_free(struct read_task *task)
{
    drop_parts(task);
    slab_unlock(task->together);
    free(task);
}

static void log_failure(const struct read_task *task)
{
    const struct read *read = task->read;

    log_warn(read->reader->engine, "read: inode %" PRIu64 ", %zu bytes at %" PRIu64 ": %s",
             read->ino, read->len, read->off, task->err.message);
}

static void end_waiting(struct read_task *task)
{
    struct read *read = task->read;
    struct clip_reader *reader = read->reader;
    int status = task->status;

    queue_remove(&task->node);
    reader->counters.stall_ns += engine_now_ns() - task->began_ns;
    reader->counters.inflight--;
    if (status == 0) {
        count_served(read);
        read->done(read, 0);
        reader_maybe_closed(reader);
        return;
    }
    if (status != -ECANCELED) {
        reader->counters.errors++;
        if (!read->tells)
            log_failure(task);
        if (status != -ENOMEM)
            status = -EIO;
    }
    read->err = status == -ECANCELED ? NULL : &task->err;
    read->impl = NULL;
    read->done(read, status);
    task_free(task);
    reader_maybe_closed(reader);
}

static void fail(struct read_task *task, int status, const struct clip_error *err)
{
    if (task->status < 0)
        return;
    task->status = status;
    if (err)
        task->err = *err;
    for (unsigned i = 0; i < task->n_parts; i++)
        if (task->parts[i].waits)
            cache_want_cancel(&task->parts[i].want);
}

static void on_want(struct cache_want *want, int status)
{
    struct part *part = container_of(want, struct part, want);
    struct read_task *task = part->task;
    int r;

    part->slab = want->slab;
    part->waits = false;
    task->n_waits--;
    if (status < 0)
        fail(task, status, want->err);
    if (task->n_waits > 0)
        return;
    if (task->status == 0) {
        r = round_done(task);
        if (r == 0)
            return;
        if (r < 0)
            task->status = r;
    }
    end_waiting(task);
}

/* ---- public */

static int check(const struct clip_reader *reader, const struct read *read)
{
    struct image_extent extent;

    if (reader->closing)
        return -ESHUTDOWN;
    if (read->len > READ_MAX)
        return -EINVAL;
    return image_extent(reader->image, read->ino, read->off, read->len, &extent);
}

int read_start(struct clip_reader *reader, struct read *read, read_cb done)
{
    struct read_task *task;
    int r = check(reader, read);

    if (r < 0)
        return r;
    task = malloc(sizeof(*task));
    if (!task)
        return -ENOMEM;
    /* not the parts: they are set as they are planned */
    memset(task, 0, offsetof(struct read_task, parts));
    queue_init(&task->node);
    task->read = read;
    read->reader = reader;
    read->done = done;
    read->impl = task;
    read->n_pieces = 0;
    read->n_bytes = 0;
    read->err = NULL;
    reader->counters.reads++;
    plan(task);
    if (read->off == 0) {
        ask_for_whole(reader, read->ino);
        foresee_note(&reader->foresee, &reader->client, read->ino);
    }
    r = task->n_waits > 0 ? 0 : round_done(task);
    if (r < 0) {
        task_free(task);
        return r;
    }
    if (r > 0) {
        count_served(read);
        return 1;
    }
    task->began_ns = engine_now_ns();
    reader->counters.inflight++;
    queue_push(&reader->reads, &task->node);
    return 0;
}

void read_cancel(struct read *read)
{
    struct read_task *task = read->impl;

    if (task && task->n_waits > 0)
        fail(task, -ECANCELED, NULL);
}

void read_release(struct read *read)
{
    if (read->impl)
        task_free(read->impl);
    read->impl = NULL;
}

void read_cancel_all(struct clip_reader *reader)
{
    /* none of them ends in here: wants answer from the loop */
    queue_for_each(node, &reader->reads)
        fail(container_of(node, struct read_task, node), -ECANCELED, NULL);
}
