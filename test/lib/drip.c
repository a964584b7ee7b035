/* SPDX-License-Identifier: Apache-2.0 */
#include "test/lib/drip.h"

#include <stdlib.h>
#include <string.h>

uint64_t drip_random(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed;
}

/* From one byte to 64 KiB, each size as likely as its double. */
static size_t piece_len(enum drip_how how, uint64_t *seed)
{
    if (how == DRIP_WHOLE)
        return SIZE_MAX;
    if (how == DRIP_BYTES)
        return 1;
    return 1 + drip_random(seed) % (UINT64_C(1) << (drip_random(seed) % 17));
}

void drip(const void *bytes, size_t len, enum drip_how how, uint64_t seed, drip_cb cb, void *data)
{
    const uint8_t *at = bytes;

    seed |= 1; /* zero would stay zero */
    while (len) {
        size_t n = piece_len(how, &seed);
        uint8_t *piece;

        if (n > len)
            n = len;
        piece = malloc(n);
        if (!piece)
            abort();
        memcpy(piece, at, n);
        cb(data, piece, n);
        free(piece);
        at += n;
        len -= n;
    }
}
