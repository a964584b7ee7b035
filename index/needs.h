/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of a layer say that they need to run, from their bytes as they pass: an ELF
 * program or library its interpreter and its libraries, a script its interpreter, a Python module
 * what it imports. What is kept of a file while it passes is bounded.
 *
 * Pure; one file, and one thread, at a time.
 */
#ifndef CLIP_INDEX_NEEDS_H
#define CLIP_INDEX_NEEDS_H

#include <stddef.h>
#include <stdint.h>

#define NEEDS_ELF_MIN     (64u << 10) /* kept of an ELF file from its beginning: between that, ... */
#define NEEDS_ELF_MAX     (1u << 20)  /* ... and that, by how much of it is loaded first, ... */
#define NEEDS_DYNAMIC_MAX (256u << 10) /* ... and from its dynamic section on */
#define NEEDS_SOURCE_MAX  (32u << 10)  /* of Python's: imports stand at the top */

struct needs;

int needs_new(struct needs **out); /* -ENOMEM */
void needs_free(struct needs *needs);

/* A regular file begins; `path` is its entry's. */
void needs_begin(struct needs *needs, const char *path);
/* Stored bytes of it, in order, which belong at file_off. */
void needs_feed(struct needs *needs, const void *bytes, size_t len, uint64_t file_off);
/* It is through: all that it says (index/needs_list.h), 0 bytes if nothing, lent until the next
 * begins. -ENOMEM, also for what was fed. */
int needs_end(struct needs *needs, const char **out, size_t *out_len);

#endif
