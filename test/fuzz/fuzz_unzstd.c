/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes as a zstd blob, cut in two ways: the same bytes, the same checkpoints and the same verdict,
 * which is libzstd's own. The first byte says how the rest is cut.
 */
#include "index/decoder.h"
#include "index/unzstd.h"

#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#define SPAN      4096u
#define OUT_MAX   (1u << 20)
#define MARKS_MAX 1024u

struct result {
    uint8_t *out; /* OUT_MAX */
    size_t len;
    bool full; /* there is more than OUT_MAX */
    int r;
    unsigned n_marks;
    struct checkpoint marks[MARKS_MAX];
};

static void check(bool holds)
{
    if (!holds)
        abort();
}

static void run(struct decoder *decoder, struct result *to, size_t cap)
{
    struct clip_error err;
    size_t n;

    do {
        size_t room = OUT_MAX - to->len < cap ? OUT_MAX - to->len : cap;

        to->r = decoder_step(decoder, to->out + to->len, room, &n, &err);
        check(n <= room);
        to->len += n;
        to->full = to->len == OUT_MAX;
        if (to->r == CODEC_CHECKPOINT) {
            decoder_checkpoint(decoder, &to->marks[to->n_marks++ % MARKS_MAX]);
            check(decoder_out_off(decoder) == to->len);
        }
    } while (!to->full && (to->r == CODEC_CHECKPOINT || to->r == CODEC_MORE_OUT));
}

static void decode(const uint8_t *in, size_t len, size_t cut, struct result *to)
{
    struct decoder *decoder;

    check(unzstd_new(&decoder) == 0);
    decoder->span_size = SPAN;
    to->r = CODEC_MORE_IN;
    for (size_t off = 0; off < len && to->r == CODEC_MORE_IN && !to->full; off += cut) {
        decoder_feed(decoder, in + off, len - off < cut ? len - off : cut);
        run(decoder, to, 1 + 37 * cut);
    }
    if (to->r == CODEC_MORE_IN && !to->full) {
        decoder_end(decoder);
        run(decoder, to, OUT_MAX);
    }
    decoder_free(decoder);
}

static void assert_same(const struct result *a, const struct result *b)
{
    if (a->full || b->full)
        return;
    check(a->r == b->r && a->n_marks == b->n_marks);
    check(a->r != CODEC_END || (a->len == b->len && memcmp(a->out, b->out, a->len) == 0));
    check(memcmp(a->marks, b->marks,
                 (a->n_marks < MARKS_MAX ? a->n_marks : MARKS_MAX) * sizeof(a->marks[0])) == 0);
}

static void compare_with_libzstd(const uint8_t *in, size_t len, const struct result *ours)
{
    static uint8_t out[OUT_MAX];
    size_t n = ZSTD_decompress(out, sizeof(out), in, len);

    if (ours->full || len == 0)
        return;
    if (ours->r == CODEC_END && !ZSTD_isError(n))
        check(n == ours->len && memcmp(out, ours->out, n) == 0);
    if (ours->r != CODEC_END && ours->r != -EOPNOTSUPP)
        check(ZSTD_isError(n));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct result results[2];

    if (size < 2)
        return 0;
    for (unsigned i = 0; i < 2; i++) {
        if (!results[i].out)
            results[i].out = malloc(OUT_MAX);
        check(results[i].out != NULL);
        results[i].len = results[i].n_marks = 0;
        results[i].full = false;
        memset(results[i].marks, 0, sizeof(results[i].marks));
    }
    decode(data + 1, size - 1, size, &results[0]);
    decode(data + 1, size - 1, 1 + data[0], &results[1]);
    assert_same(&results[0], &results[1]);
    compare_with_libzstd(data + 1, size - 1, &results[0]);
    return 0;
}
