/* SPDX-License-Identifier: Apache-2.0 */
/* A small image made for a test: layers of files as an OCI layout in a directory of its own. */
#ifndef CLIP_TEST_IMAGE_H
#define CLIP_TEST_IMAGE_H

#include "index/codec.h"

#include <stdint.h>
#include <sys/stat.h>

#define IMAGE_LAYERS_MAX 8

struct archive;

struct test_image {
    char dir[64];    /* made by image_set_up, removed by image_tear_down */
    char source[80]; /* "oci:DIR:latest" */
    struct {
        char path[160]; /* of the blob */
        size_t size;
    } layers[IMAGE_LAYERS_MAX];
    unsigned n_layers;
    /* private */
    struct archive *archive;
    uint8_t *tar;
    size_t tar_cap, tar_len;
    char *layers_json, *diff_ids_json;
};

void image_set_up(struct test_image *image);
void image_tear_down(struct test_image *image);

/* Between begin and end: entries of one layer, in order. */
void image_layer_begin(struct test_image *image);
void image_add(struct test_image *image, const char *path, mode_t mode, const void *bytes,
               size_t len);
void image_add_link(struct test_image *image, const char *path, mode_t type, const char *target);
void image_layer_end(struct test_image *image, enum codec codec);
/* Writes config, manifest and index.json. */
void image_finish(struct test_image *image);

/* Bytes that compress to about half and differ everywhere; the same for the same seed. */
void image_noise(uint8_t *out, size_t len, uint32_t seed);

#endif
