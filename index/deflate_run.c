/* SPDX-License-Identifier: Apache-2.0 */
/* Limits are set once, when a run begins; deflate.c asks for them before each step. Nothing can
 * fail. */
#include "index/deflate_run.h"

#include "index/inflate.h"

#include <assert.h>
#include <string.h>

#define OUT_MAX  (1u << 20)   /* then a block's end is looked for, that little has to be kept */
#define OUT_MIN  (64u << 10)  /* less is not worth it */
#define IN_MIN   (256u << 10) /* likewise, to be kept */
#define GIVE_UP  (512u << 10) /* longer blocks are few */
#define IN_AHEAD 1024u        /* a header and the eight bytes that ISA-L loads */

static uint64_t min_of(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* Up to where no block may end: the first that does is the next checkpoint. */
static uint64_t out_room(const struct deflate_run_at *at)
{
    uint64_t ahead = 2 * INFLATE_AHEAD + at->span_len;

    return at->span_size > ahead ? at->span_size - ahead : 0;
}

/* Likewise: a span is full when twice its size went in. */
static uint64_t in_room(const struct deflate_run_at *at)
{
    uint64_t ahead = IN_AHEAD + at->in_len;

    return min_of(DEFLATE_RUN_KEPT, 2 * at->span_size > ahead ? 2 * at->span_size - ahead : 0);
}

bool deflate_run_fits(const struct deflate_run_at *at)
{
    return out_room(at) >= OUT_MIN && in_room(at) >= IN_MIN;
}

void deflate_run_begin(struct deflate_run *run, const struct deflate_run_at *at,
                       const uint8_t *window, uint32_t window_len)
{
    uint64_t begin = at->out_off - at->span_len;

    assert(deflate_run_fits(at) && window_len <= CODEC_WINDOW_MAX);
    run->from = at->out_off;
    run->until = at->out_off + min_of(OUT_MAX, out_room(at));
    run->tell_by = run->until + INFLATE_AHEAD;
    run->give_up = min_of(begin + at->give_up, run->until + GIVE_UP);
    run->kept_max = (size_t)in_room(at);
    run->kept_until = run->kept_max / 4 * 3;
    run->window_len = window_len;
    if (window_len)
        memcpy(run->window, window, window_len);
    run->n_kept = 0;
}

void deflate_run_keep(struct deflate_run *run, const uint8_t *bytes, size_t len)
{
    assert(len <= run->kept_max - run->n_kept);
    memcpy(run->kept + run->n_kept, bytes, len);
    run->n_kept += len;
}
