/* SPDX-License-Identifier: Apache-2.0 */
/* Options of everything that fetches blobs: the network's, and those of who reads files. One table
 * each, shared by `clip index`, `clip cat`, `clipd mount` and their kin. */
#ifndef CLIP_CLI_SOURCE_H
#define CLIP_CLI_SOURCE_H

#include "args.h"

#include <clip.h>

struct source {
    struct clip_source_options net;
    const char *mirrors[ARGS_LIST_MAX + 1];
};

struct reading {
    const char *source, *cache_dir;
    uint64_t cache_size;
};

extern const struct args_option source_options[];  /* of struct source */
extern const struct args_option reading_options[]; /* of struct reading */

/* Does `name` mean an index file, and not an image? A file that is there does, and what is written
 * like one ("./x", "/x", "x.clip"), so that a slip of the finger does not ask a registry. */
bool source_is_index(const char *name);

/* What the library wants to hear; valid while `source` and `reading` are. */
struct clip_source_options source_net(const struct source *source);
struct clip_reader_options source_reader(const struct source *source,
                                         const struct reading *reading);

#endif
