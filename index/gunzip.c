/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The happy path of a gzip blob is:
 * - a member's header, field by field; its data (index/deflate.h); its trailer, which is compared;
 * - then another member, or zeros, or the end. A member's start is a checkpoint that needs no
 *   state, when the span is full.
 * Possible failure modes are: a header, a block or a check that is wrong, bytes after the end that
 * are not zeros, a blob that is cut. The sentence names the byte.
 */
#include "index/gunzip.h"

#include "engine/queue.h"
#include "index/deflate.h"

#include <inttypes.h>
#include <stdlib.h>

#define HEADER_LEN  10u
#define TRAILER_LEN 8u

enum { FLAG_HCRC = 2, FLAG_EXTRA = 4, FLAG_NAME = 8, FLAG_COMMENT = 16, FLAGS_RESERVED = 224 };

enum state {
    MEMBER,    /* between members, or the blob's start */
    FIXED,     /* the ten bytes that every header has */
    EXTRA_LEN, /* and the optional fields */
    EXTRA,
    NAME,
    COMMENT,
    HEADER_CRC,
    DATA,
    TRAILER, /* CRC-32 and length */
    ZEROS    /* after the last member */
};

struct gunzip {
    struct decoder base;
    struct deflate deflate;
    enum state state;

    /* a field of a member's header or trailer */
    uint8_t field[HEADER_LEN];
    unsigned n_field;
    uint8_t flags;
    unsigned extra_left;
    uint32_t header_crc; /* of the header up to now */
    uint32_t field_crc;  /* the same, without the field */

    /* the member's data so far */
    uint64_t member_off; /* where it begins in the blob */
    uint32_t crc, len;   /* the length modulo 2^32 */
    bool seen_whole;     /* from its first byte: the trailer can be compared */
};

/* What a state says: enum codec_event, an error, or: ask the next state. */
#define GO_ON 100

bool gunzip_detect(const uint8_t *head, size_t len)
{
    return len >= 3 && head[0] == 0x1f && head[1] == 0x8b && head[2] == 8;
}

/* ---- where we are */

static uint64_t byte_off(const struct gunzip *g)
{
    return deflate_byte_off(&g->deflate);
}

static int fail(const struct gunzip *g, struct clip_error *err, const char *what)
{
    return err_set(err, CLIP_EFORMAT, "gzip: %s, at byte %" PRIu64, what, byte_off(g));
}

static int need_input(const struct gunzip *g, struct clip_error *err)
{
    if (!g->base.ended)
        return CODEC_MORE_IN;
    return fail(g, err, "the blob ends inside a member");
}

/* ---- bytes of headers and trailers */

/* The next byte of a member's header, or -1. */
static int take_header_byte(struct gunzip *g)
{
    int byte = deflate_find_byte(&g->deflate);
    uint8_t b = (uint8_t)byte;

    if (byte < 0)
        return -1;
    g->header_crc = inflate_crc32(g->header_crc, &b, 1);
    deflate_drop_byte(&g->deflate);
    return byte;
}

/* Have all `len` bytes of the field come? */
static bool gather_field(struct gunzip *g, unsigned len)
{
    while (g->n_field < len) {
        int byte = take_header_byte(g);

        if (byte < 0)
            return false;
        g->field[g->n_field++] = (uint8_t)byte;
    }
    return true;
}

static unsigned field_u16(const struct gunzip *g)
{
    return g->field[0] | (unsigned)g->field[1] << 8;
}

