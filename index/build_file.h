/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the layers say made into the index file: the part of a build (index/build.h) that comes
 * after the decoding.
 *
 * Layers are merged in their order as they come, beside the decoding of those that are not there
 * yet; so when the last one is there, little is left to do. Then the two halves of the file are
 * made by two jobs, and a third one saves it. A handle: opened, cancelled or not, on_end once. On
 * the loop's thread.
 */
#ifndef CLIP_INDEX_BUILD_FILE_H
#define CLIP_INDEX_BUILD_FILE_H

#include "engine/engine.h"
#include "index/layer.h"
#include "net/manifest.h"

struct build_file;

struct build_file_options {
    struct clip_engine *engine;
    const struct manifest *manifest; /* borrowed until on_end, as all below */
    const char *path;
    const char *reference; /* what the index says where the blobs are */
    uint64_t span_size;
    bool keep_runtime_dirs;
    /* 0: the file has its name, and `result` says what is in it */
    void (*on_end)(void *owner, int status, const struct clip_error *err,
                   const struct clip_index_result *result);
    void *owner;
};

/* -ENOMEM; then nothing fires. */
int build_file_open(const struct build_file_options *options, struct build_file **out,
                    struct clip_error *err);
/* Layer `i`, finished; borrowed until on_end. Each once, in any order. */
void build_file_add(struct build_file *file, unsigned i, struct layer *layer);
/* All layers are there and shall be saved; once. */
void build_file_save(struct build_file *file);
/* Not after build_file_save(): what has begun then ends by itself. */
void build_file_cancel(struct build_file *file);

#endif
