/* SPDX-License-Identifier: Apache-2.0 */
#include "index/decoder.h"
#include "index/unzstd.h"
#include "index/zran.h"
#include "test/lib/decoded.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#define SPAN      (64u << 10)
#define LEN       (900u << 10)
#define BLOCK_MAX (128u << 10)

static struct fixture {
    struct bytes plain;
    struct decoded first, other; /* what came of a blob, in two ways */
    struct clip_error err;
} f;

static void set_up(void)
{
    memset(&f, 0, sizeof(f));
    f.plain = packed_plain(LEN, 23);
}

static void tear_down(void)
{
    bytes_free(&f.plain);
    decoded_free(&f.first);
    decoded_free(&f.other);
}

TestSuite(unzstd, .init = set_up, .fini = tear_down, .timeout = 300);

static void decode_as(struct bytes blob, enum drip_how how, size_t cap, struct decoded *out)
{
    struct decoder *decoder;

    cr_assert_eq(unzstd_new(&decoder), 0);
    decoder->span_size = SPAN;
    decoded_free(out);
    decode(decoder, blob, how, cap, out);
}

static uint64_t out_len_of(unsigned i)
{
    return decoded_span_end(&f.first, i) - f.first.marks[i].out_off;
}

/* A copy of just the bytes that span i takes. */
static struct bytes input_of(struct bytes blob, unsigned i)
{
    size_t off = (size_t)f.first.marks[i].in_bit / 8;
    struct bytes in = {NULL, 0};

    bytes_add(&in, blob.at + off, decoded_in_end(&f.first, i, blob.len) - off);
    return in;
}

static bool is_chained(unsigned i)
{
    return i < f.first.n_marks && f.first.marks[i].flags == CHECKPOINT_CHAINED;
}

/* From span i, which is FRESH, through those that are chained to it; returns the next. */
static unsigned assert_chain_decodes(struct bytes blob, unsigned i)
{
    struct decoder *decoder;

    cr_assert_eq(f.first.marks[i].flags, CHECKPOINT_FRESH);
    cr_assert_eq(zran_open(CODEC_ZSTD, &f.first.marks[i], &decoder), 0);
    do {
        struct bytes in = input_of(blob, i);
        uint8_t *out = malloc(out_len_of(i) + 1);

        decoder_feed(decoder, in.at, in.len);
        cr_assert_eq(zran_take(decoder, out, out_len_of(i), &f.err), 0, "span %u: %s", i,
                     f.err.message);
        cr_assert_eq(memcmp(out, f.first.out.at + f.first.marks[i].out_off, out_len_of(i)), 0);
        if (is_chained(i + 1))
            cr_assert_eq(decoder_in_off(decoder) * 8, f.first.marks[i + 1].in_bit);
        free(out);
        bytes_free(&in);
        i++;
    } while (is_chained(i));
    decoder_free(decoder);
    return i;
}

/* However the bytes are cut: the same bytes and the same checkpoints; and each chain decodes from
 * its own bytes alone. Takes the blob. */
static void assert_decodes_to(struct bytes blob, const void *plain, size_t len)
{
    static const size_t caps[] = {1u << 20, 4096, 70000};

    decode_as(blob, DRIP_WHOLE, 1u << 20, &f.first);
    cr_assert(decoded_is(&f.first, plain, len), "%s", f.first.err.message);
    cr_assert_eq(f.first.in_off, blob.len);
    for (int how = 0; how < DRIP_HOWS; how++) {
        decode_as(blob, how, caps[how], &f.other);
        cr_assert(decoded_is(&f.other, plain, len), "cut %d: %s", how, f.other.err.message);
        cr_assert(decoded_has_same_marks(&f.first, &f.other), "cut %d", how);
    }
    for (unsigned i = 0; i < f.first.n_marks;) {
        cr_assert_leq(out_len_of(i), SPAN + BLOCK_MAX);
        i = assert_chain_decodes(blob, i);
    }
    bytes_free(&blob);
}

static void assert_is_plain(struct bytes blob)
{
    assert_decodes_to(blob, f.plain.at, f.plain.len);
}

/* ---- frames */

Test(unzstd, decodes_every_level)
{
    static const int levels[] = {-5, 1, 2, 3, 4, 9, 13, 19};

    for (size_t i = 0; i < 8; i++)
        assert_is_plain(packed_zstd(f.plain.at, f.plain.len, levels[i], 0));
}

