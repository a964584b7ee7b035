/* SPDX-License-Identifier: Apache-2.0 */
#include "index/decoder.h"
#include "index/gunzip.h"
#include "index/zran.h"
#include "test/lib/decoded.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#define SPAN (64u << 10)
#define LEN  (1u << 20)

static struct fixture {
    uint8_t window[CODEC_WINDOW_MAX];
    uint8_t unpacked[CODEC_WINDOW_MAX];
    uint8_t packed[CODEC_WINDOW_MAX + 4096];
    size_t packed_len;
    struct zran_packer *packer;
    struct bytes plain, blob;
    struct decoded decoded;
    struct clip_error err;
} f;

static void set_up(void)
{
    memset(&f, 0, sizeof(f));
    f.plain = packed_plain(LEN, 5);
    cr_assert_eq(zran_packer_new(&f.packer), 0);
}

static void tear_down(void)
{
    zran_packer_free(f.packer);
    bytes_free(&f.plain);
    bytes_free(&f.blob);
    decoded_free(&f.decoded);
}

TestSuite(zran, .init = set_up, .fini = tear_down, .timeout = 300);

/* ---- the stored form of windows */

/* Returns the packed length. */
static size_t assert_packs(uint32_t len)
{
    const uint8_t *packed;

    f.packed_len = zran_pack(f.packer, f.window, len, &packed);
    cr_assert_gt(f.packed_len, 0);
    cr_assert_leq(f.packed_len, len + 1);
    memcpy(f.packed, packed, f.packed_len);
    memset(f.unpacked, 0xee, sizeof(f.unpacked));
    cr_assert_eq(zran_unpack(f.packed, f.packed_len, f.unpacked), (int)len);
    cr_assert_eq(memcmp(f.unpacked, f.window, len), 0);
    return f.packed_len;
}

Test(zran, packs_windows_of_every_sort)
{
    static const uint32_t lens[] = {0, 1, 2, 3, 5, 100, 4096, 32767, CODEC_WINDOW_MAX};

    for (size_t i = 0; i < 9; i++) {
        memset(f.window, 0, sizeof(f.window));
        assert_packs(lens[i]);
        memset(f.window, 0xff, sizeof(f.window));
        assert_packs(lens[i]);
        memcpy(f.window, f.plain.at, sizeof(f.window));
        assert_packs(lens[i]);
    }
}

Test(zran, packs_holes_of_every_length)
{
    for (uint32_t hole = 1; hole < 300; hole++) {
        memset(f.window, 0, sizeof(f.window));
        for (uint32_t i = 0; i < CODEC_WINDOW_MAX; i += hole + 1)
            f.window[i] = (uint8_t)(i | 1);
        assert_packs(CODEC_WINDOW_MAX);
    }
}

Test(zran, packs_noise_with_holes_anywhere)
{
    uint64_t seed = 9;

    for (unsigned round = 0; round < 100; round++) {
        for (size_t i = 0; i < sizeof(f.window);) {
            size_t run = 1 + drip_random(&seed) % 600;
            bool hole = drip_random(&seed) % 2;

            for (; run-- && i < sizeof(f.window); i++)
                f.window[i] = hole ? 0 : (uint8_t)drip_random(&seed);
        }
        assert_packs((uint32_t)(1 + drip_random(&seed) % CODEC_WINDOW_MAX));
    }
}

Test(zran, makes_a_window_of_a_few_bytes_small)
{
    memcpy(f.window + 1000, "usr/share/doc", 13);
    memcpy(f.window + 30000, "0000644", 7);
    cr_assert_lt(assert_packs(CODEC_WINDOW_MAX), 60);
}

static int unpack(const void *bytes, size_t len)
{
    uint8_t *exact = calloc(1, len + 1);
    int r;

    memcpy(exact, bytes, len);
    r = zran_unpack(exact, len, f.unpacked);
    free(exact);
    return r;
}

/* The form of runs, made by hand. */
static int unpack_runs(const void *plain, size_t len)
{
    uint8_t packed[4096];

    packed[0] = 1;
    return unpack(packed, 1 + ZSTD_compress(packed + 1, sizeof(packed) - 1, plain, len, 1));
}

Test(zran, refuses_a_packed_window_that_it_did_not_make)
{
    uint8_t raw[CODEC_WINDOW_MAX + 2] = {0};

    cr_assert_eq(unpack("", 0), -EBADMSG);
    cr_assert_eq(unpack("\2abc", 4), -EBADMSG, "no such method");
    cr_assert_eq(unpack("\1", 1), -EBADMSG);
    cr_assert_eq(unpack("\1abc", 4), -EBADMSG, "no zstd");
    cr_assert_eq(unpack(raw, sizeof(raw)), -EBADMSG, "too long");
    cr_assert_eq(unpack(raw, sizeof(raw) - 1), CODEC_WINDOW_MAX);
}

