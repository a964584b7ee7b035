/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One deflate block at a time (RFC 1951), or all that follow, by ISA-L or by zlib behind one face:
 * what gunzip.c is made of.
 *
 * A block is given to the inflater as a stream of its own: its history as a dictionary, its header
 * with the "final" bit set, so that it stops where the block ends. That place, and any between two
 * symbols, is where decoding can resume, by either inflater. Where nobody will resume the rest of
 * the stream is one: that saves copies of the history, and a header read twice, for each block.
 *
 * Pure, any thread, no I/O. The caller lends input and room, run() moves both on and says why it
 * stopped. What an inflater has read and not used is counted in bits.
 */
#ifndef CLIP_INDEX_INFLATE_H
#define CLIP_INDEX_INFLATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum inflate_backend { INFLATE_ZLIB, INFLATE_ISAL };

/* What an inflater may have decoded behind what it gave, and some: ISA-L's own buffer, and what
 * comes of the 8 bytes it may be lent then. */
#define INFLATE_AHEAD (80u << 10)

enum inflate_wish {
    INFLATE_ON,       /* do not stop before you must: where the block ends */
    INFLATE_THROUGH,  /* nor there, until the block that is the last by its own header */
    INFLATE_TO_SYMBOL /* stop before a symbol: zlib before the next one, wherever the bytes were
                         cut, ISA-L somewhere soon; not in a stored block */
};

enum inflate_stop {
    INFLATE_MORE_IN = 1,
    INFLATE_MORE_OUT,
    INFLATE_AT_SYMBOL, /* the next bit that is not read is a symbol's first, not the end's */
    INFLATE_AT_END     /* of the block */
};

struct inflate {
    /* public: lent by the caller, moved on by run() */
    const uint8_t *in;
    size_t in_len;
    uint8_t *out;
    size_t out_len;
    /* private */
    const struct inflate_ops *ops;
};

/* ISA-L where it was compiled in, unless the build chose zlib. */
enum inflate_backend inflate_default(void);
bool inflate_available(enum inflate_backend backend);

/* -ENOMEM, or -EOPNOTSUPP for a backend that was not compiled in. */
int inflate_new(enum inflate_backend backend, struct inflate **out);
void inflate_free(struct inflate *inf);

/* Starts a block: `window` is what it may look back on (newest byte last), `bits` the first n_bits
 * of its header (0 to 7), before any byte that will be lent. Unless all that follows is wanted, the
 * header says "final". */
int inflate_begin(struct inflate *inf, const uint8_t *window, uint32_t window_len, unsigned bits,
                  unsigned n_bits);
/* enum inflate_stop, or -EBADMSG, -ENOMEM. */
int inflate_run(struct inflate *inf, enum inflate_wish wish);
/* THROUGH, from here on, is only to the end of the block that it is in. False: it is in none, so
 * lend it a few bytes and ask again. Once true, always. */
bool inflate_arm(struct inflate *inf);
/* After AT_END of THROUGH: by its own header the block was the stream's last. */
bool inflate_was_last(const struct inflate *inf);
/* After AT_SYMBOL and AT_END: how many of the bits that were lent come after that place, at most
 * 64, and which, the first one lowest. */
unsigned inflate_unread(const struct inflate *inf);
uint64_t inflate_unread_bits(const struct inflate *inf);

/* The CRC-32 of gzip; 0 to begin with. */
uint32_t inflate_crc32(uint32_t crc, const void *bytes, size_t len);

/* For the backends: inflate_isal.c and inflate_zlib.c. */
struct inflate_ops {
    struct inflate *(*open)(void); /* NULL: no memory */
    void (*close)(struct inflate *inf);
    int (*begin)(struct inflate *inf, const uint8_t *window, uint32_t window_len, unsigned bits,
                 unsigned n_bits);
    int (*run)(struct inflate *inf, enum inflate_wish wish);
    bool (*arm)(struct inflate *inf);
    bool (*was_last)(const struct inflate *inf);
    unsigned (*unread)(const struct inflate *inf);
    uint64_t (*unread_bits)(const struct inflate *inf);
};
extern const struct inflate_ops inflate_zlib_ops;
extern const struct inflate_ops inflate_isal_ops;

#endif
