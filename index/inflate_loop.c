/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The happy path of a turn is: up to three literals, or a match.
 *
 * What it takes to be fast:
 * - bits are filled up eight bytes at a time, without asking how many are missing: what is loaded
 *   twice is the same. At least 56 are there then, which is enough for what is done with them.
 * - the entry of the next symbol is looked up before a match is copied, so that it is there when
 *   the copy is on its way.
 * - a match is copied 32 bytes at a time, which for most is once, and may write past its end.
 * - compiled twice where the processor may have BMI2, whose shifts need no fixed register.
 *
 * It cannot fail; all that is not right ends it.
 */
#include "index/inflate_loop.h"

#include <endian.h>
#include <string.h>

#define ALWAYS_INLINE __attribute__((always_inline)) static inline
#define LIKELY(x)     __builtin_expect(!!(x), 1)
#define UNLIKELY(x)   __builtin_expect(!!(x), 0)

ALWAYS_INLINE uint64_t load_bits(const uint8_t *in)
{
    uint64_t word;

    memcpy(&word, in, sizeof(word));
    return le64toh(word);
}

ALWAYS_INLINE void copy_8(uint8_t *to, const uint8_t *from)
{
    memcpy(to, from, 8);
}

ALWAYS_INLINE void copy_16(uint8_t *to, const uint8_t *from)
{
    struct bytes_16 {
        uint8_t bytes[16];
    } word;

    memcpy(&word, from, sizeof(word));
    memcpy(to, &word, sizeof(word));
}

/* Where the stream is. */
struct cursor {
    const uint8_t *in;
    uint64_t bits;
    unsigned n_bits;
};

ALWAYS_INLINE void fill(struct cursor *at)
{
    at->bits |= load_bits(at->in) << (at->n_bits & 63);
    at->in += 7 - (at->n_bits >> 3 & 7);
    at->n_bits |= 56;
}

/* What an entry says it is. */
ALWAYS_INLINE void use(struct cursor *at, uint32_t entry)
{
    at->bits >>= entry & 63;
    at->n_bits -= entry;
}

ALWAYS_INLINE uint32_t look_up(const uint32_t *table, unsigned n_bits, const struct cursor *at)
{
    return table[at->bits & ((1u << n_bits) - 1)];
}

ALWAYS_INLINE uint32_t next_literal(const struct huffman *huffman, const struct cursor *at)
{
    return look_up(huffman->literals, HUFFMAN_LITERAL_ROOT, at);
}

/* The entry that these bits lead on to. */
ALWAYS_INLINE uint32_t look_further(const uint32_t *table, uint32_t entry, struct cursor *at)
{
    use(at, entry);
    return look_up(table + huffman_value(entry), huffman_code_bits(entry), at);
}

/* What a length or a distance is: its base, and the extra bits behind its code. */
ALWAYS_INLINE unsigned take_value(struct cursor *at, uint32_t entry)
{
    uint64_t bits = at->bits & ((UINT64_C(1) << (entry & 63)) - 1);

    use(at, entry);
    return huffman_value(entry) + (unsigned)(bits >> (entry >> 8 & 63));
}

/* Less than eight bytes back: they repeat. */
ALWAYS_INLINE void copy_near(uint8_t *out, const uint8_t *end, unsigned distance)
{
    const uint8_t *from = out - distance;

    if (distance == 1) {
        memset(out, *from, 32);
        if (end - out > 32)
            memset(out + 32, *from, (size_t)(end - out) - 32);
        return;
    }
    do {
        copy_8(out, from);
        out += distance;
        from += distance;
    } while (out < end);
}

/* May write up to 31 bytes behind the match. */
ALWAYS_INLINE void copy_match(uint8_t *out, unsigned len, unsigned distance)
{
    const uint8_t *from = out - distance, *end = out + len;

    if (LIKELY(distance >= 16)) {
        copy_16(out, from);
        copy_16(out + 16, from + 16);
        while (UNLIKELY(out + 32 < end)) {
            out += 32;
            from += 32;
            copy_16(out, from);
            copy_16(out + 16, from + 16);
        }
    } else if (distance >= 8) {
        do {
            copy_8(out, from);
            out += 8;
            from += 8;
        } while (out < end);
    } else {
        copy_near(out, end, distance);
    }
}

