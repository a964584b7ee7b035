/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The happy path of a span is:
 * - its mark ends the span before and begins this one; bytes are hashed for the blob and the span
 *   at the same time. A mark may lie a little behind the bytes that came with it, so the last of
 *   what came (`carry`) stay unhashed until the next are there.
 * - where there is a window it is reduced to what is used of it, and packed; then the raw one is
 *   gone. What is used the next mark tells, if the decoder could see it. If not, the span's first
 *   bytes are captured, too, until there are enough to find out.
 * Possible failure modes are: no memory. Then it can only be freed.
 */
#include "index/seal.h"

#include "index/zran.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct seal {
    struct sha256 blob;
    uint64_t blob_off; /* up to where it is hashed */

    const uint8_t *bytes; /* what has come now, at blob offset `off` */
    size_t len;
    uint64_t off;
    uint8_t carry[SEAL_BEHIND_MAX]; /* the bytes just before */
    size_t carry_len;

    struct writer_span *spans;
    size_t n_spans, cap_spans;
    struct sha256 span;     /* of the last span's bytes */
    uint64_t span_off;      /* likewise */
    struct seal_mark *mark; /* the last span's, as long as its window is raw */
    uint8_t *capture;
    size_t capture_len;
    struct zran_packer *packer;
};

/* ---- marks */

static size_t header_len(const struct checkpoint *at)
{
    return at->flags & CHECKPOINT_MIDBLOCK ? (size_t)((at->header_bit + at->header_bits + 7) / 8)
                                           : 0;
}

int seal_marks_add(struct seal_marks *marks, const struct checkpoint *at, const uint8_t *used)
{
    size_t window_len = at->window_len, len = header_len(at);
    size_t used_len = used ? CODEC_WINDOW_MAX : 0;
    struct seal_mark *mark = malloc(sizeof(*mark) + window_len + len + used_len);

    if (!mark)
        return -ENOMEM;
    mark->next = NULL;
    mark->at = *at;
    mark->at.window = mark->bytes;
    mark->at.header = mark->bytes + window_len;
    if (window_len)
        memcpy(mark->bytes, at->window, window_len);
    if (len)
        memcpy(mark->bytes + window_len, at->header, len);
    mark->used = used ? memcpy(mark->bytes + window_len + len, used, used_len) : NULL;
    if (marks->last)
        marks->last->next = mark;
    else
        marks->first = mark;
    marks->last = mark;
    return 0;
}

static struct seal_mark *pop_mark(struct seal_marks *marks)
{
    struct seal_mark *mark = marks->first;

    if (!mark)
        return NULL;
    marks->first = mark->next;
    if (!marks->first)
        marks->last = NULL;
    return mark;
}

void seal_marks_free(struct seal_marks *marks)
{
    struct seal_mark *mark;

    while ((mark = pop_mark(marks)))
        free(mark);
}

/* ---- bytes */

/* The blob's bytes [from, to), all of them in carry or in what has come now. */
static void each_piece(struct seal *seal, uint64_t from, uint64_t to,
                       void (*take)(struct seal *seal, const uint8_t *bytes, size_t len))
{
    uint64_t carry_off = seal->off - seal->carry_len;

    assert(from >= carry_off && to <= seal->off + seal->len);
    if (from < seal->off && from < to) {
        uint64_t end = to < seal->off ? to : seal->off;
        take(seal, seal->carry + (from - carry_off), (size_t)(end - from));
        from = end;
    }
    if (from < to)
        take(seal, seal->bytes + (from - seal->off), (size_t)(to - from));
}

static void capture(struct seal *seal, const uint8_t *bytes, size_t len)
{
    size_t room = SEAL_CAPTURE_MAX - seal->capture_len;

    if (!seal->mark || seal->mark->at.watched)
        return;
    if (len > room)
        len = room;
    memcpy(seal->capture + seal->capture_len, bytes, len);
    seal->capture_len += len;
}

static void take_for_blob(struct seal *seal, const uint8_t *bytes, size_t len)
{
    sha256_update(&seal->blob, bytes, len);
}

static void take_for_span(struct seal *seal, const uint8_t *bytes, size_t len)
{
    sha256_update(&seal->span, bytes, len);
    capture(seal, bytes, len);
}

static void take_for_both(struct seal *seal, const uint8_t *bytes, size_t len)
{
    sha256_update_both(&seal->blob, &seal->span, bytes, len);
    capture(seal, bytes, len);
}

/* What is left of the last span's window, in its place; all of it if nobody knows what is used. */
static uint32_t reduce(struct seal *seal, uint64_t span_len, const uint8_t *used)
{
    struct seal_mark *mark = seal->mark;
    uint32_t len = mark->at.window_len;
    int r;

    if (mark->at.watched)
        return zran_keep(used, mark->bytes, len);
    r = zran_reduce(&mark->at, seal->capture, seal->capture_len, span_len, mark->bytes, len);
    return r < 0 ? len : (uint32_t)r;
}

/* Packs it once it is known what is used, or will not be. */
static int settle_window(struct seal *seal, uint64_t span_len, const uint8_t *used)
{
    struct writer_span *span = &seal->spans[seal->n_spans - 1];
    struct seal_mark *mark = seal->mark;
    uint32_t len = reduce(seal, span_len, used);
    const uint8_t *packed;
    uint8_t *copy;

    len = zran_pack(seal->packer, mark->bytes, len, &packed);
    free(mark);
    seal->mark = NULL;
    copy = malloc(len);
    if (!copy)
        return -ENOMEM;
    span->window = memcpy(copy, packed, len);
    span->window_len = len;
    return 0;
}

