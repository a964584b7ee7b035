/* SPDX-License-Identifier: Apache-2.0 */
/* Which inflater a stream gets: both are compiled in where both are to be had, so that each can be
 * tested at the other's checkpoints; the build chooses the one that is used. */
#include "index/inflate.h"

#include <errno.h>
#include <zlib.h>
#ifdef CLIP_HAVE_ISAL
#include <isa-l/crc.h>
#endif

static const struct inflate_ops *ops_of(enum inflate_backend backend)
{
#ifdef CLIP_HAVE_ISAL
    if (backend == INFLATE_ISAL)
        return &inflate_isal_ops;
#endif
    return backend == INFLATE_ZLIB ? &inflate_zlib_ops : NULL;
}

enum inflate_backend inflate_default(void)
{
#ifdef CLIP_INFLATE_ZLIB
    return INFLATE_ZLIB;
#else
    return INFLATE_ISAL;
#endif
}

bool inflate_available(enum inflate_backend backend)
{
    return ops_of(backend) != NULL;
}

int inflate_new(enum inflate_backend backend, struct inflate **out)
{
    const struct inflate_ops *ops = ops_of(backend);
    struct inflate *inf;

    if (!ops)
        return -EOPNOTSUPP;
    inf = ops->open();
    if (!inf)
        return -ENOMEM;
    inf->ops = ops;
    *out = inf;
    return 0;
}

void inflate_free(struct inflate *inf)
{
    if (inf)
        inf->ops->close(inf);
}

int inflate_begin(struct inflate *inf, const uint8_t *window, uint32_t window_len, unsigned bits,
                  unsigned n_bits)
{
    return inf->ops->begin(inf, window, window_len, bits, n_bits);
}

int inflate_run(struct inflate *inf, enum inflate_wish wish)
{
    return inf->ops->run(inf, wish);
}

bool inflate_arm(struct inflate *inf)
{
    return inf->ops->arm(inf);
}

bool inflate_was_last(const struct inflate *inf)
{
    return inf->ops->was_last(inf);
}

unsigned inflate_unread(const struct inflate *inf)
{
    return inf->ops->unread(inf);
}

uint64_t inflate_unread_bits(const struct inflate *inf)
{
    return inf->ops->unread_bits(inf);
}

uint32_t inflate_crc32(uint32_t crc, const void *bytes, size_t len)
{
#ifdef CLIP_HAVE_ISAL
    return crc32_gzip_refl(crc, bytes, len);
#else
    return (uint32_t)crc32_z(crc, bytes, len);
#endif
}
