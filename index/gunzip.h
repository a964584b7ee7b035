/* SPDX-License-Identifier: Apache-2.0 */
/* gzip (RFC 1952) of any encoder as a decoder (index/codec.h), from its start or from one of its
 * checkpoints, by any of the inflaters (index/inflate.h). */
#ifndef CLIP_INDEX_GUNZIP_H
#define CLIP_INDEX_GUNZIP_H

#include "index/codec.h"
#include "index/inflate.h"

bool gunzip_detect(const uint8_t *head, size_t len);

/* -ENOMEM; -EOPNOTSUPP if the backend was not compiled in. */
int gunzip_new(enum inflate_backend backend, struct decoder **out);
/* Goes on at a checkpoint: the first byte to be fed is the one that holds bit at->in_bit. It
 * reports no checkpoints, and the check of a member that it did not see begin is skipped. What
 * `at` points to is copied. -EBADMSG for a checkpoint that cannot be. */
int gunzip_resume(enum inflate_backend backend, const struct checkpoint *at, struct decoder **out);

/* inflate_watch(), after gunzip_resume() by INFLATE_CLIP. */
void gunzip_watch(struct decoder *decoder, uint8_t *used);

#endif