Test(unzstd, decodes_windows_of_every_size)
{
    for (int log = 10; log <= UNZSTD_WINDOW_LOG; log += 4)
        assert_is_plain(packed_zstd(f.plain.at, f.plain.len, 3, log));
    assert_is_plain(packed_zstd(f.plain.at, f.plain.len, 3, UNZSTD_WINDOW_LOG));
}

Test(unzstd, cuts_a_large_frame_into_a_chain)
{
    assert_is_plain(packed_zstd(f.plain.at, f.plain.len, 3, 0));
    cr_assert_geq(f.first.n_marks, 5);
    cr_assert_eq(f.first.marks[0].flags, CHECKPOINT_FRESH);
    for (unsigned i = 1; i < f.first.n_marks; i++) {
        cr_assert(is_chained(i));
        cr_assert_eq(f.first.marks[i].in_bit % 8, 0);
        cr_assert_geq(out_len_of(i - 1), SPAN);
    }
}

Test(unzstd, decodes_blocks_of_one_byte_and_of_noise)
{
    uint64_t seed = 3;

    memset(f.plain.at, 'x', f.plain.len / 2);
    for (size_t i = f.plain.len / 2; i < f.plain.len; i++)
        f.plain.at[i] = (uint8_t)drip_random(&seed);
    assert_is_plain(packed_zstd(f.plain.at, f.plain.len, 3, 0));
}

Test(unzstd, decodes_what_programs_make)
{
    static const char *const commands[] = {"zstd -c -3", "zstd -c -1 --no-check",
                                           "zstd -c --rsyncable -T2", "pzstd -c -p2",
                                           "zstd -c --long=27 -3"};

    for (size_t i = 0; i < 5; i++) {
        struct bytes blob = packed_by(commands[i], f.plain.at, f.plain.len);

        if (blob.len)
            assert_is_plain(blob);
        else
            bytes_free(&blob);
    }
}

static struct bytes in_frames(size_t len, size_t gap)
{
    struct bytes blob = {NULL, 0};

    for (size_t off = 0; off < f.plain.len; off += len) {
        size_t n = f.plain.len - off < len ? f.plain.len - off : len;

        bytes_join(&blob, packed_zstd(f.plain.at + off, n, 3, 0));
        if (gap)
            bytes_join(&blob, packed_skippable(gap - 1));
    }
    return blob;
}

Test(unzstd, begins_a_span_where_a_frame_begins)
{
    assert_is_plain(in_frames(SPAN, 0));
    cr_assert_eq(f.first.n_marks, (LEN + SPAN - 1) / SPAN);
    for (unsigned i = 0; i < f.first.n_marks; i++)
        cr_assert_eq(f.first.marks[i].flags, CHECKPOINT_FRESH);
}

Test(unzstd, gathers_small_frames_in_a_span)
{
    assert_is_plain(in_frames(1000, 0));
    cr_assert_leq(f.first.n_marks, LEN / SPAN + 1);
    for (unsigned i = 0; i < f.first.n_marks; i++)
        cr_assert_eq(f.first.marks[i].flags, CHECKPOINT_FRESH);
}

/* Else all frames would hang together, because none begins where a span is just full. */
Test(unzstd, ends_a_chain_with_its_frame)
{
    unsigned n_fresh = 0;

    assert_is_plain(in_frames(3 * SPAN, 0));
    for (unsigned i = 0; i < f.first.n_marks; i++)
        n_fresh += !is_chained(i);
    cr_assert_eq(n_fresh, (LEN + 3 * SPAN - 1) / (3 * SPAN));
}

Test(unzstd, goes_past_skippable_frames)
{
    assert_is_plain(in_frames(10000, 1));
    assert_is_plain(in_frames(SPAN, 100));
    assert_is_plain(in_frames(SPAN + 1, 5000));
}

Test(unzstd, begins_with_a_skippable_frame_as_pzstd_does)
{
    struct bytes blob = packed_skippable(4);

    bytes_join(&blob, packed_zstd(f.plain.at, f.plain.len, 3, 0));
    assert_is_plain(blob);
    cr_assert_eq(f.first.marks[0].in_bit, 0);
}

