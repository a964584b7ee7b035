/* SPDX-License-Identifier: Apache-2.0 */
/* The index lies in the image's own directory, and goes with it. */
#include "test/lib/indexed.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

struct answer {
    bool done;
    int status;
    struct clip_error err;
};

void indexed_set_up(struct indexed *it, struct test_loop *t)
{
    *it = (struct indexed){.t = t};
    image_set_up(&it->made);
}

static void on_indexed(void *data, int status, const struct clip_error *err,
                       const struct clip_index_result *result)
{
    bool *done = data;

    (void)result;
    cr_assert_eq(status, 0, "%s", err ? err->message : "");
    *done = true;
}

void indexed_finish(struct indexed *it, uint64_t span_size)
{
    struct clip_index_options options = {.image = it->made.source, .span_size = span_size};
    struct clip_index *index;
    struct clip_error err;
    char out[128];
    bool done = false;

    image_finish(&it->made);
    snprintf(out, sizeof(out), "%s/out.clip", it->made.dir);
    options.output = out;
    cr_assert_eq(clip_index_start(it->t->engine, &options, on_indexed, &done, &index, &err), 0);
    LOOP_RUN_UNTIL(it->t, done);
    cr_assert_eq(clip_image_open(out, &it->image, &err), 0, "%s", err.message);
}

void indexed_tear_down(struct indexed *it)
{
    clip_image_unref(it->image);
    image_tear_down(&it->made);
}

uint8_t *indexed_add_noise(struct indexed *it, const char *path, size_t len, uint32_t seed)
{
    uint8_t *bytes = malloc(len ? len : 1);

    image_noise(bytes, len, seed);
    image_add(&it->made, path, S_IFREG | 0644, bytes, len);
    return bytes;
}

uint64_t indexed_ino(const struct indexed *it, const char *path)
{
    uint64_t ino = 0;

    cr_assert_eq(clip_image_lookup(it->image, path, true, &ino), 0, "%s", path);
    return ino;
}

struct clip_reader *indexed_reader(const struct indexed *it,
                                   const struct clip_reader_options *options)
{
    struct clip_reader *reader = NULL;
    struct clip_error err;
    int r = clip_reader_open(it->t->engine, it->image, options, &reader, &err);

    cr_assert_eq(r, 0, "%s", err.message);
    return reader;
}

static void on_answer(void *data, int status, const struct clip_error *err)
{
    struct answer *answer = data;

    answer->done = true;
    answer->status = status;
    if (err)
        answer->err = *err;
}

int indexed_read(const struct indexed *it, struct clip_reader *reader, uint64_t ino, uint64_t off,
                 void *buf, size_t len, struct clip_error *err)
{
    struct answer answer = {0};
    int r = clip_reader_read(reader, ino, off, buf, len, on_answer, &answer);

    if (r < 0)
        return r;
    cr_assert(!answer.done, "never from inside the call");
    LOOP_RUN_UNTIL(it->t, answer.done);
    if (err)
        *err = answer.err;
    return answer.status;
}

static void on_closed(void *data)
{
    *(bool *)data = true;
}

void indexed_close(const struct indexed *it, struct clip_reader *reader)
{
    bool closed = false;

    clip_reader_close(reader, on_closed, &closed);
    cr_assert(!closed, "never from inside the call");
    LOOP_RUN_UNTIL(it->t, closed);
}
