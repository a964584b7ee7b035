/* SPDX-License-Identifier: Apache-2.0 */
#include "test/lib/decoded.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct run {
    struct decoder *decoder;
    struct decoded *to;
    uint8_t *room; /* a piece of memory of its own, of cap bytes */
    size_t cap;
    size_t out_cap; /* of to->out */
};

static void *copy(const void *bytes, size_t len)
{
    void *made = malloc(len + 1);

    if (!made)
        abort();
    if (len)
        memcpy(made, bytes, len);
    return made;
}

/* Of the last mark, whose span has ended. */
static void keep_used(struct run *run)
{
    struct decoded *to = run->to;

    if (to->n_marks > 0 && to->marks[to->n_marks - 1].watched)
        to->used[to->n_marks - 1] = copy(decoder_used(run->decoder), CODEC_WINDOW_MAX);
}

static void add_mark(struct run *run)
{
    struct checkpoint *at = &run->to->marks[run->to->n_marks++];

    assert(run->to->n_marks < DECODED_MARKS);
    decoder_checkpoint(run->decoder, at);
    assert(at->out_off == run->to->out.len);
    at->window = copy(at->window, at->window_len);
    at->header = copy(at->header, at->header ? (at->header_bit + at->header_bits + 7) / 8 : 0);
}

static void keep_output(struct run *run, size_t len)
{
    struct bytes *out = &run->to->out;

    if (out->len + len >= run->out_cap) {
        run->out_cap = 2 * (out->len + len) + 4096;
        out->at = realloc(out->at, run->out_cap);
        if (!out->at)
            abort();
    }
    memcpy(out->at + out->len, run->room, len);
    out->len += len;
}

/* Until it wants more, ends or fails. */
static void run_steps(struct run *run)
{
    struct decoded *to = run->to;

    do {
        size_t n;

        to->r = decoder_step(run->decoder, run->room, run->cap, &n, &to->err);
        keep_output(run, n);
        if (to->r == CODEC_CHECKPOINT || to->r == CODEC_END)
            keep_used(run);
        if (to->r == CODEC_CHECKPOINT)
            add_mark(run);
    } while (to->r == CODEC_CHECKPOINT || to->r == CODEC_MORE_OUT);
}

static void on_piece(void *data, const uint8_t *piece, size_t len)
{
    struct run *run = data;

    if (run->to->r != CODEC_MORE_IN)
        return;
    decoder_feed(run->decoder, piece, len);
    run_steps(run);
}

void decode(struct decoder *decoder, struct bytes in, enum drip_how how, size_t cap,
            struct decoded *out)
{
    struct run run = {decoder, out, malloc(cap), cap, 0};

    if (!run.room)
        abort();
    memset(out, 0, sizeof(*out));
    out->r = CODEC_MORE_IN;
    drip(in.at, in.len, how, 11, on_piece, &run);
    if (out->r == CODEC_MORE_IN) {
        decoder_end(decoder);
        run_steps(&run);
    }
    out->in_off = decoder_in_off(decoder);
    decoder_free(decoder);
    free(run.room);
}

void decoded_free(struct decoded *decoded)
{
    for (unsigned i = 0; i < decoded->n_marks; i++) {
        free((void *)decoded->marks[i].window);
        free((void *)decoded->marks[i].header);
        free(decoded->used[i]);
    }
    decoded->n_marks = 0;
    bytes_free(&decoded->out);
}

bool decoded_is(const struct decoded *decoded, const void *plain, size_t len)
{
    return decoded->r == CODEC_END && decoded->out.len == len &&
           (len == 0 || memcmp(decoded->out.at, plain, len) == 0);
}

static bool same_mark(const struct checkpoint *a, const struct checkpoint *b)
{
    return a->in_bit == b->in_bit && a->out_off == b->out_off && a->flags == b->flags &&
           a->window_len == b->window_len && memcmp(a->window, b->window, a->window_len) == 0 &&
           a->header_bit == b->header_bit && a->header_bits == b->header_bits &&
           memcmp(a->header, b->header, (a->header_bit + a->header_bits + 7) / 8) == 0;
}

bool decoded_has_same_marks(const struct decoded *a, const struct decoded *b)
{
    if (a->n_marks != b->n_marks)
        return false;
    for (unsigned i = 0; i < a->n_marks; i++)
        if (!same_mark(&a->marks[i], &b->marks[i]))
            return false;
    return true;
}

uint64_t decoded_span_end(const struct decoded *decoded, unsigned i)
{
    return i + 1 < decoded->n_marks ? decoded->marks[i + 1].out_off : decoded->out.len;
}

uint64_t decoded_in_end(const struct decoded *decoded, unsigned i, size_t blob_len)
{
    return i + 1 < decoded->n_marks ? (decoded->marks[i + 1].in_bit + 7) / 8 : blob_len;
}
