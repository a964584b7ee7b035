/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes as a gzip blob: our decoder by each inflater, and zlib's own. All give the same bytes, or
 * all refuse; ours tell the same checkpoints, and each goes on at the others'. What one has seen to
 * be used of a window is what a second decoding finds. The first byte says how the rest is cut, and
 * how long spans are.
 */
#include "index/decoder.h"
#include "index/gunzip.h"
#include "index/zran.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#define SPAN      4096u
#define LONG_SPAN (240u << 10)
#define OUT_MAX   (1u << 20)
#define MARKS_MAX 64u
#define N_RESULTS 5u /* ours twice, by the others, and zlib's own */

struct mark {
    struct checkpoint at;
    uint8_t window[CODEC_WINDOW_MAX];
    uint8_t used[CODEC_WINDOW_MAX]; /* of one that was watched */
    uint8_t header[512];
};

struct result {
    uint8_t *out; /* OUT_MAX */
    size_t len;
    bool good;
    bool full; /* there is more than OUT_MAX */
    unsigned n_marks;
    struct mark *marks;
};

static void check(bool holds)
{
    if (!holds)
        abort();
}

static void *must(void *memory)
{
    check(memory != NULL);
    return memory;
}

/* Of the last mark, whose span has ended. */
static void keep_used(struct decoder *decoder, struct result *to)
{
    struct mark *last = &to->marks[(to->n_marks - 1) % MARKS_MAX];

    if (to->n_marks > 0 && last->at.watched)
        memcpy(last->used, decoder_used(decoder), CODEC_WINDOW_MAX);
}

static void keep_mark(struct decoder *decoder, struct result *to)
{
    struct mark *mark = &to->marks[to->n_marks % MARKS_MAX];

    decoder_checkpoint(decoder, &mark->at);
    check(mark->at.out_off == to->len && mark->at.window_len <= CODEC_WINDOW_MAX);
    if (mark->at.window_len)
        memcpy(mark->window, mark->at.window, mark->at.window_len);
    if (mark->at.header_bits)
        memcpy(mark->header, mark->at.header, (mark->at.header_bit + mark->at.header_bits + 7) / 8);
    mark->at.window = mark->window;
    mark->at.header = mark->header;
    to->n_marks++;
}

static int run(struct decoder *decoder, struct result *to, size_t cap)
{
    struct clip_error err;
    size_t n;
    int r;

    do {
        size_t room = OUT_MAX - to->len < cap ? OUT_MAX - to->len : cap;

        r = decoder_step(decoder, to->out + to->len, room, &n, &err);
        check(n <= room);
        to->len += n;
        to->full = to->len == OUT_MAX;
        if (r == CODEC_CHECKPOINT || r == CODEC_END)
            keep_used(decoder, to);
        if (r == CODEC_CHECKPOINT)
            keep_mark(decoder, to);
    } while (!to->full && (r == CODEC_CHECKPOINT || r == CODEC_MORE_OUT));
    return r;
}

static void decode(enum inflate_backend backend, const uint8_t *in, size_t len, size_t cut,
                   uint64_t span, struct result *to)
{
    struct decoder *decoder;
    int r = CODEC_MORE_IN;

    check(gunzip_new(backend, &decoder) == 0);
    decoder->span_size = span;
    for (size_t off = 0; off < len && r == CODEC_MORE_IN && !to->full; off += cut) {
        decoder_feed(decoder, in + off, len - off < cut ? len - off : cut);
        r = run(decoder, to, 1 + 37 * cut);
    }
    if (r == CODEC_MORE_IN && !to->full) {
        decoder_end(decoder);
        r = run(decoder, to, OUT_MAX);
    }
    to->good = r == CODEC_END;
    decoder_free(decoder);
}

/* As `gzip -d` does it: members, zeros, nothing else. */
static void decode_by_zlib(const uint8_t *in, size_t len, struct result *to)
{
    z_stream z = {.next_in = (Bytef *)in, .avail_in = (uInt)len};
    int r = Z_STREAM_END;

    check(inflateInit2(&z, 15 + 16) == Z_OK);
    z.next_out = to->out;
    z.avail_out = OUT_MAX;
    while (r == Z_STREAM_END && z.avail_in && z.avail_out && (*z.next_in || z.next_in == in)) {
        inflateReset(&z);
        r = inflate(&z, Z_SYNC_FLUSH);
        if (r == Z_OK && z.avail_in && z.avail_out)
            r = inflate(&z, Z_SYNC_FLUSH);
    }
    to->len = OUT_MAX - z.avail_out;
    to->full = !z.avail_out;
    to->good = r == Z_STREAM_END && len > 0;
    while (to->good && z.avail_in--)
        to->good = *z.next_in++ == 0;
    inflateEnd(&z);
}

