/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A deflate stream (RFC 1951), block after block, by one of three inflaters behind one face: what
 * index/deflate.c is made of. Ours goes from one block into the next; ISA-L and zlib are given each
 * of them alone (index/inflate_blocks.c).
 *
 * An inflater stops where a block ends, and tells what was its header. That place, and any between
 * two symbols, is where decoding can resume, by any of them.
 *
 * Pure, any thread, no I/O. The caller lends input and room, run() moves both on and says why it
 * stopped. What an inflater has read and not used is counted in bits.
 */
#ifndef CLIP_INDEX_INFLATE_H
#define CLIP_INDEX_INFLATE_H

#include "index/block.h"
#include "index/history.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum inflate_backend { INFLATE_CLIP, INFLATE_ISAL, INFLATE_ZLIB };

/* What ISA-L may have decoded behind what it gave, and some: its own buffer, and what comes of the
 * 8 bytes it may be lent then. */
#define INFLATE_AHEAD (80u << 10)

enum inflate_wish {
    INFLATE_ON,       /* do not stop before you must: where the block ends */
    INFLATE_THROUGH,  /* nor there, but for the last one; from the first call on */
    INFLATE_TO_SYMBOL /* stop before a symbol: ISA-L somewhere soon, others before the next one,
                         wherever the bytes were cut; in a stored block, as ON */
};

enum inflate_stop {
    INFLATE_MORE_IN = 1,
    INFLATE_MORE_OUT,
    INFLATE_AT_SYMBOL, /* the next bit that is not used is a symbol's first, not the end's */
    INFLATE_AT_END     /* of the block, or with THROUGH of the stream */
};

struct inflate {
    /* public: lent by the caller, moved on by run() */
    const uint8_t *in;
    size_t in_len;
    uint8_t *out;
    size_t out_len;
    /* the backends' */
    const struct inflate_ops *ops;
    uint64_t bits; /* read and not used, the next one lowest; 0 above n_bits */
    unsigned n_bits;
    struct block block;
    bool in_block;          /* its header is there */
    struct history history; /* what it gave, as far as that is settled */
};

/* The one that the build chose. */
enum inflate_backend inflate_default(void);
bool inflate_available(enum inflate_backend backend);

/* -ENOMEM, or -EOPNOTSUPP for a backend that was not compiled in. */
int inflate_new(enum inflate_backend backend, struct inflate **out);
void inflate_free(struct inflate *inf);

/* Where a block begins or, with `inside`, between two symbols of that one. `window` is what it may
 * look back on, the newest byte last. Both are copied. */
void inflate_begin(struct inflate *inf, const uint8_t *window, uint32_t window_len,
                   const struct block *inside);
/* Before it runs: bits that come before those that it will be lent, the first one lowest, 0 above
 * n_bits (0 to 64). */
void inflate_put_bits(struct inflate *inf, uint64_t bits, unsigned n_bits);
/* enum inflate_stop, or -EBADMSG, -ENOMEM. After AT_SYMBOL, and AT_END of a block that is not the
 * last, it can go on. */
int inflate_run(struct inflate *inf, enum inflate_wish wish);
/* Before what it gave is moved or overwritten: it looks back on it. */
void inflate_settle(struct inflate *inf);

/* The block that it is in or has just ended; NULL: its header is not there in full yet, or, with
 * THROUGH, whoever knows. Until it runs again. */
const struct block *inflate_block(const struct inflate *inf);
/* The last 32 KiB that it gave, or began with. Until it runs again. */
const uint8_t *inflate_window(struct inflate *inf, uint32_t *out_len);
/* How many of the bits that it got it has not used, at most 64, and which, the first one lowest.
 * Not after MORE_OUT. */
unsigned inflate_unread(const struct inflate *inf);
uint64_t inflate_unread_bits(const struct inflate *inf);

/* From here on used[i] is set to 0xff when byte i of the window, as it is now, is looked back on.
 * Until it begins again. Only CLIP can. */
bool inflate_can_watch(const struct inflate *inf);
void inflate_watch(struct inflate *inf, uint8_t *used);

/* The CRC-32 of gzip; 0 to begin with. */
uint32_t inflate_crc32(uint32_t crc, const void *bytes, size_t len);

/* For the backends. */
struct inflate_ops {
    void (*close)(struct inflate *inf);
    /* The window is in `history`, there are no bits. */
    void (*begin)(struct inflate *inf, const struct block *inside);
    int (*run)(struct inflate *inf, enum inflate_wish wish);
    void (*settle)(struct inflate *inf); /* NULL: what it gives is in `history` at once */
    void (*watch)(struct inflate *inf, uint8_t *used); /* NULL: it cannot */
};

/* For the backends, too: a header on its way, and what came with it. */
struct inflate_head {
    uint8_t bytes[8 + BLOCK_HEADER_MAX];
    unsigned n, bit; /* it begins at that bit of the first one */
};

/* The bits that are not used are its first. */
void inflate_head_begin(struct inflate_head *head, struct inflate *inf);
/* Takes what it needs of the input, and reads it: the block is in `inf` then. As
 * block_read_header(). */
int inflate_head_read(struct inflate_head *head, struct inflate *inf, struct block_codes *codes);

/* NULL: no memory. */
struct inflate *inflate_clip_new(void);
struct inflate *inflate_isal_new(void);
struct inflate *inflate_zlib_new(void);

#endif
