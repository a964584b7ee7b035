/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The happy path of a zstd blob is:
 * - a frame's magic, gathered by us, so that a checkpoint can be told before it;
 * - the frame part by part (header, blocks, checksum): each goes through libzstd as it comes, and
 *   its first bytes are kept to learn how long the next one is. So we always know where a block
 *   ends, in the blob and in the layer, wherever the bytes were cut: that is where a frame that is
 *   larger than a span gets its chained checkpoints.
 * - frames follow each other until the blob ends; skippable ones are gone past.
 * A frame that begins after a chained checkpoint is one that is FRESH, so that chains end as soon
 * as they can.
 * Possible failure modes are: bytes that are no frame, a frame that is damaged or has the wrong
 * checksum, a window past our limit, a blob that is cut. The sentence names the frame's byte.
 */
#include "index/unzstd.h"

#include "engine/queue.h"
#include "index/decoder.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>
#include <zstd_errors.h>

#define MAGIC_LEN        4u
#define SKIP_HEADER_LEN  8u /* magic, length */
#define BLOCK_HEADER_LEN 3u
#define CHECKSUM_LEN     4u

enum state {
    MAGIC,      /* between frames, or the blob's start */
    SKIP_LEN,   /* of a skippable frame */
    SKIP,       /* its bytes */
    DESCRIPTOR, /* the parts of a frame: the first byte of its header */
    HEADER,     /* the rest of that */
    BLOCK,      /* a block's header */
    BODY,       /* and what follows it */
    CHECKSUM
};

struct unzstd {
    struct decoder base;
    ZSTD_DCtx *zstd;
    enum state state;
    uint64_t frame_off; /* where the frame begins in the blob */

    uint8_t field[SKIP_HEADER_LEN]; /* the first bytes of a part */
    unsigned n_field;
    uint64_t left; /* bytes of the part that are to come */
    bool holds;    /* libzstd may have output that it had no room for */
    bool over;     /* and says that the frame is */
    bool has_checksum, is_last;
};

/* What a state says besides enum codec_event and errors: ask the next one. */
#define GO_ON 100

/* Little-endian, of the field's bytes from `at` on. */
static uint32_t read_field(const uint8_t *field, unsigned at, unsigned len)
{
    uint32_t value = 0;

    while (len--)
        value = value << 8 | field[at + len];
    return value;
}

static bool is_skippable(const uint8_t *magic)
{
    return (read_field(magic, 0, MAGIC_LEN) & ZSTD_MAGIC_SKIPPABLE_MASK) ==
           ZSTD_MAGIC_SKIPPABLE_START;
}

bool unzstd_detect(const uint8_t *head, size_t len)
{
    return len >= MAGIC_LEN &&
           (read_field(head, 0, MAGIC_LEN) == ZSTD_MAGICNUMBER || is_skippable(head));
}

/* ---- what goes wrong */

static int need_input(const struct unzstd *u, struct clip_error *err)
{
    if (!u->base.ended)
        return CODEC_MORE_IN;
    return err_set(err, CLIP_EFORMAT, "zstd: the blob ends inside a frame, at byte %" PRIu64,
                   u->base.in_off);
}

static int fail(const struct unzstd *u, const char *what, struct clip_error *err)
{
    return err_set(err, CLIP_EFORMAT,
                   "zstd: the frame at byte %" PRIu64 " is bad near byte %" PRIu64 ": %s",
                   u->frame_off, u->base.in_off, what);
}

static int zstd_failed(const struct unzstd *u, size_t code, struct clip_error *err)
{
    ZSTD_ErrorCode why = ZSTD_getErrorCode(code);

    if (why == ZSTD_error_memory_allocation)
        return err_set(err, -ENOMEM, "zstd: no memory");
    if (why == ZSTD_error_frameParameter_windowTooLarge)
        return err_set(err, -EOPNOTSUPP,
                       "zstd: the frame at byte %" PRIu64
                       " needs a window of more than %u MiB: compress it with --long=%d or less",
                       u->frame_off, 1u << (UNZSTD_WINDOW_LOG - 20), UNZSTD_WINDOW_LOG);
    return fail(u, ZSTD_getErrorName(code), err);
}

