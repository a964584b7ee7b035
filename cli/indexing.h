/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The index of an image, for a command that mounts it by itself: out of the store beside its cache,
 * or made now, with progress on stderr, while its spans go into the cache. A daemon does the same
 * for many at once (cli/indexes.h).
 */
#ifndef CLIP_CLI_INDEXING_H
#define CLIP_CLI_INDEXING_H

#include "host.h"
#include "source.h"

struct indexing {
    /* public */
    const char *image;
    const struct source *source;
    const struct reading *reading; /* its cache_dir is there, and absolute paths are not needed */
    bool quiet;
    bool again; /* although the store has it: a tag may have moved */
};

/* Runs the loop until the index is there: 0 and its path (malloc'ed), or 1 after a sentence.
 * SIGINT and SIGTERM end it, and then nothing is left behind. */
int indexing_run(const struct indexing *indexing, struct host *host, char **out_path);

#endif
