/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How windows get small (most bytes of most windows are never looked back on):
 * - zran_keep() keeps what the inflater has seen to be used while it went on (inflate_watch()).
 *   zran_reduce() is for those that cannot see it: it decodes the span's first 32 KiB by one that
 *   can.
 * - zran_pack() writes what is left as runs: how long each hole and each run of bytes is, then all
 *   the bytes, and that through zstd. Of other forms zstd over the window with its holes took six
 *   times as long for 1.01 times as much, deflate 120 times as long for 1.03 times as much.
 * Possible failure modes are: a span that does not decode or is not there in full; no memory;
 * packed bytes that were not made here.
 */
#include "index/zran.h"

#include "index/gunzip.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

/* ---- which bytes are used */

struct reduction {
    uint8_t out[CODEC_WINDOW_MAX], used[CODEC_WINDOW_MAX];
};

static int find_used(struct reduction *red, const struct checkpoint *at, const void *in,
                     size_t in_len, size_t out_len)
{
    struct decoder *decoder;
    int r = gunzip_resume(INFLATE_CLIP, at, &decoder);

    if (r < 0)
        return r;
    memset(red->used, 0, sizeof(red->used));
    gunzip_watch(decoder, red->used);
    decoder_feed(decoder, in, in_len);
    r = zran_take(decoder, red->out, out_len, NULL);
    decoder_free(decoder);
    return r;
}

static uint64_t eight(const uint8_t *bytes)
{
    uint64_t word;

    memcpy(&word, bytes, sizeof(word));
    return word;
}

/* How many bytes are 0. */
static uint32_t hole_len(const uint8_t *bytes, uint32_t len)
{
    uint32_t n = 0;

    while (n + 8 <= len && eight(bytes + n) == 0)
        n += 8;
    while (n < len && !bytes[n])
        n++;
    return n;
}

static void keep_bytes(const uint8_t *used, uint8_t *window, uint32_t len)
{
    uint32_t i = 0;

    for (; i + 8 <= len; i += 8) {
        uint64_t word = eight(window + i) & eight(used + i);
        memcpy(window + i, &word, sizeof(word));
    }
    for (; i < len; i++)
        window[i] &= used[i];
}

uint32_t zran_keep(const uint8_t *used, uint8_t *window, uint32_t window_len)
{
    uint32_t front = hole_len(used, window_len);

    keep_bytes(used + front, window + front, window_len - front);
    memmove(window, window + front, window_len - front);
    return window_len - front;
}

int zran_reduce(const struct checkpoint *at, const void *in, size_t in_len, uint64_t span_len,
                uint8_t *window, uint32_t window_len)
{
    size_t out_len = span_len < CODEC_WINDOW_MAX ? (size_t)span_len : CODEC_WINDOW_MAX;
    struct reduction *red;
    int r = -ENODATA;

    assert(window_len <= CODEC_WINDOW_MAX);
    if (!window_len || at->flags & CHECKPOINT_FRESH)
        return 0;
    red = malloc(sizeof(*red));
    if (!red)
        return -ENOMEM;
    if (find_used(red, at, in, in_len, out_len) == 0)
        r = (int)zran_keep(red->used, window, window_len);
    free(red);
    return r;
}

/* ---- the stored form */

/* A packed window's first byte. */
enum { PACKED_RAW = 0, PACKED_RUNS = 1 };

/* At level 9 an index is 0.5 to 1.9 % smaller, and indexing takes 2 % longer. */
#define PACK_LEVEL 1
/* Shorter holes cost more than their zeros. It also bounds the plain form: a hole and its run take
 * no more than 4 bytes beyond the run's own, but the first. */
#define HOLE_MIN  4u
#define PLAIN_MAX (2 + 6 + CODEC_WINDOW_MAX)

/* The plain form being written. The bytes of the runs are gathered apart: they come last. */
struct plain {
    uint8_t head[PLAIN_MAX]; /* number of runs, 2 bytes; per run: hole, length */
    uint8_t bytes[CODEC_WINDOW_MAX];
    uint32_t n_head, n_bytes, n_runs;
};

static void put_number(struct plain *plain, uint32_t value)
{
    for (; value > 127; value >>= 7)
        plain->head[plain->n_head++] = (uint8_t)(value | 128);
    plain->head[plain->n_head++] = (uint8_t)value;
}

/* Up to the next hole that is worth it. */
static uint32_t run_len(const uint8_t *window, uint32_t len)
{
    uint32_t n = 0;

    while (n < len) {
        uint32_t hole = window[n] ? 0 : hole_len(window + n, len - n);

        if (hole >= HOLE_MIN || n + hole == len)
            break;
        n += hole + 1;
    }
    return n;
}

