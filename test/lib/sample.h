/* SPDX-License-Identifier: Apache-2.0 */
/* The bytes of a small index in which everything that the format knows occurs. */
#ifndef CLIP_TEST_SAMPLE_H
#define CLIP_TEST_SAMPLE_H

#include "index/writer_file.h"
#include "test/lib/entries.h"

#define SAMPLE_CONFIG "{\"architecture\":\"amd64\"}"
#define SAMPLE_SPANS  3u /* of layer 0 */

struct sample {
    struct layers l;
    struct writer_span spans[SAMPLE_SPANS], tar_span;
    struct writer_layer layers[3]; /* gzip, tar, and an empty zstd */
    struct writer_image image;     /* may be changed before sample_encode() */
    uint8_t *bytes;
    size_t len;
};

/* Entries, merged, and all that a writer needs; not yet encoded. */
void sample_init(struct sample *s);
void sample_fini(struct sample *s);
/* Merges what was added, and encodes. */
int sample_encode(struct sample *s, struct clip_error *err);

#endif
