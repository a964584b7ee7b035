/* SPDX-License-Identifier: Apache-2.0 */
/* The last 32 KiB of what an inflater gave, always in one piece, at the price of at most two
 * copies of each byte that is kept. */
#ifndef CLIP_INDEX_HISTORY_H
#define CLIP_INDEX_HISTORY_H

#include "index/codec.h"

#include <string.h>

struct history {
    /* private */
    uint32_t len;
    uint8_t bytes[2 * CODEC_WINDOW_MAX];
};

static inline void history_reset(struct history *history)
{
    history->len = 0;
}

static inline uint32_t history_len(const struct history *history)
{
    return history->len < CODEC_WINDOW_MAX ? history->len : CODEC_WINDOW_MAX;
}

/* history_len() bytes, the newest last. */
static inline const uint8_t *history_window(const struct history *history)
{
    return history->bytes + history->len - history_len(history);
}

static inline void history_add(struct history *history, const uint8_t *bytes, size_t len)
{
    if (!len)
        return;
    if (len >= CODEC_WINDOW_MAX) {
        bytes += len - CODEC_WINDOW_MAX;
        len = CODEC_WINDOW_MAX;
        history->len = 0;
    } else if (history->len + len > sizeof(history->bytes)) {
        memmove(history->bytes, history_window(history), CODEC_WINDOW_MAX);
        history->len = CODEC_WINDOW_MAX;
    }
    memcpy(history->bytes + history->len, bytes, len);
    history->len += (uint32_t)len;
}

#endif
