/* SPDX-License-Identifier: Apache-2.0 */
/* Any cut of the bytes: a callback gets them piece by piece. Each piece is a copy of its own, so
 * that a sanitizer sees a byte too far, and is gone when the callback returns. */
#ifndef CLIP_TEST_DRIP_H
#define CLIP_TEST_DRIP_H

#include <stddef.h>
#include <stdint.h>

enum drip_how { DRIP_WHOLE, DRIP_BYTES, DRIP_RANDOM };
#define DRIP_HOWS 3

typedef void (*drip_cb)(void *data, const uint8_t *piece, size_t len);

/* The same seed makes the same cuts; they are short and long ones mixed. */
void drip(const void *bytes, size_t len, enum drip_how how, uint64_t seed, drip_cb cb, void *data);

/* A number from a seed that it moves on: xorshift, never from the clock. */
uint64_t drip_random(uint64_t *seed);

#endif
