/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The happy path of a block is: sixteen steps of four rounds each (FIPS 180-4, 6.2.2), in every
 * step the rounds of one stream beside those of the other, so that one's SHA256RNDS2 runs while the
 * other's has not come out yet. The state is kept as the instruction wants it, two words of it
 * apart: ABEF, CDGH.
 * Measured on an EPYC, in cycles for a byte: libcrypto, one stream after the other, 2.03; this,
 * left to the compiler's order, 1.38; in the order that is fenced here, 1.24. The unit for the
 * rounds cannot do less than 1.0: four streams would take 1.1.
 */
#include "engine/sha_ni.h"

#include <assert.h>

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#include <stdatomic.h>

#define SHA_NI __attribute__((target("sha,sse4.1"), always_inline)) static inline

static const uint32_t K[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

struct lane {
    __m128i abef, cdgh;
};

struct schedule {
    __m128i words[4]; /* the last sixteen */
};

SHA_NI void load_state(struct lane *lane, const uint32_t state[8])
{
    __m128i dcba = _mm_loadu_si128((const __m128i *)state);
    __m128i hgfe = _mm_loadu_si128((const __m128i *)(state + 4));
    __m128i cdab = _mm_shuffle_epi32(dcba, 0xb1);
    __m128i efgh = _mm_shuffle_epi32(hgfe, 0x1b);

    lane->abef = _mm_alignr_epi8(cdab, efgh, 8);
    lane->cdgh = _mm_blend_epi16(efgh, cdab, 0xf0);
}

SHA_NI void store_state(const struct lane *lane, uint32_t state[8])
{
    __m128i feba = _mm_shuffle_epi32(lane->abef, 0x1b);
    __m128i dchg = _mm_shuffle_epi32(lane->cdgh, 0xb1);

    _mm_storeu_si128((__m128i *)state, _mm_blend_epi16(feba, dchg, 0xf0));
    _mm_storeu_si128((__m128i *)(state + 4), _mm_alignr_epi8(dchg, feba, 8));
}

SHA_NI void load_block(struct schedule *m, const uint8_t *bytes)
{
    const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);

    for (int i = 0; i < 4; i++)
        m->words[i] = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(bytes + 16 * i)), swap);
}

/* What rounds 4i to 4i+3 take in. */
SHA_NI __m128i sum_of(const struct schedule *m, int i)
{
    return _mm_add_epi32(m->words[i % 4], _mm_loadu_si128((const __m128i *)&K[4 * i]));
}

/* Rounds 4i and 4i+1. */
SHA_NI void first_rounds(struct lane *lane, __m128i sum)
{
    lane->cdgh = _mm_sha256rnds2_epu32(lane->cdgh, lane->abef, sum);
}

/* Rounds 4i+2 and 4i+3. */
SHA_NI void last_rounds(struct lane *lane, __m128i sum)
{
    lane->abef = _mm_sha256rnds2_epu32(lane->abef, lane->cdgh, _mm_shuffle_epi32(sum, 0x0e));
}

/* What these rounds' words can already do for those of later ones. */
SHA_NI void next_words(struct schedule *m, int i)
{
    __m128i *now = &m->words[i % 4], *next = &m->words[(i + 1) % 4];
    __m128i *before = &m->words[(i + 3) % 4];

    if (i >= 3 && i < 15) {
        *next = _mm_add_epi32(*next, _mm_alignr_epi8(*now, *before, 4));
        *next = _mm_sha256msg2_epu32(*next, *now);
    }
    if (i >= 1 && i < 13)
        *before = _mm_sha256msg1_epu32(*before, *now);
}

/* Costs nothing, but what is before it stays before it. */
SHA_NI void fence(struct lane *a, struct lane *b)
{
    __asm__ volatile("" : "+x"(a->abef), "+x"(a->cdgh), "+x"(b->abef), "+x"(b->cdgh));
}

SHA_NI void add_state(struct lane *lane, const struct lane *before)
{
    lane->abef = _mm_add_epi32(lane->abef, before->abef);
    lane->cdgh = _mm_add_epi32(lane->cdgh, before->cdgh);
}

