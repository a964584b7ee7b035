/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The happy path of a span is: a decoder that goes on at the checkpoint, the compressed bytes fed
 * in one piece, the decoded bytes taken until they are all there.
 *
 * A window is reduced when the index is built: the span's first 32 KiB are decoded with two made-up
 * windows. Byte i of the first is i & 0xff, and of the second that plus 1 + (i >> 8), which lies in
 * 1 to 128: where the two outputs differ, the byte came from the window, and the pair names i;
 * where they agree it came from the stream. Possible failure modes are: bytes that do not decode,
 * or end early; no memory.
 */
#include "index/zran.h"

#include "index/decoder.h"
#include "index/gunzip.h"
#include "index/unzstd.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

/* The methods in a packed window's first byte. */
enum { PACKED_RAW = 0, PACKED_ZSTD = 1 };

#define PACK_LEVEL 19

/* ---- one span */

static int open_at(enum codec codec, enum inflate_backend backend, const struct checkpoint *at,
                   struct decoder **out)
{
    int r;

    if (codec == CODEC_GZIP)
        return gunzip_resume(backend, at, out);
    r = decoder_new(codec, UINT64_MAX, out);
    if (r == 0)
        (*out)->in_off = at->in_bit / 8;
    return r;
}

/* Takes out_len bytes, or says why not. */
static int take_all(struct decoder *decoder, uint8_t *out, size_t out_len, struct clip_error *err)
{
    size_t done = 0;

    while (done < out_len) {
        size_t n;
        int r = decoder_step(decoder, out + done, out_len - done, &n, err);

        done += n;
        if (done == out_len)
            break;
        if (r < 0)
            return r;
        if (r == CODEC_MORE_IN || r == CODEC_END)
            return err_set(err, CLIP_EFORMAT, "the span ends after %zu of %zu bytes", done,
                           out_len);
    }
    return 0;
}

int zran_decode_with(enum inflate_backend backend, enum codec codec, const struct checkpoint *at,
                     const void *in, size_t in_len, void *out, size_t out_len,
                     struct clip_error *err)
{
    struct decoder *decoder;
    int r = open_at(codec, backend, at, &decoder);

    if (r < 0)
        return err_set(err, r, r == -ENOMEM ? "no memory" : "a checkpoint that cannot be");
    decoder_feed(decoder, in, in_len);
    r = take_all(decoder, out, out_len, err);
    decoder_free(decoder);
    return r;
}

int zran_decode(enum codec codec, const struct checkpoint *at, const void *in, size_t in_len,
                void *out, size_t out_len, struct clip_error *err)
{
    return zran_decode_with(inflate_default(), codec, at, in, in_len, out, out_len, err);
}

/* ---- windows */

static int decode_with_window(const struct checkpoint *at, const uint8_t *window,
                              uint32_t window_len, const void *in, size_t in_len, uint8_t *out,
                              size_t out_len)
{
    struct checkpoint made_up = *at;

    made_up.window = window;
    made_up.window_len = window_len;
    return zran_decode(CODEC_GZIP, &made_up, in, in_len, out, out_len, NULL);
}

struct reduction {
    uint8_t first[CODEC_WINDOW_MAX], second[CODEC_WINDOW_MAX]; /* windows */
    uint8_t out_first[CODEC_WINDOW_MAX], out_second[CODEC_WINDOW_MAX];
    bool used[CODEC_WINDOW_MAX];
};

static void make_windows(struct reduction *red)
{
    for (uint32_t i = 0; i < CODEC_WINDOW_MAX; i++) {
        red->first[i] = (uint8_t)i;
        red->second[i] = (uint8_t)(red->first[i] + 1 + (i >> 8));
    }
}

static void mark_used(struct reduction *red, size_t out_len)
{
    for (size_t i = 0; i < out_len; i++) {
        uint8_t apart = (uint8_t)(red->out_second[i] - red->out_first[i]);

        if (apart)
            red->used[((apart - 1u) & 127) << 8 | red->out_first[i]] = true;
    }
}

/* Zeros where nothing is used, and none of that in front. */
static uint32_t keep_used(const struct reduction *red, uint8_t *window, uint32_t window_len)
{
    uint32_t front = 0;

    while (front < window_len && !red->used[front])
        front++;
    for (uint32_t i = front; i < window_len; i++)
        window[i - front] = red->used[i] ? window[i] : 0;
    return window_len - front;
}

int zran_reduce(const struct checkpoint *at, const void *in, size_t in_len, uint64_t span_len,
                uint8_t *window, uint32_t window_len)
{
    size_t out_len = span_len < CODEC_WINDOW_MAX ? (size_t)span_len : CODEC_WINDOW_MAX;
    struct reduction *red;
    int r = -ENODATA;

    if (!window_len || window_len > CODEC_WINDOW_MAX)
        return window_len ? -EINVAL : 0;
    red = calloc(1, sizeof(*red));
    if (!red)
        return -ENOMEM;
    make_windows(red);
    if (decode_with_window(at, red->first, window_len, in, in_len, red->out_first, out_len) == 0 &&
        decode_with_window(at, red->second, window_len, in, in_len, red->out_second, out_len) ==
            0) {
        mark_used(red, out_len);
        r = (int)keep_used(red, window, window_len);
    }
    free(red);
    return r;
}

size_t zran_pack_bound(uint32_t window_len)
{
    return 1 + ZSTD_compressBound(window_len);
}

int zran_pack(const uint8_t *window, uint32_t window_len, uint8_t *out, size_t out_cap)
{
    size_t n;

    if (out_cap < zran_pack_bound(window_len))
        return -ENOBUFS;
    n = ZSTD_compress(out + 1, out_cap - 1, window, window_len, PACK_LEVEL);
    out[0] = PACKED_ZSTD;
    if (ZSTD_isError(n) || n >= window_len) {
        out[0] = PACKED_RAW;
        if (window_len)
            memcpy(out + 1, window, window_len);
        n = window_len;
    }
    return (int)(1 + n);
}

int zran_unpack(const uint8_t *packed, size_t packed_len, uint8_t *out)
{
    size_t n;

    if (packed_len && packed[0] == PACKED_RAW && packed_len - 1 <= CODEC_WINDOW_MAX) {
        if (packed_len > 1)
            memcpy(out, packed + 1, packed_len - 1);
        return (int)(packed_len - 1);
    }
    if (!packed_len || packed[0] != PACKED_ZSTD)
        return -EBADMSG;
    n = ZSTD_decompress(out, CODEC_WINDOW_MAX, packed + 1, packed_len - 1);
    return ZSTD_isError(n) ? -EBADMSG : (int)n;
}
