/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From what files say that they need (index/needs_list.h) to which files of the image those are:
 * the section NEEDS. What is not found is left out: it will be looked for in vain, or not at all.
 *
 * Libraries are looked for as ld.so(8) does, modules as Python does, with the directories that the
 * image has for them; no program of the image is run, and nothing of it is read again.
 */
#ifndef CLIP_INDEX_RESOLVE_H
#define CLIP_INDEX_RESOLVE_H

#include "index/section.h"
#include "index/tree.h"

/* At most so many needs, and so many look-ups for them, in an image of that many nodes: the rest is
 * left out. */
#define RESOLVE_PER_FILE       512u
#define RESOLVE_FREE           65536u
#define RESOLVE_PER_NODE       2u
#define RESOLVE_STEPS_FREE     1000000u
#define RESOLVE_STEPS_PER_NODE 32u

struct resolve_input {
    const struct tree *tree;
    const uint32_t *needy; /* its nodes that say something, n_needy of them */
    size_t n_needy;
    const struct section *nodes, *strings; /* of that tree, as they will be read */
};

/* Appends records to `out`. Pure; some tens of milliseconds for ten thousand modules. -ENOMEM. */
int resolve_needs(const struct resolve_input *input, struct section *out);

#endif