/* ---- between frames */

static int to_state(struct unzstd *u, enum state state, uint64_t len)
{
    u->state = state;
    u->n_field = 0;
    u->left = len;
    return GO_ON;
}

/* Have the first `len` bytes of the frame come? */
static bool gather_field(struct unzstd *u, unsigned len)
{
    while (u->n_field < len && u->base.in_len) {
        u->field[u->n_field++] = *u->base.in;
        decoder_use(&u->base, 1);
    }
    return u->n_field == len;
}

static bool wants_mark(const struct unzstd *u)
{
    return decoder_span_full(&u->base, u->frame_off * 8) || u->base.at.flags & CHECKPOINT_CHAINED;
}

static int begin_frame(struct unzstd *u, struct clip_error *err)
{
    ZSTD_inBuffer in = {u->field, MAGIC_LEN, 0};
    ZSTD_outBuffer room = {NULL, 0, 0};
    size_t r = ZSTD_decompressStream(u->zstd, &room, &in);

    if (ZSTD_isError(r))
        return zstd_failed(u, r, err);
    u->holds = u->over = false;
    return to_state(u, DESCRIPTOR, 1);
}

static int step_magic(struct unzstd *u, struct clip_error *err)
{
    if (!u->n_field) {
        u->frame_off = u->base.in_off;
        if (!u->base.in_len && u->base.ended && u->base.in_off)
            return CODEC_END;
    }
    if (!gather_field(u, MAGIC_LEN))
        return need_input(u, err);
    if (!unzstd_detect(u->field, MAGIC_LEN))
        return err_set(err, CLIP_EFORMAT, "zstd: no frame at byte %" PRIu64, u->frame_off);
    if (is_skippable(u->field)) {
        u->state = SKIP_LEN;
        return GO_ON;
    }
    if (wants_mark(u))
        return decoder_mark(&u->base, u->frame_off, CHECKPOINT_FRESH);
    return begin_frame(u, err);
}

/* A span does not end with a skippable frame, so that the next begins with bytes; but for one that
 * would be a span's worth of nothing to fetch. */
static int step_skip_len(struct unzstd *u, struct clip_error *err)
{
    uint32_t len;

    if (!gather_field(u, SKIP_HEADER_LEN))
        return need_input(u, err);
    len = read_field(u->field, MAGIC_LEN, 4);
    if (!u->base.marked || (len >= u->base.span_size && u->base.out_off > u->base.at.out_off))
        return decoder_mark(&u->base, u->frame_off, CHECKPOINT_FRESH);
    return to_state(u, SKIP, len);
}

static int step_skip(struct unzstd *u, struct clip_error *err)
{
    size_t len = u->left < u->base.in_len ? (size_t)u->left : u->base.in_len;

    decoder_use(&u->base, len);
    u->left -= len;
    return u->left ? need_input(u, err) : to_state(u, MAGIC, 0);
}

/* ---- a frame */

/* RFC 8878, 3.1.1.1: by its first byte, how many follow. */
static unsigned header_len(uint8_t descriptor)
{
    static const uint8_t dictionary[] = {0, 1, 2, 4}, size[] = {0, 2, 4, 8};
    bool single = descriptor & 0x20;
    unsigned size_flag = descriptor >> 6;

    return !single + dictionary[descriptor & 3] + (single && !size_flag ? 1 : size[size_flag]);
}

static int end_frame(struct unzstd *u, struct clip_error *err)
{
    if (!u->over)
        return fail(u, "its blocks do not add up", err);
    return to_state(u, MAGIC, 0);
}

