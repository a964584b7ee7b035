/* SPDX-License-Identifier: Apache-2.0 */
/* A test image with its index, opened, and reads that wait for their answer. */
#ifndef CLIP_TEST_INDEXED_H
#define CLIP_TEST_INDEXED_H

#include "clip.h"
#include "test/lib/image.h"
#include "test/lib/loop.h"

struct indexed {
    struct test_loop *t;
    struct test_image made;
    struct clip_image *image;
};

/* Between the two: layers by image_layer_begin(&it->made) and so on, without image_finish(). */
void indexed_set_up(struct indexed *it, struct test_loop *t);
void indexed_finish(struct indexed *it, uint64_t span_size);
/* After the loop's tear-down: the image was needed until then. */
void indexed_tear_down(struct indexed *it);

/* Adds a file of noise. The bytes are the caller's to free. */
uint8_t *indexed_add_noise(struct indexed *it, const char *path, size_t len, uint32_t seed);
/* Fails the test when there is no such path. */
uint64_t indexed_ino(const struct indexed *it, const char *path);

struct clip_reader *indexed_reader(const struct indexed *it,
                                   const struct clip_reader_options *options);
/* Reads and waits: returns the status. `err` may be NULL. */
int indexed_read(const struct indexed *it, struct clip_reader *reader, uint64_t ino, uint64_t off,
                 void *buf, size_t len, struct clip_error *err);
/* Closes and waits. */
void indexed_close(const struct indexed *it, struct clip_reader *reader);

#endif
