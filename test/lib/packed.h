/* SPDX-License-Identifier: Apache-2.0 */
/* Compressed blobs of every sort, made at test time. */
#ifndef CLIP_TEST_PACKED_H
#define CLIP_TEST_PACKED_H

#include <stddef.h>
#include <stdint.h>

struct bytes {
    uint8_t *at;
    size_t len;
};

void bytes_free(struct bytes *bytes);
/* Takes `more` and frees it. */
void bytes_join(struct bytes *bytes, struct bytes more);
void bytes_add(struct bytes *bytes, const void *more, size_t len);

/* ---- plain bytes: words, numbers, zeros and noise by turns, as tars are */
struct bytes packed_plain(size_t len, uint64_t seed);

/* ---- gzip members */
struct gzip_how {
    int level, strategy, mem_level; /* zlib's; mem_level 0: 8 */
    int flush;                      /* Z_SYNC_FLUSH etc. every flush_every bytes; 0: never */
    size_t flush_every;
};
struct bytes packed_gzip(const void *plain, size_t len, struct gzip_how how);
struct bytes packed_deflate(const void *plain, size_t len, struct gzip_how how); /* raw */
/* ISA-L's, level 0 to 3; empty if it was not compiled in. */
struct bytes packed_isal(const void *plain, size_t len, int level);
/* One block with the fixed codes, literals and long matches, however long. */
struct bytes packed_fixed_block(const void *plain, size_t len);
/* A header with these RFC 1952 flags and all that they call for, the deflate stream (which it
 * takes), a trailer. */
struct bytes packed_member(uint8_t flags, struct bytes deflated, const void *plain, size_t len);

/* ---- zstd frames */
struct bytes packed_zstd(const void *plain, size_t len, int level, int window_log);
struct bytes packed_skippable(size_t len);

/* What a program on this machine makes of the bytes ("pigz -c11"); empty if it is not there. */
struct bytes packed_by(const char *command, const void *plain, size_t len);

#endif
