/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A checkpoint as a hostile index has it: a packed window, a block's header and flags that somebody
 * made up, before bytes that somebody made up. It decodes or is refused; and a window that unpacks
 * is the same when it is packed again.
 */
#include "index/zran.h"

#include <stdlib.h>
#include <string.h>

#define OUT_LEN (256u << 10)

struct input {
    const uint8_t *at;
    size_t len;
};

static void check(bool holds)
{
    if (!holds)
        abort();
}

/* The next bytes, at most len of them. */
static struct input take(struct input *in, size_t len)
{
    struct input taken = {in->at, len < in->len ? len : in->len};

    in->at += taken.len;
    in->len -= taken.len;
    return taken;
}

static unsigned take_number(struct input *in)
{
    struct input taken = take(in, 2);
    unsigned value = 0;

    for (size_t i = 0; i < taken.len; i++)
        value = value << 8 | taken.at[i];
    return value;
}

static void pack_again(const uint8_t *window, uint32_t len)
{
    static struct zran_packer *packer;
    uint8_t again[CODEC_WINDOW_MAX];
    const uint8_t *packed;
    uint32_t n;

    check(packer || zran_packer_new(&packer) == 0);
    n = zran_pack(packer, window, len, &packed);
    check(n > 0 && n <= len + 1);
    check(zran_unpack(packed, n, again) == (int)len);
    check(memcmp(window, again, len) == 0);
}

static void reduce(const struct checkpoint *at, struct input in, uint64_t span_len)
{
    uint8_t window[CODEC_WINDOW_MAX];
    int r;

    if (at->window_len)
        memcpy(window, at->window, at->window_len);
    r = zran_reduce(at, in.at, in.len, span_len, window, at->window_len);
    check(r <= (int)at->window_len);
}

/* All inflaters give the same bytes; or some of them none, if they look ahead less far. */
static void resume(const struct checkpoint *at, struct input in)
{
    static const enum inflate_backend backends[] = {INFLATE_CLIP, INFLATE_ISAL, INFLATE_ZLIB};
    static uint8_t first[5000], out[OUT_LEN];
    struct clip_error err;
    bool given = false;

    for (unsigned i = 0; i < sizeof(backends) / sizeof(backends[0]); i++) {
        if (zran_decode_with(backends[i], CODEC_GZIP, at, in.at, in.len, out, sizeof(first), &err) <
            0)
            continue;
        if (given)
            check(memcmp(out, first, sizeof(first)) == 0);
        memcpy(first, out, sizeof(first));
        given = true;
    }
    zran_decode(CODEC_GZIP, at, in.at, in.len, out, OUT_LEN, &err);
    zran_decode(CODEC_ZSTD, at, in.at, in.len, out, OUT_LEN, &err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, size}, packed, header;
    static uint8_t window[CODEC_WINDOW_MAX];
    struct checkpoint at = {.window = window};
    unsigned flags = take_number(&in);
    int r;

    packed = take(&in, take_number(&in));
    header = take(&in, take_number(&in) % 512);
    r = zran_unpack(packed.at, packed.len, window);
    check(r <= (int)CODEC_WINDOW_MAX);
    if (r > 0)
        pack_again(window, (uint32_t)r);
    at.window_len = r > 0 ? (uint32_t)r : 0;
    at.flags = flags & 7;
    at.in_bit = flags >> 3 & 7;
    at.header_bit = flags >> 6 & 15;
    at.header = header.at;
    if (header.len * 8 > at.header_bit)
        at.header_bits = header.len * 8 - at.header_bit - (flags >> 10 & 7) % 8;
    reduce(&at, in, flags >> 13 ? UINT64_MAX : 100);
    resume(&at, in);
    return 0;
}
