/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/digest.h"
#include "engine/sha_ni.h"

#include <criterion/criterion.h>
#include <openssl/evp.h>

#define BYTES_LEN 5000u

static uint8_t bytes[BYTES_LEN];

static void make_bytes(void)
{
    uint32_t state = 1;

    for (size_t i = 0; i < BYTES_LEN; i++) {
        state = state * 1664525 + 1013904223;
        bytes[i] = (uint8_t)(state >> 24);
    }
}

static void expect_sha256_of(const struct sha256 *sha, size_t from, size_t len, const char *what)
{
    struct sha256 copy = *sha;
    struct digest is;
    uint8_t wanted[DIGEST_LEN];

    sha256_final(&copy, &is);
    EVP_Digest(bytes + from, len, wanted, NULL, EVP_sha256(), NULL);
    cr_expect_arr_eq(is.bytes, wanted, DIGEST_LEN, "%s, from %zu, %zu bytes", what, from, len);
}

/* `a` has taken bytes before the first that both take, so that their blocks lie apart. */
static void hash_both(size_t before, size_t len)
{
    struct sha256 a, b;

    sha256_init(&a);
    sha256_init(&b);
    sha256_update(&a, bytes, before);
    sha256_update_both(&a, &b, bytes + before, len);
    expect_sha256_of(&a, 0, before + len, "the first");
    expect_sha256_of(&b, before, len, "the second");
}

Test(digest, two_streams_at_once_are_what_each_is_alone, .init = make_bytes)
{
    for (size_t before = 0; before <= 130; before++) {
        for (size_t len = 0; len <= 330; len++)
            hash_both(before, len);
        hash_both(before, BYTES_LEN - before);
    }
}

Test(digest, two_streams_may_be_fed_in_any_pieces, .init = make_bytes)
{
    struct sha256 a, b;
    size_t off = 77;

    sha256_init(&a);
    sha256_init(&b);
    sha256_update(&a, bytes, off);
    for (size_t len = 1; off + len <= BYTES_LEN; off += len, len = len * 7 % 401)
        sha256_update_both(&a, &b, bytes + off, len);
    cr_expect_gt(off, BYTES_LEN / 2);
    expect_sha256_of(&a, 0, off, "the first");
    expect_sha256_of(&b, 77, off - 77, "the second");
}

/* 2^32 bits are 512 MiB: the counter's halves. */
Test(digest, the_length_of_two_streams_passes_32_bits, .init = make_bytes)
{
    struct sha256 a, b, c;
    struct digest both, one;

    if (!sha_ni_available())
        cr_skip("this CPU hashes one stream after the other");
    sha256_init(&a);
    sha256_init(&b);
    sha256_init(&c);
    for (unsigned i = 0; i < (513u << 20) / 4096; i++) {
        sha256_update_both(&a, &b, bytes, 4096);
        sha256_update(&c, bytes, 4096);
    }
    sha256_final(&a, &both);
    sha256_final(&c, &one);
    cr_expect(digest_equal(&both, &one));
}
