/* SPDX-License-Identifier: Apache-2.0 */
/* zstd (RFC 8878) as a decoder (index/codec.h): frames, skippable frames among them. A frame's
 * start is a checkpoint when a span is full. In a frame that is larger than a span, every block's
 * end after span_size bytes is one that is CHAINED. Windows are at most 2^UNZSTD_WINDOW_LOG bytes.
 */
#ifndef CLIP_INDEX_UNZSTD_H
#define CLIP_INDEX_UNZSTD_H

#include "index/codec.h"

#define UNZSTD_WINDOW_LOG 27

bool unzstd_detect(const uint8_t *head, size_t len);
/* -ENOMEM. */
int unzstd_new(struct decoder **out);

#endif
