/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sections of an index (index/writer.h) as a file: a header, a table, one section behind the
 * other (docs/format.md).
 *
 * writer_file_encode() is pure. The others are for the pool, because they block: saving makes a
 * temporary file in the same directory, fsync, rename, fsync of the directory; on failure nothing
 * is left behind.
 */
#ifndef CLIP_INDEX_WRITER_FILE_H
#define CLIP_INDEX_WRITER_FILE_H

#include "index/writer.h"

/* All of it in malloc'ed memory; the caller frees. -ENOMEM, -EFBIG. */
int writer_file_encode(const struct writer_image *image, uint8_t **out, size_t *out_len,
                       struct clip_error *err);
/* What would keep writer_file_save() from saving there, before the work is done. */
int writer_file_check(const char *path, struct clip_error *err);
/* From where the sections are, after writer_end(). -EFBIG, and what the disk says. */
int writer_file_save(const struct writer *w, const char *path, uint64_t *out_size,
                     struct clip_error *err);

/* The same of any sections, at most FORMAT_SECTIONS_MAX, in that order. */
struct writer_part {
    uint32_t type;
    uint32_t flags; /* FORMAT_SECTION_NEEDED */
    const void *bytes;
    uint64_t len;
};
int writer_file_save_parts(const struct writer_part *parts, unsigned n, const char *path,
                           uint64_t *out_size, struct clip_error *err);

#endif
