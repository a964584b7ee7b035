/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The local store of indexes: ROOT/indexes/sha256-HEX.clip by the digest of the image's manifest,
 * and refs.json, which says what a reference was when it was indexed. What is not there is indexed,
 * once for all that ask, filling the span cache as the bytes pass.
 */
#ifndef CLIP_CLI_INDEXES_H
#define CLIP_CLI_INDEXES_H

#include "fetch.h"

#include <clip.h>
#include <jansson.h>
#include <uv.h>

struct index_wait;
struct index_job;

/* 0 and the path of the index, borrowed; or why not. */
typedef void (*index_wait_cb)(struct index_wait *wait, int status, const struct clip_error *err,
                              const char *path);

/* Embedded in whoever waits. */
struct index_wait {
    /* private */
    struct index_wait *next, **prev;
    struct index_job *job;
    index_wait_cb done;
};

struct indexes {
    /* public */
    const char *dir; /* exists */
    const char *cache_dir;
    clip_progress_cb on_progress; /* of every run; may be NULL */
    void *progress_data;
    /* read-only */
    unsigned n_jobs;
    uint64_t n_indexed, n_failed;
    /* private */
    uv_loop_t *loop;
    struct clip_engine *engine;
    json_t *refs;
    struct index_job *jobs;
    uint64_t n_made;
    bool writing, write_again;
    uv_work_t write_work;
};

/* Reads refs.json; a broken one is as good as none. 0 or -ENOMEM. */
int indexes_init(struct indexes *indexes, uv_loop_t *loop, struct clip_engine *engine);
void indexes_fini(struct indexes *indexes);
bool indexes_idle(const struct indexes *indexes);

/* The path of the index of `image` if the store has it (malloc'ed), or NULL. */
char *indexes_find(const struct indexes *indexes, const char *image, const struct fetch *fetch);
/* Indexes `image`, or joins those who do. */
int indexes_make(struct indexes *indexes, const char *image, const struct fetch *fetch,
                 struct index_wait *wait, index_wait_cb done, struct clip_error *err);
/* `done` will not fire. The run is cancelled when nobody waits for it. */
void indexes_leave(struct index_wait *wait);

/* How far it is, for a client. */
json_t *indexes_progress(const struct index_wait *wait);
/* Grows with every event, so that one can wait for the next. */
uint64_t indexes_n_events(const struct index_wait *wait);

#endif
