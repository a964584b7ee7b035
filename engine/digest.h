/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SHA-256 as images use it: "sha256:" and 64 hex digits (OCI image spec, descriptor.md). The one
 * home of libcrypto. Streaming state is plain memory: no allocation, no failure, any thread.
 */
#ifndef CLIP_ENGINE_DIGEST_H
#define CLIP_ENGINE_DIGEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DIGEST_LEN      32
#define DIGEST_TEXT_LEN 71 /* without the NUL */

struct digest {
    uint8_t bytes[DIGEST_LEN];
};

/* private: sized for libcrypto's SHA256_CTX */
struct sha256 {
    uint64_t state[14];
};

void sha256_init(struct sha256 *sha);
void sha256_update(struct sha256 *sha, const void *bytes, size_t len);
/* The same bytes for both, at little more than the price of one where the CPU can do that. */
void sha256_update_both(struct sha256 *a, struct sha256 *b, const void *bytes, size_t len);
void sha256_final(struct sha256 *sha, struct digest *out);
void sha256_of(const void *bytes, size_t len, struct digest *out);

/* 0, -EINVAL for anything but "sha256:" and 64 lower-case hex digits. */
int digest_parse(const char *text, struct digest *out);
/* Writes DIGEST_TEXT_LEN + 1 bytes and returns out. */
char *digest_format(const struct digest *digest, char *out);
bool digest_equal(const struct digest *a, const struct digest *b);

#endif