Test(zran, refuses_runs_that_do_not_add_up)
{
    cr_assert_eq(unpack_runs("", 0), -EBADMSG);
    cr_assert_eq(unpack_runs("\0", 1), -EBADMSG);
    cr_assert_eq(unpack_runs("\0\0", 2), 0);
    cr_assert_eq(unpack_runs("\0\0x", 3), -EBADMSG, "a byte too many");
    cr_assert_eq(unpack_runs("\1\0\3\2xy", 6), 5);
    cr_assert_eq(unpack_runs("\1\0\3\2x", 5), -EBADMSG, "a byte too few");
    cr_assert_eq(unpack_runs("\2\0\3\2xy", 6), -EBADMSG, "a run too few");
    cr_assert_eq(unpack_runs("\377\377\3\2xy", 6), -EBADMSG);
    cr_assert_eq(unpack_runs("\1\0\x80\x80\2\0", 6), CODEC_WINDOW_MAX, "all of it a hole");
    cr_assert_eq(unpack_runs("\1\0\x81\x80\2\0", 6), -EBADMSG, "more than a window");
    cr_assert_eq(unpack_runs("\1\0\xff\xff\xff\xff\x7f\0", 8), -EBADMSG);
    cr_assert_eq(unpack_runs("\1\0\0\xff\xff\xff\xff\x7f", 8), -EBADMSG);
    cr_assert_eq(unpack_runs("\1\0\xff\xff\xff\xff\xff\xff\xff\0\0", 11), -EBADMSG);
    cr_assert_eq(unpack_runs("\1\0\3\x82", 4), -EBADMSG, "a number that is cut");
}

