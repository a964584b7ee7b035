/* SPDX-License-Identifier: Apache-2.0 */
/* A user of sources for tests: resolves, streams and ranges to the end and keeps what came. */
#ifndef CLIP_TEST_FETCHER_H
#define CLIP_TEST_FETCHER_H

#include "net/blob.h"
#include "test/lib/loop.h"

struct fetcher {
    struct test_loop *t;
    struct source *source;
    bool closed;
    /* of the last one asked for */
    int status;
    bool done;
    struct clip_error err;
    struct manifest *manifest;
    /* of a stream */
    struct blob_stream *stream;
    uint8_t *bytes;
    size_t len, max_slab;
    unsigned n_slabs;
    uint64_t window; /* credit that is given back as slabs come; 0: by hand */
    /* of a range */
    struct blob_range range;
    struct source_resolve resolve;
};

/* 0 or the error of source_open, in err. */
int fetcher_open(struct fetcher *fetcher, struct test_loop *t, const char *image,
                 const struct clip_source_options *options);
/* Waits for the source to be closed; also if it never opened. */
void fetcher_close(struct fetcher *fetcher);

/* Each starts anew, and waits: returns the status. */
int fetcher_resolve(struct fetcher *fetcher);
int fetcher_stream(struct fetcher *fetcher, const struct descriptor *blob, uint64_t window);
int fetcher_range(struct fetcher *fetcher, const struct descriptor *blob, uint64_t off,
                  uint64_t len);
/* The same range once more, `attempt` counted up. */
int fetcher_range_again(struct fetcher *fetcher, unsigned attempt);
/* Starts a stream and does not wait. */
void fetcher_start_stream(struct fetcher *fetcher, const struct descriptor *blob, uint64_t window);
void fetcher_wait(struct fetcher *fetcher);

#endif