Test(unzstd, does_not_fetch_a_large_skippable_frame_with_a_span)
{
    struct bytes blob = packed_zstd(f.plain.at, 1000, 3, 0);
    size_t len = blob.len;

    bytes_join(&blob, packed_skippable(10 * SPAN));
    bytes_join(&blob, packed_zstd(f.plain.at + 1000, 1000, 3, 0));
    assert_decodes_to(blob, f.plain.at, 2000);
    cr_assert_eq(f.first.n_marks, 3);
    cr_assert_eq(f.first.marks[1].in_bit, len * 8);
    cr_assert_eq(f.first.marks[1].out_off, 1000);
    cr_assert_eq(f.first.marks[2].out_off, 1000, "the one before is empty and will not be kept");
}

Test(unzstd, decodes_frames_without_content)
{
    struct bytes blob = packed_zstd("", 0, 3, 0);

    bytes_join(&blob, packed_zstd("", 0, 4, 0));
    assert_decodes_to(blob, "", 0);
    assert_decodes_to(packed_skippable(0), "", 0);
}

/* ---- what it refuses */

static void assert_refused(struct bytes blob, int status, const char *why)
{
    for (int how = 0; how < DRIP_HOWS; how++) {
        decode_as(blob, how, 5000, &f.other);
        cr_assert_eq(f.other.r, status, "cut %d: %d", how, f.other.r);
        cr_assert(strstr(f.other.err.message, why), "%s", f.other.err.message);
    }
    bytes_free(&blob);
}

Test(unzstd, says_how_large_a_window_may_be)
{
    struct bytes blob = {NULL, 0};

    bytes_add(&blob, "\x28\xb5\x2f\xfd\0\x90\1\0\0", 9); /* 2^28 */
    assert_refused(blob, -EOPNOTSUPP, "more than 128 MiB: compress it with --long=27 or less");
}

Test(unzstd, refuses_a_blob_that_is_cut_at_any_byte)
{
    struct bytes blob = packed_zstd(f.plain.at, 30000, 3, 0);

    bytes_join(&blob, packed_skippable(10));
    for (size_t len = 0; len < blob.len; len++) {
        if (len == blob.len - 18)
            continue; /* between the frames */
        decode_as((struct bytes){blob.at, len}, DRIP_WHOLE, 65536, &f.other);
        cr_assert_eq(f.other.r, CLIP_EFORMAT, "%zu of %zu bytes", len, blob.len);
        cr_assert(strstr(f.other.err.message, "ends inside a frame"), "%s", f.other.err.message);
    }
    bytes_free(&blob);
}

Test(unzstd, refuses_a_blob_with_a_flipped_bit)
{
    struct bytes blob = packed_zstd(f.plain.at, 3000, 3, 0);

    for (size_t bit = 0; bit < blob.len * 8; bit++) {
        blob.at[bit / 8] ^= (uint8_t)(1 << bit % 8);
        decode_as(blob, DRIP_WHOLE, 65536, &f.other);
        cr_assert(f.other.r < 0 || decoded_is(&f.other, f.plain.at, 3000), "bit %zu", bit);
        blob.at[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    bytes_free(&blob);
}

Test(unzstd, names_the_frame_that_is_wrong)
{
    struct bytes blob = packed_zstd(f.plain.at, 3000, 3, 0), more;

    cr_assert_eq(blob.at[4] & 4, 4, "it has a checksum");
    more = packed_skippable(3);
    bytes_join(&more, (struct bytes){blob.at, blob.len});
    more.at[more.len - 1] ^= 1;
    assert_refused(more, CLIP_EFORMAT, "the frame at byte 11 is bad near byte");
    blob = packed_zstd(f.plain.at, 3000, 3, 0);
    bytes_add(&blob, "garbage", 7);
    assert_refused(blob, CLIP_EFORMAT, "no frame at byte");
    blob = (struct bytes){NULL, 0};
    bytes_add(&blob, "\x28\xb5\x2f\xfd\x20\1\7\0\0", 9); /* a block of the reserved kind */
    assert_refused(blob, CLIP_EFORMAT, "the frame at byte 0 is bad");
    blob = (struct bytes){NULL, 0};
    bytes_add(&blob, "\x28\xb5\x2f\xfd\x21\x05\1\1\0\0", 10);
    assert_refused(blob, CLIP_EFORMAT, "ictionary");
}
