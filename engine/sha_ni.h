/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SHA-256's compression of two streams at a time, by the instructions that x86 has for it. For
 * engine/digest.c alone.
 *
 * One stream waits for its own last result most of the time; a second one in between costs little.
 */
#ifndef CLIP_ENGINE_SHA_NI_H
#define CLIP_ENGINE_SHA_NI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SHA_NI_BLOCK 64u

/* Any thread. False on other architectures. */
bool sha_ni_available(void);
/* n_blocks whole blocks of each stream; `a` and `b` are the eight words of their states. */
void sha_ni_two(uint32_t a[8], const uint8_t *a_bytes, uint32_t b[8], const uint8_t *b_bytes,
                size_t n_blocks);
/* The same blocks for both, whose message schedule is worked out once. */
void sha_ni_twins(uint32_t a[8], uint32_t b[8], const uint8_t *bytes, size_t n_blocks);

#endif