ALWAYS_INLINE void give_literal(uint8_t **out, uint32_t entry, struct cursor *at)
{
    use(at, entry);
    *(*out)++ = (uint8_t)huffman_value(entry);
}

/* What a turn ends with. */
ALWAYS_INLINE uint32_t look_ahead(const struct huffman *huffman, struct cursor *at)
{
    uint32_t entry = next_literal(huffman, at);

    fill(at);
    return entry;
}

/* Literals, the first of which `entry` may be; it is then what comes after them. True: so many that
 * it is the next turn's. */
ALWAYS_INLINE bool give_literals(const struct huffman *huffman, struct cursor *at, uint8_t **out,
                                 uint32_t *entry)
{
    if (!(*entry & HUFFMAN_LITERAL))
        return false;
    give_literal(out, *entry, at);
    *entry = next_literal(huffman, at);
    if (!(*entry & HUFFMAN_LITERAL))
        return false;
    give_literal(out, *entry, at);
    *entry = next_literal(huffman, at);
    if (!(*entry & HUFFMAN_LITERAL))
        return false;
    give_literal(out, *entry, at);
    *entry = look_ahead(huffman, at);
    return true;
}

ALWAYS_INLINE enum inflate_loop_stop run(struct inflate_loop *loop)
{
    const struct huffman *huffman = loop->huffman;
    const uint8_t *begin = loop->begin;
    const uint8_t *last_in = loop->in_end - INFLATE_LOOP_IN + 8; /* the first fill's */
    const uint8_t *last_out = loop->out_end - INFLATE_LOOP_OUT;
    struct cursor at = {loop->in, loop->bits, loop->n_bits};
    uint8_t *out = loop->out;
    enum inflate_loop_stop stop = INFLATE_LOOP_EDGE;
    uint32_t entry;

    fill(&at);
    entry = next_literal(huffman, &at);
    do {
        unsigned len, distance;

        if (give_literals(huffman, &at, &out, &entry))
            continue;
        if (UNLIKELY(entry & HUFFMAN_SPECIAL)) {
            if (entry & HUFFMAN_NAMES)
                entry = look_further(huffman->literals, entry, &at);
            if (entry & HUFFMAN_LITERAL) {
                give_literal(&out, entry, &at);
                entry = look_ahead(huffman, &at);
                continue;
            }
            if (entry & HUFFMAN_SPECIAL) {
                stop = entry & HUFFMAN_END ? INFLATE_LOOP_END : INFLATE_LOOP_BAD;
                use(&at, entry);
                break;
            }
        }
        len = take_value(&at, entry);
        entry = look_up(huffman->distances, HUFFMAN_DISTANCE_ROOT, &at);
        fill(&at);
        if (UNLIKELY(entry & HUFFMAN_SPECIAL)) {
            if (entry & HUFFMAN_NAMES)
                entry = look_further(huffman->distances, entry, &at);
            if (entry & HUFFMAN_SPECIAL) {
                stop = INFLATE_LOOP_BAD;
                break;
            }
        }
        distance = take_value(&at, entry);
        if (UNLIKELY(distance > (size_t)(out - begin))) {
            loop->match_len = len;
            loop->match_distance = distance;
            stop = INFLATE_LOOP_MATCH;
            break;
        }
        entry = look_ahead(huffman, &at);
        copy_match(out, len, distance);
        out += len;
    } while (LIKELY(at.in <= last_in && out <= last_out));
    loop->in = at.in;
    loop->n_bits = at.n_bits & 63;
    loop->bits = at.bits & ((UINT64_C(1) << loop->n_bits) - 1);
    loop->out = out;
    return stop;
}

#if defined(__x86_64__)
__attribute__((target("bmi,bmi2"))) static enum inflate_loop_stop run_bmi2(
    struct inflate_loop *loop)
{
    return run(loop);
}
#endif

enum inflate_loop_stop inflate_loop(struct inflate_loop *loop)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("bmi2"))
        return run_bmi2(loop);
#endif
    return run(loop);
}
