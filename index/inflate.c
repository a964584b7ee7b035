/* SPDX-License-Identifier: Apache-2.0 */
/* Which inflater a stream gets: all are compiled in that are to be had, so that each can be tested
 * at the others' checkpoints; the build chooses the one that is used. */
#include "index/inflate.h"

#include <errno.h>
#include <string.h>
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
    history_reset(&inf->history);
    history_add(&inf->history, window, window_len);
    inf->bits = 0;
    inf->n_bits = 0;
    inf->in_block = inside != NULL;
    inf->ops->begin(inf, inside);
}

void inflate_put_bits(struct inflate *inf, uint64_t bits, unsigned n_bits)
{
    inf->bits = bits;
    inf->n_bits = n_bits;
}

int inflate_run(struct inflate *inf, enum inflate_wish wish)
{
    return inf->ops->run(inf, wish);
}

void inflate_settle(struct inflate *inf)
{
    if (inf->ops->settle)
        inf->ops->settle(inf);
}

const struct block *inflate_block(const struct inflate *inf)
{
    return inf->in_block ? &inf->block : NULL;
}

const uint8_t *inflate_window(struct inflate *inf, uint32_t *out_len)
{
    inflate_settle(inf);
    *out_len = history_len(&inf->history);
    return history_window(&inf->history);
}

unsigned inflate_unread(const struct inflate *inf)
{
    return inf->n_bits;
}

uint64_t inflate_unread_bits(const struct inflate *inf)
{
    return inf->bits;
}

bool inflate_can_watch(const struct inflate *inf)
{
    return inf->ops->watch != NULL;
}

void inflate_watch(struct inflate *inf, uint8_t *used)
{
    inf->ops->watch(inf, used);
}

/* ---- a block's header */

void inflate_head_begin(struct inflate_head *head, struct inflate *inf)
{
    head->bit = (8 - inf->n_bits % 8) % 8;
    head->n = (inf->n_bits + head->bit) / 8;
    for (unsigned i = 0; i < head->n; i++)
        head->bytes[i] = (uint8_t)(inf->bits << head->bit >> (8 * i));
    inf->bits = 0;
    inf->n_bits = 0;
    inf->in_block = false;
}

/* As many bytes as it has room for; how many there were. */
static size_t gather(struct inflate_head *head, struct inflate *inf)
{
    size_t n = sizeof(head->bytes) - head->n;

    if (n > inf->in_len)
        n = inf->in_len;
    if (n == 0)
        return 0;
    memcpy(head->bytes + head->n, inf->in, n);
    head->n += (unsigned)n;
    inf->in += n;
    inf->in_len -= n;
    return n;
}

/* Bytes that are not the header's go back, as far as they are of this input. */
static void trim(struct inflate_head *head, struct inflate *inf, size_t n_new)
{
    size_t used = (head->bit + inf->block.is.n_bits + 7) / 8;
    size_t back = head->n - used < n_new ? head->n - used : n_new;

    head->n -= (unsigned)back;
    inf->in -= back;
    inf->in_len += back;
}

int inflate_head_read(struct inflate_head *head, struct inflate *inf, struct block_codes *codes)
{
    size_t n_new = gather(head, inf);
    int r = block_read_header(head->bytes, head->n, head->bit, &inf->block.is, codes);

    if (r <= 0)
        return r;
    trim(head, inf, n_new);
    inf->block.header_bit = head->bit;
    inf->in_block = true;
    return r;
}

uint32_t inflate_crc32(uint32_t crc, const void *bytes, size_t len)
{
#ifdef CLIP_HAVE_ISAL
    return crc32_gzip_refl(crc, bytes, len);
#else
    return (uint32_t)crc32_z(crc, bytes, len);
#endif
}