/* The byte that two spans share is hashed for the blob once. */
static void hash_both_to(struct seal *seal, uint64_t to)
{
    uint64_t from = seal->span_off > seal->blob_off ? seal->span_off : seal->blob_off;

    each_piece(seal, seal->blob_off, from, take_for_blob);
    each_piece(seal, seal->span_off, from, take_for_span);
    each_piece(seal, from, to, take_for_both);
    seal->blob_off = seal->span_off = to;
}

static int hash_to(struct seal *seal, uint64_t to)
{
    if (seal->n_spans > 0 && to > seal->span_off) {
        hash_both_to(seal, to);
    } else if (seal->n_spans == 0 && to > seal->blob_off) {
        each_piece(seal, seal->blob_off, to, take_for_blob);
        seal->blob_off = to;
    }
    if (seal->mark && seal->capture_len == SEAL_CAPTURE_MAX)
        return settle_window(seal, UINT64_MAX, NULL);
    return 0;
}

/* ---- spans */

static int end_span(struct seal *seal, uint64_t in_end, uint64_t out_end, const uint8_t *used)
{
    struct writer_span *span;
    int r = hash_to(seal, in_end);

    if (r < 0 || seal->n_spans == 0)
        return r;
    span = &seal->spans[seal->n_spans - 1];
    if (seal->mark)
        r = settle_window(seal, out_end - span->out_off, used);
    sha256_final(&seal->span, &span->fetched);
    span->in_end = in_end;
    return r;
}

static struct writer_span *new_span(struct seal *seal)
{
    struct writer_span *spans = seal->spans;

    if (seal->n_spans == seal->cap_spans) {
        size_t cap = seal->cap_spans ? seal->cap_spans * 2 : 64;
        spans = reallocarray(spans, cap, sizeof(spans[0]));
        if (!spans)
            return NULL;
        seal->spans = spans;
        seal->cap_spans = cap;
    }
    memset(&spans[seal->n_spans], 0, sizeof(spans[0]));
    return &spans[seal->n_spans++];
}

static int copy_header(struct writer_span *span, const struct checkpoint *at)
{
    size_t len = header_len(at);
    uint8_t *header;

    if (!len)
        return 0;
    header = malloc(len);
    if (!header)
        return -ENOMEM;
    memcpy(header, at->header, len);
    span->header = header;
    span->header_bit = at->header_bit;
    span->header_bits = at->header_bits;
    return 0;
}

/* Takes the mark. */
static int begin_span(struct seal *seal, struct seal_mark *mark)
{
    struct writer_span *span = new_span(seal);
    int r = span ? copy_header(span, &mark->at) : -ENOMEM;

    if (r < 0) {
        free(mark);
        return r;
    }
    span->in_bit = mark->at.in_bit;
    span->out_off = mark->at.out_off;
    span->flags = mark->at.flags;
    seal->span_off = mark->at.in_bit / 8;
    seal->capture_len = 0;
    sha256_init(&seal->span);
    if (mark->at.window_len > 0)
        seal->mark = mark;
    else
        free(mark);
    return 0;
}

static int on_mark(struct seal *seal, struct seal_mark *mark)
{
    int r = end_span(seal, (mark->at.in_bit + 7) / 8, mark->at.out_off, mark->used);

    if (r < 0) {
        free(mark);
        return r;
    }
    return begin_span(seal, mark);
}

/* ---- public */

/* The last of what has come is carried over. */
static void carry_over(struct seal *seal)
{
    size_t keep = seal->len < SEAL_BEHIND_MAX ? seal->len : SEAL_BEHIND_MAX;
    size_t old =
        SEAL_BEHIND_MAX - keep < seal->carry_len ? SEAL_BEHIND_MAX - keep : seal->carry_len;

    memmove(seal->carry, seal->carry + seal->carry_len - old, old);
    if (keep)
        memcpy(seal->carry + old, seal->bytes + seal->len - keep, keep);
    seal->carry_len = old + keep;
    seal->off += seal->len;
    seal->len = 0;
}

int seal_take(struct seal *seal, const uint8_t *bytes, size_t len, struct seal_marks *marks)
{
    struct seal_mark *mark;
    int r = 0;

    seal->bytes = bytes;
    seal->len = len;
    while (r == 0 && (mark = pop_mark(marks)))
        r = on_mark(seal, mark);
    if (r == 0 && seal->off + len > SEAL_BEHIND_MAX)
        r = hash_to(seal, seal->off + len - SEAL_BEHIND_MAX);
    carry_over(seal);
    return r;
}

int seal_end(struct seal *seal, uint64_t out_len, const uint8_t *used)
{
    return end_span(seal, seal->off, out_len, used);
}

struct writer_span *seal_spans(struct seal *seal, size_t *out_n)
{
    *out_n = seal->n_spans;
    return seal->spans;
}

void seal_digest(struct seal *seal, struct digest *out)
{
    sha256_final(&seal->blob, out);
}

int seal_new(struct seal **out)
{
    struct seal *seal = calloc(1, sizeof(*seal));

    if (!seal)
        return -ENOMEM;
    seal->capture = malloc(SEAL_CAPTURE_MAX);
    if (!seal->capture || zran_packer_new(&seal->packer) < 0) {
        seal_free(seal);
        return -ENOMEM;
    }
    sha256_init(&seal->blob);
    *out = seal;
    return 0;
}

void seal_free(struct seal *seal)
{
    if (!seal)
        return;
    for (size_t i = 0; i < seal->n_spans; i++) {
        free((void *)seal->spans[i].window);
        free((void *)seal->spans[i].header);
    }
    free(seal->spans);
    free(seal->mark);
    free(seal->capture);
    zran_packer_free(seal->packer);
    free(seal);
}