Test(zran, survives_a_packed_window_with_any_bit_flipped_or_cut)
{
    memcpy(f.window + 9000, f.plain.at, 2000);
    assert_packs(CODEC_WINDOW_MAX);
    for (size_t bit = 0; bit < f.packed_len * 8; bit++) {
        f.packed[bit / 8] ^= (uint8_t)(1 << bit % 8);
        cr_assert_leq(unpack(f.packed, f.packed_len), (int)CODEC_WINDOW_MAX);
        f.packed[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    for (size_t len = 0; len < f.packed_len; len++)
        cr_assert_eq(unpack(f.packed, len), -EBADMSG);
}

/* ---- reducing them */

static void decode_blob(struct bytes blob)
{
    struct decoder *decoder;

    f.blob = blob;
    cr_assert_eq(gunzip_new(inflate_default(), &decoder), 0);
    decoder->span_size = SPAN;
    decode(decoder, f.blob, DRIP_WHOLE, 1u << 20, &f.decoded);
    cr_assert(decoded_is(&f.decoded, f.plain.at, f.plain.len));
    cr_assert_geq(f.decoded.n_marks, 6);
}

static void decode_plain(struct gzip_how how)
{
    decode_blob(packed_gzip(f.plain.at, f.plain.len, how));
}

static const uint8_t *span_input(unsigned i, size_t *out_len)
{
    size_t off = (size_t)f.decoded.marks[i].in_bit / 8;

    *out_len = decoded_in_end(&f.decoded, i, f.blob.len) - off;
    return f.blob.at + off;
}

static int reduce(unsigned i, size_t in_max)
{
    const struct checkpoint *at = &f.decoded.marks[i];
    size_t in_len;
    const uint8_t *in = span_input(i, &in_len);

    memcpy(f.window, at->window, at->window_len);
    return zran_reduce(at, in, in_len < in_max ? in_len : in_max,
                       decoded_span_end(&f.decoded, i) - at->out_off, f.window, at->window_len);
}

static void assert_decodes_with_window(unsigned i, uint32_t window_len)
{
    struct checkpoint at = f.decoded.marks[i];
    size_t in_len, out_len = (size_t)(decoded_span_end(&f.decoded, i) - at.out_off);
    const uint8_t *in = span_input(i, &in_len);
    uint8_t *out = malloc(out_len);

    at.window = f.window;
    at.window_len = window_len;
    for (int b = 0; b < 2; b++) {
        cr_assert_eq(zran_decode_with(b, CODEC_GZIP, &at, in, in_len, out, out_len, &f.err), 0,
                     "%s", f.err.message);
        cr_assert_eq(memcmp(out, f.plain.at + at.out_off, out_len), 0);
    }
    free(out);
}

static size_t n_used(uint32_t len)
{
    size_t n = 0;

    for (uint32_t i = 0; i < len; i++)
        n += f.window[i] != 0;
    return n;
}

Test(zran, reduces_windows_to_what_their_spans_use)
{
    size_t all = 0, used = 0;

    decode_plain((struct gzip_how){.level = 6});
    for (unsigned i = 1; i < f.decoded.n_marks; i++) {
        int r = reduce(i, SIZE_MAX);

        cr_assert_geq(r, 0);
        cr_assert_leq(r, (int)f.decoded.marks[i].window_len);
        cr_assert(r == 0 || f.window[0] || n_used((uint32_t)r) < (size_t)r);
        assert_decodes_with_window(i, (uint32_t)r);
        all += f.decoded.marks[i].window_len;
        used += n_used((uint32_t)r);
    }
    cr_assert_lt(used, all / 2);
}

Test(zran, reduces_windows_of_spans_that_begin_inside_a_block)
{
    decode_blob(
        packed_member(0, packed_fixed_block(f.plain.at, f.plain.len), f.plain.at, f.plain.len));
    cr_assert_eq(f.decoded.marks[1].flags, CHECKPOINT_MIDBLOCK);
    for (unsigned i = 1; i < f.decoded.n_marks; i++) {
        int r = reduce(i, SIZE_MAX);

        cr_assert_geq(r, 0);
        assert_decodes_with_window(i, (uint32_t)r);
    }
}

Test(zran, needs_no_window_where_nothing_looks_back)
{
    decode_plain((struct gzip_how){.level = 0});
    for (unsigned i = 1; i < f.decoded.n_marks; i++)
        cr_assert_eq(reduce(i, SIZE_MAX), 0);
}

Test(zran, needs_no_window_where_a_member_begins)
{
    const struct checkpoint fresh = {
        .flags = CHECKPOINT_FRESH, .window = f.window, .window_len = 100};

    memset(f.window, 1, sizeof(f.window));
    f.blob = packed_gzip(f.plain.at, f.plain.len, (struct gzip_how){.level = 6});
    cr_assert_eq(zran_reduce(&fresh, f.blob.at, f.blob.len, SPAN, f.window, 100), 0);
}

Test(zran, keeps_a_window_whole_that_it_cannot_know)
{
    decode_plain((struct gzip_how){.level = 6});
    cr_assert_eq(reduce(3, 10), -ENODATA);
    cr_assert_eq(memcmp(f.window, f.decoded.marks[3].window, f.decoded.marks[3].window_len), 0);
}

/* By any cut of the bytes. */
static void assert_watches_what_is_used(enum drip_how how, size_t cap)
{
    struct decoder *decoder;
    unsigned n_watched = 0;

    decoded_free(&f.decoded);
    cr_assert_eq(gunzip_new(INFLATE_CLIP, &decoder), 0);
    decoder->span_size = SPAN;
    decode(decoder, f.blob, how, cap, &f.decoded);
    for (unsigned i = 0; i < f.decoded.n_marks; i++) {
        const struct checkpoint *at = &f.decoded.marks[i];
        uint8_t window[CODEC_WINDOW_MAX];
        int r;

        cr_assert_eq(at->watched, at->window_len > 0);
        if (!at->watched)
            continue;
        r = reduce(i, SIZE_MAX);
        memcpy(window, at->window, at->window_len);
        cr_assert_eq(zran_keep(f.decoded.used[i], window, at->window_len), (uint32_t)r);
        cr_assert_eq(memcmp(window, f.window, (size_t)r), 0);
        n_watched++;
    }
    cr_assert_gt(n_watched, 0);
}

static void assert_watches_blob(struct bytes blob)
{
    bytes_free(&f.blob);
    f.blob = blob;
    for (enum drip_how how = DRIP_WHOLE; how <= DRIP_RANDOM; how++) {
        assert_watches_what_is_used(how, 1000);
        assert_watches_what_is_used(how, 1u << 20);
    }
}

Test(zran, sees_what_is_used_as_a_second_decoding_does)
{
    struct bytes members = packed_gzip(f.plain.at, SPAN + 5000, (struct gzip_how){.level = 6});

    assert_watches_blob(packed_gzip(f.plain.at, f.plain.len, (struct gzip_how){.level = 6}));
    assert_watches_blob(
        packed_member(0, packed_fixed_block(f.plain.at, f.plain.len), f.plain.at, f.plain.len));
    /* what follows the checkpoint is less than a window, then a member that cannot look back */
    bytes_join(&members, packed_gzip(f.plain.at, 2 * SPAN + 100, (struct gzip_how){.level = 6}));
    assert_watches_blob(members);
}

/* ---- decoding */

Test(zran, says_that_a_span_ends_early)
{
    uint8_t *out = malloc(LEN);
    const uint8_t *in;
    size_t in_len;

    decode_plain((struct gzip_how){.level = 6});
    in = span_input(2, &in_len);
    cr_assert_eq(
        zran_decode(CODEC_GZIP, &f.decoded.marks[2], in, in_len / 2, out, 3 * SPAN, &f.err),
        -EBADMSG);
    cr_assert(strstr(f.err.message, "the span ends after"), "%s", f.err.message);
    free(out);
}

Test(zran, decodes_a_plain_tar_and_goes_over_members)
{
    const struct checkpoint fresh = {.flags = CHECKPOINT_FRESH};
    uint8_t out[6000];

    cr_assert_eq(zran_decode(CODEC_TAR, &fresh, f.plain.at, 6000, out, 6000, &f.err), 0);
    cr_assert_eq(memcmp(out, f.plain.at, 6000), 0);
    f.blob = packed_gzip(f.plain.at, 2000, (struct gzip_how){.level = 6});
    bytes_join(&f.blob, packed_gzip(f.plain.at + 2000, 4000, (struct gzip_how){.level = 1}));
    memset(out, 0, sizeof(out));
    cr_assert_eq(zran_decode(CODEC_GZIP, &fresh, f.blob.at, f.blob.len, out, 6000, &f.err), 0);
    cr_assert_eq(memcmp(out, f.plain.at, 6000), 0);
}
