/* SPDX-License-Identifier: Apache-2.0 */
/* libcrypto's low-level SHA-256: deprecated in favour of EVP, but the same assembly (SHA-NI, ARMv8)
 * with state that is plain memory, so that hashing 50,000 small files allocates nothing. */
#define OPENSSL_API_COMPAT 0x10100000L
#include "engine/digest.h"

#include <errno.h>
#include <openssl/sha.h>
#include <string.h>

_Static_assert(sizeof(SHA256_CTX) <= sizeof(struct sha256), "struct sha256 holds a SHA256_CTX");

static const char PREFIX[] = "sha256:";
#define PREFIX_LEN (sizeof(PREFIX) - 1)

static SHA256_CTX *ctx_of(struct sha256 *sha)
{
    return (SHA256_CTX *)sha->state;
}

void sha256_init(struct sha256 *sha)
{
    SHA256_Init(ctx_of(sha));
}

void sha256_update(struct sha256 *sha, const void *bytes, size_t len)
{
    if (len > 0)
        SHA256_Update(ctx_of(sha), bytes, len);
}

void sha256_final(struct sha256 *sha, struct digest *out)
{
    SHA256_Final(out->bytes, ctx_of(sha));
}

void sha256_of(const void *bytes, size_t len, struct digest *out)
{
    struct sha256 sha;

    sha256_init(&sha);
    sha256_update(&sha, bytes, len);
    sha256_final(&sha, out);
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return -1;
}

int digest_parse(const char *text, struct digest *out)
{
    struct digest digest;

    if (strlen(text) != DIGEST_TEXT_LEN || memcmp(text, PREFIX, PREFIX_LEN) != 0)
        return -EINVAL;
    text += PREFIX_LEN;
    for (size_t i = 0; i < DIGEST_LEN; i++) {
        int high = hex_value(text[2 * i]);
        int low = hex_value(text[2 * i + 1]);
        if (high < 0 || low < 0)
            return -EINVAL;
        digest.bytes[i] = (uint8_t)(high << 4 | low);
    }
    *out = digest;
    return 0;
}

char *digest_format(const struct digest *digest, char *out)
{
    static const char hex[] = "0123456789abcdef";
    char *at = out + PREFIX_LEN;

    memcpy(out, PREFIX, PREFIX_LEN);
    for (size_t i = 0; i < DIGEST_LEN; i++) {
        *at++ = hex[digest->bytes[i] >> 4];
        *at++ = hex[digest->bytes[i] & 15];
    }
    *at = '\0';
    return out;
}

bool digest_equal(const struct digest *a, const struct digest *b)
{
    return memcmp(a->bytes, b->bytes, DIGEST_LEN) == 0;
}
