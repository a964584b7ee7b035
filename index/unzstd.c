/* SPDX-License-Identifier: Apache-2.0 */
/* The happy path of a zstd blob is: a frame's magic, gathered by us, so that a checkpoint can be
 * told before it; then the frame through libzstd, magic first. Frames follow each other until the
 * blob ends; skippable ones are frames without content, and no place for a checkpoint.
 * Possible failure modes are: bytes that are no frame, a frame that is damaged or has the wrong
 * checksum, a window past our limit, a blob that is cut. The sentence names the frame's byte. */
#include "index/unzstd.h"

#include "engine/queue.h"
#include "index/decoder.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>
#include <zstd_errors.h>

#define MAGIC_LEN 4u

struct unzstd {
    struct decoder base;
    ZSTD_DCtx *zstd;
    uint8_t magic[MAGIC_LEN];
    unsigned n_magic, magic_lent;
    bool in_frame;
    uint64_t frame_off; /* where the frame begins in the blob */
};

#define GO_ON 100

static uint32_t read_magic(const uint8_t *b)
{
    return b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

static bool is_skippable(const uint8_t *magic)
{
    return (read_magic(magic) & ZSTD_MAGIC_SKIPPABLE_MASK) == ZSTD_MAGIC_SKIPPABLE_START;
}

bool unzstd_detect(const uint8_t *head, size_t len)
{
    return len >= MAGIC_LEN && (read_magic(head) == ZSTD_MAGICNUMBER || is_skippable(head));
}

static int need_input(const struct unzstd *u, struct clip_error *err)
{
    if (!u->base.ended)
        return CODEC_MORE_IN;
    return err_set(err, CLIP_EFORMAT, "zstd: the blob ends inside a frame, at byte %" PRIu64,
                   u->base.in_off);
}

/* Between frames: what comes next? */
static int step_magic(struct unzstd *u, struct clip_error *err)
{
    if (!u->n_magic && !u->base.in_len && u->base.ended && u->base.in_off)
        return CODEC_END;
    for (; u->n_magic < MAGIC_LEN; u->n_magic++) {
        if (!u->base.in_len)
            return need_input(u, err);
        u->magic[u->n_magic] = *u->base.in;
        decoder_use(&u->base, 1);
    }
    u->frame_off = u->base.in_off - MAGIC_LEN;
    if (!unzstd_detect(u->magic, MAGIC_LEN))
        return err_set(err, CLIP_EFORMAT, "zstd: no frame at byte %" PRIu64, u->frame_off);
    if (decoder_span_full(&u->base) && (!is_skippable(u->magic) || !u->frame_off))
        return decoder_mark_fresh(&u->base, u->frame_off);
    u->magic_lent = 0;
    u->in_frame = true;
    return GO_ON;
}

static int fail(const struct unzstd *u, size_t code, struct clip_error *err)
{
    ZSTD_ErrorCode why = ZSTD_getErrorCode(code);

    if (why == ZSTD_error_memory_allocation)
        return err_set(err, -ENOMEM, "zstd: no memory");
    if (why == ZSTD_error_frameParameter_windowTooLarge)
        return err_set(err, -EOPNOTSUPP,
                       "zstd: the frame at byte %" PRIu64 " needs a window of more than %u MiB",
                       u->frame_off, 1u << (UNZSTD_WINDOW_LOG - 20));
    return err_set(err, CLIP_EFORMAT,
                   "zstd: the frame at byte %" PRIu64 " is bad near byte %" PRIu64 ": %s",
                   u->frame_off, u->base.in_off, ZSTD_getErrorName(code));
}

static int step_frame(struct unzstd *u, uint8_t *out, size_t cap, size_t *out_len,
                      struct clip_error *err)
{
    bool from_magic = u->magic_lent < MAGIC_LEN;
    ZSTD_inBuffer in = {from_magic ? u->magic : u->base.in, from_magic ? MAGIC_LEN : u->base.in_len,
                        from_magic ? u->magic_lent : 0};
    ZSTD_outBuffer room = {out, cap, 0};
    size_t before = in.pos, r = ZSTD_decompressStream(u->zstd, &room, &in);

    if (from_magic)
        u->magic_lent = (unsigned)in.pos;
    else
        decoder_use(&u->base, in.pos - before);
    u->base.out_off += room.pos;
    *out_len += room.pos;
    if (ZSTD_isError(r))
        return fail(u, r, err);
    if (r == 0) {
        u->in_frame = false;
        u->n_magic = 0;
        return GO_ON;
    }
    if (room.pos == cap)
        return CODEC_MORE_OUT;
    if (u->magic_lent == MAGIC_LEN && !u->base.in_len)
        return need_input(u, err);
    return GO_ON;
}

static int unzstd_step(struct decoder *decoder, uint8_t *out, size_t cap, size_t *out_len,
                       struct clip_error *err)
{
    struct unzstd *u = container_of(decoder, struct unzstd, base);
    int r;

    do {
        if (u->in_frame)
            r = step_frame(u, out + *out_len, cap - *out_len, out_len, err);
        else
            r = step_magic(u, err);
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