/* `m` and `n` may be one: then it is worked out once. */
SHA_NI void step_both(struct lane *a, struct schedule *m, struct lane *b, struct schedule *n, int i)
{
    const __m128i a_sum = sum_of(m, i), b_sum = m == n ? a_sum : sum_of(n, i);

    first_rounds(a, a_sum);
    first_rounds(b, b_sum);
    fence(a, b);
    next_words(m, i);
    if (m != n)
        next_words(n, i);
    fence(a, b);
    last_rounds(a, a_sum);
    last_rounds(b, b_sum);
    fence(a, b);
}

SHA_NI void compress_both(struct lane *a, struct schedule *m, struct lane *b, struct schedule *n)
{
    const struct lane a_before = *a, b_before = *b;

    step_both(a, m, b, n, 0);
    step_both(a, m, b, n, 1);
    step_both(a, m, b, n, 2);
    step_both(a, m, b, n, 3);
    step_both(a, m, b, n, 4);
    step_both(a, m, b, n, 5);
    step_both(a, m, b, n, 6);
    step_both(a, m, b, n, 7);
    step_both(a, m, b, n, 8);
    step_both(a, m, b, n, 9);
    step_both(a, m, b, n, 10);
    step_both(a, m, b, n, 11);
    step_both(a, m, b, n, 12);
    step_both(a, m, b, n, 13);
    step_both(a, m, b, n, 14);
    step_both(a, m, b, n, 15);
    add_state(a, &a_before);
    add_state(b, &b_before);
}

#define SHA_NI_PUBLIC __attribute__((target("sha,sse4.1")))

SHA_NI_PUBLIC void sha_ni_two(uint32_t a[8], const uint8_t *a_bytes, uint32_t b[8],
                              const uint8_t *b_bytes, size_t n_blocks)
{
    struct lane x, y;
    struct schedule m, n;

    load_state(&x, a);
    load_state(&y, b);
    for (size_t i = 0; i < n_blocks; i++) {
        load_block(&m, a_bytes + i * SHA_NI_BLOCK);
        load_block(&n, b_bytes + i * SHA_NI_BLOCK);
        compress_both(&x, &m, &y, &n);
    }
    store_state(&x, a);
    store_state(&y, b);
}

SHA_NI_PUBLIC void sha_ni_twins(uint32_t a[8], uint32_t b[8], const uint8_t *bytes, size_t n_blocks)
{
    struct lane x, y;
    struct schedule m;

    load_state(&x, a);
    load_state(&y, b);
    for (size_t i = 0; i < n_blocks; i++) {
        load_block(&m, bytes + i * SHA_NI_BLOCK);
        compress_both(&x, &m, &y, &m);
    }
    store_state(&x, a);
    store_state(&y, b);
}

static bool ask_cpu(void)
{
    unsigned a, b, c, d;

    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_SSSE3) || !(c & bit_SSE4_1))
        return false;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && b & bit_SHA;
}

/* Asked once: in a virtual machine the question is a trap of some microseconds. */
bool sha_ni_available(void)
{
    static atomic_int known; /* 0: not yet, 1: no, 2: yes */

    if (!atomic_load_explicit(&known, memory_order_relaxed))
        atomic_store_explicit(&known, ask_cpu() ? 2 : 1, memory_order_relaxed);
    return atomic_load_explicit(&known, memory_order_relaxed) == 2;
}

#else

bool sha_ni_available(void)
{
    return false;
}

void sha_ni_two(uint32_t a[8], const uint8_t *a_bytes, uint32_t b[8], const uint8_t *b_bytes,
                size_t n_blocks)
{
    (void)a, (void)a_bytes, (void)b, (void)b_bytes, (void)n_blocks;
    assert(!"nobody asks who has looked");
}

void sha_ni_twins(uint32_t a[8], uint32_t b[8], const uint8_t *bytes, size_t n_blocks)
{
    (void)a, (void)b, (void)bytes, (void)n_blocks;
    assert(!"nobody asks who has looked");
}
#endif