static void make_plain(const uint8_t *window, uint32_t len, struct plain *plain)
{
    plain->n_head = 2;
    plain->n_bytes = plain->n_runs = 0;
    for (uint32_t i = 0; i < len; plain->n_runs++) {
        uint32_t hole = hole_len(window + i, len - i);
        uint32_t run = run_len(window + i + hole, len - i - hole);

        put_number(plain, hole);
        put_number(plain, run);
        memcpy(plain->bytes + plain->n_bytes, window + i + hole, run);
        plain->n_bytes += run;
        i += hole + run;
    }
    plain->head[0] = (uint8_t)plain->n_runs;
    plain->head[1] = (uint8_t)(plain->n_runs >> 8);
    memcpy(plain->head + plain->n_head, plain->bytes, plain->n_bytes);
}

struct zran_packer {
    ZSTD_CCtx *zstd;
    struct plain plain;
    uint8_t packed[1 + ZSTD_COMPRESSBOUND(PLAIN_MAX)];
};

int zran_packer_new(struct zran_packer **out)
{
    struct zran_packer *packer = malloc(sizeof(*packer));

    if (!packer)
        return -ENOMEM;
    packer->zstd = ZSTD_createCCtx();
    if (!packer->zstd) {
        free(packer);
        return -ENOMEM;
    }
    *out = packer;
    return 0;
}

void zran_packer_free(struct zran_packer *packer)
{
    if (!packer)
        return;
    ZSTD_freeCCtx(packer->zstd);
    free(packer);
}

uint32_t zran_pack(struct zran_packer *packer, const uint8_t *window, uint32_t window_len,
                   const uint8_t **out)
{
    struct plain *plain = &packer->plain;
    uint8_t *packed = packer->packed;
    size_t n;

    assert(window_len <= CODEC_WINDOW_MAX);
    make_plain(window, window_len, plain);
    n = ZSTD_compressCCtx(packer->zstd, packed + 1, sizeof(packer->packed) - 1, plain->head,
                          plain->n_head + plain->n_bytes, PACK_LEVEL);
    packed[0] = PACKED_RUNS;
    if (ZSTD_isError(n) || n >= window_len) {
        packed[0] = PACKED_RAW;
        n = window_len;
        if (n)
            memcpy(packed + 1, window, n);
    }
    *out = packed;
    return (uint32_t)(1 + n);
}

/* A plain form being read. */
struct reader {
    const uint8_t *at, *end;
};

/* At most 5 digits of 7 bits; -1 if it is cut or longer. */
static int64_t take_number(struct reader *in)
{
    int64_t value = 0;

    for (unsigned shift = 0; shift < 35 && in->at < in->end; shift += 7) {
        uint8_t digit = *in->at++;

        value |= (int64_t)(digit & 127) << shift;
        if (digit < 128)
            return value;
    }
    return -1;
}

/* Goes over the runs with `bytes` behind them; 0 <= the window's length, or -EBADMSG. */
static int put_runs(struct reader *runs, uint32_t n_runs, struct reader *bytes, uint8_t *out)
{
    int64_t len = 0;

    while (n_runs--) {
        int64_t hole = take_number(runs), run = take_number(runs);

        if (hole < 0 || run < 0 || hole + run > CODEC_WINDOW_MAX - len ||
            run > bytes->end - bytes->at)
            return -EBADMSG;
        memset(out + len, 0, (size_t)hole);
        memcpy(out + len + hole, bytes->at, (size_t)run);
        bytes->at += run;
        len += hole + run;
    }
    return bytes->at == bytes->end ? (int)len : -EBADMSG;
}

static int read_plain(const uint8_t *plain, size_t len, uint8_t *out)
{
    struct reader runs = {plain + 2, plain + len}, bytes = runs;
    uint32_t n_runs;

    if (len < 2)
        return -EBADMSG;
    n_runs = plain[0] | (uint32_t)plain[1] << 8;
    for (uint32_t i = 0; i < 2 * n_runs; i++) {
        if (take_number(&bytes) < 0)
            return -EBADMSG;
    }
    return put_runs(&runs, n_runs, &bytes, out);
}

int zran_unpack(const uint8_t *packed, size_t packed_len, uint8_t *out)
{
    uint8_t plain[PLAIN_MAX];
    size_t n;

    if (packed_len && packed[0] == PACKED_RAW && packed_len - 1 <= CODEC_WINDOW_MAX) {
        memcpy(out, packed + 1, packed_len - 1);
        return (int)(packed_len - 1);
    }
    if (!packed_len || packed[0] != PACKED_RUNS)
        return -EBADMSG;
    n = ZSTD_decompress(plain, sizeof(plain), packed + 1, packed_len - 1);
    return ZSTD_isError(n) ? -EBADMSG : read_plain(plain, n, out);
}