static uint32_t field_u32(const struct gunzip *g, unsigned at)
{
    const uint8_t *b = g->field + at;

    return b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

static int to_state(struct gunzip *g, enum state state)
{
    g->state = state;
    g->n_field = 0;
    g->field_crc = g->header_crc;
    return GO_ON;
}

/* ---- a member's header */

static int step_member(struct gunzip *g, struct clip_error *err)
{
    bool first = byte_off(g) == 0;
    int byte = deflate_find_byte(&g->deflate);

    if (byte < 0 && g->base.ended && !first)
        return CODEC_END;
    if (byte < 0)
        return need_input(g, err);
    if (byte == 0 && !first)
        return to_state(g, ZEROS);
    if (byte != 0x1f)
        return fail(g, err, first ? "not a gzip member" : "garbage after the end of a member");
    if (decoder_span_full(&g->base, byte_off(g) * 8))
        return decoder_mark(&g->base, byte_off(g), CHECKPOINT_FRESH);
    g->member_off = byte_off(g);
    g->header_crc = 0;
    return to_state(g, FIXED);
}

static int step_fixed(struct gunzip *g, struct clip_error *err)
{
    if (!gather_field(g, HEADER_LEN))
        return need_input(g, err);
    if (!gunzip_detect(g->field, HEADER_LEN))
        return fail(g, err, "not a gzip member");
    g->flags = g->field[3];
    if (g->flags & FLAGS_RESERVED)
        return fail(g, err, "a member's header has unknown flags");
    return to_state(g, EXTRA_LEN);
}

static int step_extra_len(struct gunzip *g, struct clip_error *err)
{
    if (!(g->flags & FLAG_EXTRA))
        return to_state(g, NAME);
    if (!gather_field(g, 2))
        return need_input(g, err);
    g->extra_left = field_u16(g);
    return to_state(g, EXTRA);
}

static int step_extra(struct gunzip *g, struct clip_error *err)
{
    for (; g->extra_left; g->extra_left--) {
        if (take_header_byte(g) < 0)
            return need_input(g, err);
    }
    return to_state(g, NAME);
}

/* A name or a comment: NUL terminated, if the flag is there at all. */
static int step_text(struct gunzip *g, unsigned flag, enum state next, struct clip_error *err)
{
    int byte = g->flags & flag ? 1 : 0;

    while (byte) {
        byte = take_header_byte(g);
        if (byte < 0)
            return need_input(g, err);
    }
    return to_state(g, next);
}

static int begin_data(struct gunzip *g)
{
    g->crc = 0;
    g->len = 0;
    g->seen_whole = true;
    deflate_begin(&g->deflate);
    return to_state(g, DATA);
}

static int step_header_crc(struct gunzip *g, struct clip_error *err)
{
    if (!(g->flags & FLAG_HCRC))
        return begin_data(g);
    if (!gather_field(g, 2))
        return need_input(g, err);
    if (field_u16(g) != (g->field_crc & 0xffff))
        return fail(g, err, "a member's header has the wrong CRC");
    return begin_data(g);
}

/* ---- its data and its trailer */

static int step_data(struct gunzip *g, uint8_t *out, size_t cap, size_t *out_len,
                     struct clip_error *err)
{
    size_t n;
    int r = deflate_step(&g->deflate, out, cap, &n, err);

    *out_len += n;
    g->len += (uint32_t)n;
    if (g->seen_whole)
        g->crc = inflate_crc32(g->crc, out, n);
    if (r == CODEC_END)
        return to_state(g, TRAILER);
    return r == CODEC_MORE_IN ? need_input(g, err) : r;
}

static int step_trailer(struct gunzip *g, struct clip_error *err)
{
    if (!gather_field(g, TRAILER_LEN))
        return need_input(g, err);
    if (g->seen_whole && field_u32(g, 0) != g->crc)
        return err_set(err, CLIP_EFORMAT,
                       "gzip: the member at byte %" PRIu64 " has CRC %08x, not %08x", g->member_off,
                       g->crc, field_u32(g, 0));
    if (g->seen_whole && field_u32(g, 4) != g->len)
        return err_set(err, CLIP_EFORMAT,
                       "gzip: the member at byte %" PRIu64 " is %u bytes long (mod 2^32), not %u",
                       g->member_off, g->len, field_u32(g, 4));
    return to_state(g, MEMBER);
}

static int step_zeros(struct gunzip *g, struct clip_error *err)
{
    int byte;

    while ((byte = deflate_find_byte(&g->deflate)) == 0)
        deflate_drop_byte(&g->deflate);
    if (byte > 0)
        return fail(g, err, "garbage after the end of the last member");
    return g->base.ended ? CODEC_END : CODEC_MORE_IN;
}

/* ---- the decoder */

static int step_state(struct gunzip *g, uint8_t *out, size_t cap, size_t *out_len,
                      struct clip_error *err)
{
    switch (g->state) {
    case MEMBER:
        return step_member(g, err);
    case FIXED:
        return step_fixed(g, err);
    case EXTRA_LEN:
        return step_extra_len(g, err);
    case EXTRA:
        return step_extra(g, err);
    case NAME:
        return step_text(g, FLAG_NAME, COMMENT, err);
    case COMMENT:
        return step_text(g, FLAG_COMMENT, HEADER_CRC, err);
    case HEADER_CRC:
        return step_header_crc(g, err);
    case DATA:
        return step_data(g, out, cap, out_len, err);
    case TRAILER:
        return step_trailer(g, err);
    case ZEROS:
        return step_zeros(g, err);
    }
    return -EINVAL;
}

static int gunzip_step(struct decoder *decoder, uint8_t *out, size_t cap, size_t *out_len,
                       struct clip_error *err)
{
    struct gunzip *g = container_of(decoder, struct gunzip, base);
    int r;

    do {
        r = step_state(g, out + *out_len, cap - *out_len, out_len, err);
    } while (r == GO_ON);
    return r;
}

static void gunzip_close(struct decoder *decoder)
{
    struct gunzip *g = container_of(decoder, struct gunzip, base);

    deflate_fini(&g->deflate);
    free(g);
}

int gunzip_new(enum inflate_backend backend, struct decoder **out)
{
    static const struct decoder_ops ops = {.close = gunzip_close, .step = gunzip_step};
    struct gunzip *g = calloc(1, sizeof(*g));
    int r;

    if (!g)
        return -ENOMEM;
    r = deflate_init(&g->deflate, backend, &g->base);
    if (r < 0) {
        free(g);
        return r;
    }
    g->base.ops = &ops;
    g->state = MEMBER;
    *out = &g->base;
    return 0;
}

int gunzip_resume(enum inflate_backend backend, const struct checkpoint *at, struct decoder **out)
{
    struct decoder *decoder;
    struct gunzip *g;
    int r = gunzip_new(backend, &decoder);

    if (r < 0)
        return r;
    decoder->in_off = at->in_bit / 8;
    decoder->out_off = decoder->at.out_off = at->out_off;
    decoder->marked = true;
    decoder->span_size = DECODER_ENDLESS;
    g = container_of(decoder, struct gunzip, base);
    if (!(at->flags & CHECKPOINT_FRESH)) {
        g->state = DATA;
        r = deflate_resume(&g->deflate, at);
    }
    if (r < 0) {
        gunzip_close(decoder);
        return r;
    }
    *out = decoder;
    return 0;
}

void gunzip_watch(struct decoder *decoder, uint8_t *used)
{
    deflate_watch(&container_of(decoder, struct gunzip, base)->deflate, used);
}
