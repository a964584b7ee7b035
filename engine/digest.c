/* SPDX-License-Identifier: Apache-2.0 */
/* libcrypto's low-level SHA-256: deprecated in favour of EVP, but the same assembly (SHA-NI, ARMv8)
 * with state that is plain memory, so that hashing 50,000 small files allocates nothing. */
#define OPENSSL_API_COMPAT 0x10100000L
#include "engine/digest.h"

#include "engine/sha_ni.h"

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

/* What is missing to a whole block. */
static size_t head_len(struct sha256 *sha)
{
    return (SHA_NI_BLOCK - ctx_of(sha)->num) % SHA_NI_BLOCK;
}

static void count_bytes(struct sha256 *sha, uint64_t len)
{
    SHA256_CTX *ctx = ctx_of(sha);
    uint64_t bits = ((uint64_t)ctx->Nh << 32 | ctx->Nl) + len * 8;

    ctx->Nl = (SHA_LONG)bits;
    ctx->Nh = (SHA_LONG)(bits >> 32);
}

/* Each stream has its own blocks in these bytes, since each may have begun anywhere (a file of a
 * tar begins where a block of the whole does): libcrypto takes what comes before the first whole
 * one, and after the last that both have. */
static void update_interleaved(struct sha256 *a, struct sha256 *b, const uint8_t *bytes, size_t len)
{
    size_t a_head = head_len(a), b_head = head_len(b);
    size_t n_blocks = (len - (a_head > b_head ? a_head : b_head)) / SHA_NI_BLOCK;
    size_t n = n_blocks * SHA_NI_BLOCK;

    sha256_update(a, bytes, a_head);
    sha256_update(b, bytes, b_head);
    if (a_head == b_head)
        sha_ni_twins(ctx_of(a)->h, ctx_of(b)->h, bytes + a_head, n_blocks);
    else
        sha_ni_two(ctx_of(a)->h, bytes + a_head, ctx_of(b)->h, bytes + b_head, n_blocks);
    count_bytes(a, n);
    count_bytes(b, n);
    sha256_update(a, bytes + a_head + n, len - a_head - n);
    sha256_update(b, bytes + b_head + n, len - b_head - n);
}

void sha256_update_both(struct sha256 *a, struct sha256 *b, const void *bytes, size_t len)
{
    if (len >= 2 * SHA_NI_BLOCK && sha_ni_available()) {
        update_interleaved(a, b, bytes, len);
        return;
    }
    sha256_update(a, bytes, len);
    sha256_update(b, bytes, len);
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
