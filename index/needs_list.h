/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one file says that it needs to run, in its own words and in its order: found by
 * index/needs_elf.c and index/needs_python.c, looked up in the tree by index/resolve.c.
 * One thread at a time.
 */
#ifndef CLIP_INDEX_NEEDS_LIST_H
#define CLIP_INDEX_NEEDS_LIST_H

#include "index/section.h"

#include <stdbool.h>

#define NEEDS_WORD_MAX 511u   /* bytes of one of them */
#define NEEDS_LIST_MAX 16384u /* bytes of all that one file says; the rest is left out */

enum needs_type {
    NEEDS_PATH = 'p',    /* a file by its path: an interpreter, or what one reads */
    NEEDS_COMMAND = 'c', /* by its name: what env(1) is told to run */
    NEEDS_LIBDIR = 'd',  /* no file: where the libraries are looked for first; with $ORIGIN */
    NEEDS_LIBRARY = 'l', /* an soname, or a path in a directory of libraries */
    NEEDS_MODULE = 'm',  /* Python's: as many dots as for a relative one, then names */
    NEEDS_SITE = 's'     /* the .pth files that Python reads when it starts; of no word */
};

struct needs_list {
    /* read-only */
    struct section text; /* a type, the word and a NUL for each */
};

void needs_list_init(struct needs_list *list);
void needs_list_fini(struct needs_list *list);
void needs_list_clear(struct needs_list *list);
/* What cannot be a word (a NUL in it, too long), or is what came just before, is left out.
 * -ENOMEM. */
int needs_list_put(struct needs_list *list, enum needs_type type, const char *word, size_t len);

/* One after the other; `at` begins at the text's first byte. False: no more. */
struct needs_word {
    enum needs_type type;
    const char *word; /* NUL terminated */
};
bool needs_next(const char **at, const char *end, struct needs_word *out);

#endif
