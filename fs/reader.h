/* SPDX-License-Identifier: Apache-2.0 */
/* The body of a reader, for the modules that read through it: reader.c, read.c, extract.c. */
#ifndef CLIP_FS_READER_H
#define CLIP_FS_READER_H

#include "fs/cache.h"
#include "fs/foresee.h"
#include "fs/profile.h"

struct clip_reader {
    struct engine_child child;
    struct clip_engine *engine;
    struct clip_image *image;
    struct clip_counters counters;
    struct cache_client client;
    struct profile profile;
    struct foresee foresee;
    struct queue reads; /* that wait (fs/read.c) */
    struct queue users; /* what else has to end first: calls of clip.h */
    bool closing, closed;
    struct later later;
    clip_close_cb on_close;
    void *close_data;
};

/* The caller closes the reader, also when the engine closes: it is a child of the engine itself. */
void reader_own(struct clip_reader *reader);

/* Whatever reads in several steps; told to stop when the reader closes. Embedded. */
struct reader_user;
typedef void (*reader_stop_fn)(struct reader_user *user);

struct reader_user {
    struct queue node;
    struct clip_reader *reader;
    reader_stop_fn stop;
};

/* -ESHUTDOWN when the reader is closing. */
int reader_use(struct clip_reader *reader, struct reader_user *user, reader_stop_fn stop);
void reader_unuse(struct reader_user *user);
/* To be asked wherever something that hangs on the reader ends. */
void reader_maybe_closed(struct clip_reader *reader);

#endif
