/* SPDX-License-Identifier: Apache-2.0 */
/* The happy path of a blob is:
 * - codec_detect() looks at its first bytes; decoder_new() makes the codec's decoder;
 * - feed() lends a slab, step() is asked until it wants more; the codec does the work and keeps
 *   the two offsets, here is only what all codecs share, and plain tar, which is a copy.
 * Possible failure modes are: bytes that are not what their format says, a blob that is cut, no
 * memory; all come out of step(), and then only free() is left. */
#include "index/codec.h"

#include "index/decoder.h"
#include "index/gunzip.h"
#include "index/unzstd.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define TAR_BLOCK 512u

/* ---- what a blob is */

/* The number in a tar header's checksum field: octal, with spaces or NULs about it. */
static bool read_octal(const uint8_t *field, size_t len, uint32_t *out)
{
    uint32_t value = 0;
    size_t i = 0;

    while (i < len && field[i] == ' ')
        i++;
    if (i == len || field[i] < '0' || field[i] > '7')
        return false;
    for (; i < len && field[i] >= '0' && field[i] <= '7'; i++)
        value = value * 8 + (field[i] - '0');
    *out = value;
    return true;
}

static bool has_tar_checksum(const uint8_t *head)
{
    uint32_t stated, sum = 0;

    if (!read_octal(head + 148, 8, &stated))
        return false;
    for (size_t i = 0; i < TAR_BLOCK; i++)
        sum += i >= 148 && i < 156 ? ' ' : head[i];
    return sum == stated;
}

static bool all_zeros(const uint8_t *bytes, size_t len)
{
    return len == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, len - 1) == 0);
}

static bool is_tar(const uint8_t *head, size_t len)
{
    if (len < TAR_BLOCK)
        return all_zeros(head, len);
    return memcmp(head + 257, "ustar", 5) == 0 || all_zeros(head, TAR_BLOCK) ||
           has_tar_checksum(head);
}

int codec_detect(const void *head, size_t len, enum codec *out)
{
    if (gunzip_detect(head, len))
        *out = CODEC_GZIP;
    else if (unzstd_detect(head, len))
        *out = CODEC_ZSTD;
    else if (is_tar(head, len))
        *out = CODEC_TAR;
    else
        return -EBADMSG;
    return 0;
}

const char *codec_name(enum codec codec)
{
    static const char *const names[] = {
        [CODEC_TAR] = "tar", [CODEC_GZIP] = "gzip", [CODEC_ZSTD] = "zstd"};

    assert((size_t)codec < sizeof(names) / sizeof(names[0]));
    return names[codec];
}

/* ---- plain tar: what comes in goes out */

static void tar_close(struct decoder *decoder)
{
    free(decoder);
}

static int tar_step(struct decoder *d, uint8_t *out, size_t cap, size_t *out_len,
                    struct clip_error *err)
{
    uint64_t room;
    size_t len = d->in_len < cap ? d->in_len : cap;

    (void)err;
    if (!d->in_len)
        return d->ended ? CODEC_END : CODEC_MORE_IN;
    if (decoder_span_full(d, d->in_off * 8))
        return decoder_mark(d, d->in_off, CHECKPOINT_FRESH);
    room = d->span_size - (d->out_off - d->at.out_off);
    if (len > room)
        len = (size_t)room;
    if (len)
        memcpy(out, d->in, len);
    decoder_use(d, len);
    d->out_off += len;
    *out_len = len;
    if (len == cap)
        return CODEC_MORE_OUT;
    return d->in_len ? decoder_mark(d, d->in_off, CHECKPOINT_FRESH) : CODEC_MORE_IN;
}

static const struct decoder_ops tar_ops = {.close = tar_close, .step = tar_step};

static int tar_new(struct decoder **out)
{
    struct decoder *decoder = calloc(1, sizeof(*decoder));

    if (!decoder)
        return -ENOMEM;
    decoder->ops = &tar_ops;
    *out = decoder;
    return 0;
}

/* ---- what codecs share */

bool decoder_span_full(const struct decoder *decoder, uint64_t in_bit)
{
    uint64_t in_len = (in_bit - decoder->at.in_bit) / 8;

    return !decoder->marked || decoder->out_off - decoder->at.out_off >= decoder->span_size ||
           in_len / 2 >= decoder->span_size;
}

void decoder_use(struct decoder *decoder, size_t len)
{
    decoder->in += len;
    decoder->in_len -= len;
    decoder->in_off += len;
}

int decoder_mark(struct decoder *decoder, uint64_t in_off, uint32_t flags)
{
    decoder->at =
        (struct checkpoint){.in_bit = in_off * 8, .out_off = decoder->out_off, .flags = flags};
    decoder->marked = true;
    return CODEC_CHECKPOINT;
}

/* ---- the face */

int decoder_new(enum codec codec, uint64_t span_size, struct decoder **out)
{
    int r = -EINVAL;

    if (codec == CODEC_GZIP)
        r = gunzip_new(inflate_default(), out);
    else if (codec == CODEC_ZSTD)
        r = unzstd_new(out);
    else if (codec == CODEC_TAR)
        r = tar_new(out);
    if (r == 0)
        (*out)->span_size = span_size;
    return r;
}

void decoder_free(struct decoder *decoder)
{
    if (decoder)
        decoder->ops->close(decoder);
}

void decoder_feed(struct decoder *decoder, const void *in, size_t len)
{
    assert(!decoder->in_len && !decoder->ended);
    decoder->in = in;
    decoder->in_len = len;
}

void decoder_end(struct decoder *decoder)
{
    decoder->ended = true;
}

int decoder_step(struct decoder *decoder, void *out, size_t cap, size_t *out_len,
                 struct clip_error *err)
{
    *out_len = 0;
    return decoder->ops->step(decoder, out, cap, out_len, err);
}

void decoder_checkpoint(const struct decoder *decoder, struct checkpoint *out)
{
    *out = decoder->at;
}

const uint8_t *decoder_used(const struct decoder *decoder)
{
    return decoder->used;
}

uint64_t decoder_in_off(const struct decoder *decoder)
{
    return decoder->in_off;
}

uint64_t decoder_out_off(const struct decoder *decoder)
{
    return decoder->out_off;
}
