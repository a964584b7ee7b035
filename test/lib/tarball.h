/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A tar written block by block, so that every byte may be wrong, and what index/tar.c makes of it
 * as text, so that a test says in one line what it expects.
 *
 *     tarball_header(&t, '0', "a", 5);
 *     tarball_data(&t, "hello", 5);
 *     tarball_end(&t);
 *     cr_assert_str_eq(tarball_read(&t), "file a 0644 0:0 @0 5 {0+5} 'hello'\n");
 */
#ifndef CLIP_TEST_TARBALL_H
#define CLIP_TEST_TARBALL_H

#include "index/tar.h"

struct tarball {
    uint8_t *bytes;
    size_t len, cap;
    struct clip_error err; /* of tarball_read */
    char *text;
};

/* A zeroed one is empty. */
void tarball_fini(struct tarball *t);

/* A block with mode 0644 and all other numbers 0; returned to be changed, valid until the next
 * call; tarball_sum() when it was. The format is POSIX's; make it another by the magic. */
uint8_t *tarball_header(struct tarball *t, char type, const char *name, uint64_t size);
void tarball_sum(uint8_t *header);
/* Octal with a NUL behind it; base-256. */
void tarball_octal(uint8_t *field, size_t len, uint64_t value);
void tarball_binary(uint8_t *field, size_t len, int64_t value);

/* Any bytes, padded to whole blocks. */
void tarball_data(struct tarball *t, const void *bytes, size_t len);
/* An x, g, L or K header with this payload. */
void tarball_meta(struct tarball *t, char type, const void *payload, size_t len);
/* An x (or g) header of records: key, value, ..., NULL. */
void tarball_pax(struct tarball *t, int type, ...) __attribute__((sentinel));
/* Two zero blocks. */
void tarball_end(struct tarball *t);

/* A line for each entry: type, path, "-> target", mode, uid:gid, @mtime, size, extents as
 * {file offset+length}, xattrs as [name=hex], content as 'text' (holes as "."), whatever the cuts
 * of the bytes: all of test/lib/drip.h are tried and must agree. A failure is the last line:
 * "error CODE". Borrowed. */
const char *tarball_read(struct tarball *t);

#endif