static int end_block(struct unzstd *u, struct clip_error *err)
{
    if (u->is_last)
        return u->has_checksum ? to_state(u, CHECKSUM, CHECKSUM_LEN) : end_frame(u, err);
    to_state(u, BLOCK, BLOCK_HEADER_LEN);
    if (u->base.out_off - u->base.at.out_off >= u->base.span_size)
        return decoder_mark(&u->base, u->base.in_off, CHECKPOINT_CHAINED);
    return GO_ON;
}

static int begin_body(struct unzstd *u)
{
    uint32_t header = read_field(u->field, 0, BLOCK_HEADER_LEN);
    bool is_rle = (header >> 1 & 3) == 1;

    u->is_last = header & 1;
    return to_state(u, BODY, is_rle ? 1 : header >> 3);
}

static int end_part(struct unzstd *u, struct clip_error *err)
{
    switch (u->state) {
    case DESCRIPTOR:
        u->has_checksum = u->field[0] & 4;
        return to_state(u, HEADER, header_len(u->field[0]));
    case HEADER:
        return to_state(u, BLOCK, BLOCK_HEADER_LEN);
    case BLOCK:
        return begin_body(u);
    case BODY:
        return end_block(u, err);
    default:
        return end_frame(u, err);
    }
}

/* The next `len` bytes of the input are the part's. */
static void use_part(struct unzstd *u, size_t len)
{
    for (size_t i = 0; i < len && u->n_field < BLOCK_HEADER_LEN; i++)
        u->field[u->n_field++] = u->base.in[i];
    u->left -= len;
    decoder_use(&u->base, len);
}

/* Through libzstd with what has come of the part. */
static int step_part(struct unzstd *u, uint8_t *out, size_t cap, size_t *out_len,
                     struct clip_error *err)
{
    size_t len = u->left < u->base.in_len ? (size_t)u->left : u->base.in_len;
    ZSTD_inBuffer in = {u->base.in, len, 0};
    ZSTD_outBuffer room = {out, cap, 0};
    size_t r;

    if (!len && !u->holds)
        return u->left ? need_input(u, err) : end_part(u, err); /* a block of nothing */
    r = ZSTD_decompressStream(u->zstd, &room, &in);
    use_part(u, in.pos);
    u->base.out_off += room.pos;
    *out_len += room.pos;
    if (ZSTD_isError(r))
        return zstd_failed(u, r, err);
    u->over = r == 0; /* and then it holds nothing */
    u->holds = r && room.pos == cap;
    if (u->holds)
        return CODEC_MORE_OUT;
    return u->left ? GO_ON : end_part(u, err);
}

/* ---- the decoder */

static int step_state(struct unzstd *u, uint8_t *out, size_t cap, size_t *out_len,
                      struct clip_error *err)
{
    switch (u->state) {
    case MAGIC:
        return step_magic(u, err);
    case SKIP_LEN:
        return step_skip_len(u, err);
    case SKIP:
        return step_skip(u, err);
    default:
        return step_part(u, out, cap, out_len, err);
    }
}

static int unzstd_step(struct decoder *decoder, uint8_t *out, size_t cap, size_t *out_len,
                       struct clip_error *err)
{
    struct unzstd *u = container_of(decoder, struct unzstd, base);
    int r;

    do {
        r = step_state(u, out + *out_len, cap - *out_len, out_len, err);
    } while (r == GO_ON);
    return r;
}

static void unzstd_close(struct decoder *decoder)
{
    struct unzstd *u = container_of(decoder, struct unzstd, base);

    ZSTD_freeDCtx(u->zstd);
    free(u);
}

int unzstd_new(struct decoder **out)
{
    static const struct decoder_ops ops = {.close = unzstd_close, .step = unzstd_step};
    struct unzstd *u = calloc(1, sizeof(*u));

    if (!u)
        return -ENOMEM;
    u->zstd = ZSTD_createDCtx();
    if (!u->zstd) {
        free(u);
        return -ENOMEM;
    }
    ZSTD_DCtx_setParameter(u->zstd, ZSTD_d_windowLogMax, UNZSTD_WINDOW_LOG);
    u->base.ops = &ops;
    *out = &u->base;
    return 0;
}