static void assert_same(const struct result *a, const struct result *b)
{
    if (a->full || b->full)
        return;
    check(a->good == b->good);
    if (a->good)
        check(a->len == b->len && memcmp(a->out, b->out, a->len) == 0);
}

static void assert_same_marks(const struct result *a, const struct result *b)
{
    if (!a->good || a->full || b->full)
        return;
    check(a->n_marks == b->n_marks);
    for (unsigned i = 0; i < a->n_marks && i < MARKS_MAX; i++) {
        const struct checkpoint *x = &a->marks[i].at, *y = &b->marks[i].at;

        check(x->in_bit == y->in_bit && x->out_off == y->out_off && x->flags == y->flags &&
              x->window_len == y->window_len && x->header_bits == y->header_bits);
        check(memcmp(x->window, y->window, x->window_len) == 0);
    }
}

/* From the checkpoint to the end of the blob. */
static void assert_resumes(enum inflate_backend backend, const struct result *from, unsigned i,
                           const uint8_t *in, size_t len)
{
    const struct checkpoint *at = &from->marks[i].at;
    size_t out_len = from->len - (size_t)at->out_off, off = (size_t)at->in_bit / 8;
    uint8_t *out = must(malloc(out_len + 1));
    struct clip_error err;

    check(zran_decode_with(backend, CODEC_GZIP, at, in + off, len - off, out, out_len, &err) == 0);
    check(memcmp(out, from->out + at->out_off, out_len) == 0);
    free(out);
}

static void assert_used_is_right(const struct result *from, unsigned i, const uint8_t *in,
                                 size_t len)
{
    const struct mark *mark = &from->marks[i];
    uint64_t end = i + 1 < from->n_marks ? from->marks[i + 1].at.out_off : from->len;
    size_t off = (size_t)mark->at.in_bit / 8;
    uint8_t kept[CODEC_WINDOW_MAX], reduced[CODEC_WINDOW_MAX];
    uint32_t n = mark->at.window_len;
    int r;

    if (!mark->at.watched)
        return;
    memcpy(kept, mark->window, n);
    memcpy(reduced, mark->window, n);
    r = zran_reduce(&mark->at, in + off, len - off, end - mark->at.out_off, reduced, n);
    check(r >= 0 && zran_keep(mark->used, kept, n) == (uint32_t)r);
    check(memcmp(kept, reduced, (size_t)r) == 0);
}

static void check_blob(const uint8_t *in, size_t len, size_t cut, uint64_t span,
                       struct result r[N_RESULTS])
{
    decode(INFLATE_CLIP, in, len, len + 1, span, &r[0]);
    decode(INFLATE_CLIP, in, len, cut, span, &r[1]);
    decode(INFLATE_ISAL, in, len, cut, span, &r[2]);
    decode(INFLATE_ZLIB, in, len, len + 1, span, &r[3]);
    decode_by_zlib(in, len, &r[4]);
    for (unsigned i = 1; i < N_RESULTS; i++)
        assert_same(&r[0], &r[i]);
    for (unsigned i = 1; i < N_RESULTS - 1; i++)
        assert_same_marks(&r[0], &r[i]);
    if (!r[0].good || r[0].n_marks > MARKS_MAX)
        return;
    for (unsigned i = 0; i < r[0].n_marks; i++) {
        assert_used_is_right(&r[0], i, in, len);
        assert_used_is_right(&r[1], i, in, len);
    }
    for (unsigned i = 0; i < r[0].n_marks; i += 1 + r[0].n_marks / 4) {
        assert_resumes(INFLATE_CLIP, &r[0], i, in, len);
        assert_resumes(INFLATE_ISAL, &r[0], i, in, len);
        assert_resumes(INFLATE_ZLIB, &r[0], i, in, len);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct result results[N_RESULTS];

    if (size < 2 || !inflate_available(INFLATE_ISAL))
        return 0;
    for (unsigned i = 0; i < N_RESULTS; i++) {
        if (!results[i].out)
            results[i] = (struct result){.out = must(malloc(OUT_MAX)),
                                         .marks = must(calloc(MARKS_MAX, sizeof(struct mark)))};
        results[i].len = results[i].n_marks = 0;
        results[i].good = results[i].full = false;
    }
    check_blob(data + 1, size - 1, 1 + data[0], data[0] & 1 ? LONG_SPAN : SPAN, results);
    return 0;
}
