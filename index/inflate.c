/* SPDX-License-Identifier: Apache-2.0 */
/* Which inflater a stream gets: all are compiled in that are to be had, so that each can be tested
 * at the others' checkpoints; the build chooses the one that is used. */
#include "index/inflate.h"

#include <errno.h>
#include <stddef.h>
#include <zlib.h>
#ifdef CLIP_HAVE_ISAL
#include <isa-l/crc.h>
#endif

static struct inflate *(*const news[])(void) = {
    [INFLATE_CLIP] = inflate_clip_new,
#ifdef CLIP_HAVE_ISAL
    [INFLATE_ISAL] = inflate_isal_new,
#endif
    [INFLATE_ZLIB] = inflate_zlib_new,
};

enum inflate_backend inflate_default(void)
{
    return CLIP_INFLATE;
}

bool inflate_available(enum inflate_backend backend)
{
    return news[backend] != NULL;
}

int inflate_new(enum inflate_backend backend, struct inflate **out)
{
    if (!inflate_available(backend))
        return -EOPNOTSUPP;
    *out = news[backend]();
    return *out ? 0 : -ENOMEM;
}

void inflate_free(struct inflate *inf)
{
    if (inf)
        inf->ops->close(inf);
}

void inflate_begin(struct inflate *inf, const uint8_t *window, uint32_t window_len,
                   const struct block *inside)
{
    inf->ops->begin(inf, window, window_len, inside);
}

void inflate_put_bits(struct inflate *inf, uint64_t bits, unsigned n_bits)
{
    inf->ops->put_bits(inf, bits, n_bits);
}

int inflate_run(struct inflate *inf, enum inflate_wish wish)
{
    return inf->ops->run(inf, wish);
}

void inflate_settle(struct inflate *inf)
{
    inf->ops->settle(inf);
}

const struct block *inflate_block(const struct inflate *inf)
{
    return inf->ops->block(inf);
}

const uint8_t *inflate_window(struct inflate *inf, uint32_t *out_len)
{
    return inf->ops->window(inf, out_len);
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
