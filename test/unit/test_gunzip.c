/* SPDX-License-Identifier: Apache-2.0 */
#include "index/block.h"
#include "index/decoder.h"
#include "index/gunzip.h"
#include "index/zran.h"
#include "test/lib/decoded.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#define SPAN (64u << 10)
#ifdef __SANITIZE_ADDRESS__
#define LEN  (5 * SPAN) /* its memmove, which ISA-L lives by, takes a byte at a time */
#define MANY false
#else
#define LEN  (11 * SPAN)
#define MANY true
#endif

static struct fixture {
    struct bytes plain;
    struct decoded first, other; /* what came of a blob, in two ways */
    uint64_t span;
} f;

static void set_up(void)
{
    memset(&f, 0, sizeof(f));
    f.plain = packed_plain(LEN, 17);
    f.span = SPAN;
}

static void tear_down(void)
{
    bytes_free(&f.plain);
    decoded_free(&f.first);
    decoded_free(&f.other);
}

TestSuite(gunzip, .init = set_up, .fini = tear_down, .timeout = 300);

/* ---- what every blob has to stand */

static const enum inflate_backend backends[] = {INFLATE_CLIP, INFLATE_ISAL, INFLATE_ZLIB};
#define N_BACKENDS (sizeof(backends) / sizeof(backends[0]))

static struct decoder *open_decoder(enum inflate_backend backend, uint64_t span_size)
{
    struct decoder *decoder;

    cr_assert_eq(gunzip_new(backend, &decoder), 0);
    decoder->span_size = span_size;
    return decoder;
}

static void decode_by(enum inflate_backend backend, struct bytes blob, enum drip_how how,
                      size_t cap, struct decoded *out)
{
    decoded_free(out);
    decode(open_decoder(backend, f.span), blob, how, cap, out);
}

/* Decodes span i alone, from a copy of just the bytes that it takes. */
static void assert_resumes(enum inflate_backend backend, struct bytes blob, unsigned i)
{
    const struct checkpoint *at = &f.first.marks[i];
    size_t from = (size_t)at->in_bit / 8, len = decoded_in_end(&f.first, i, blob.len) - from;
    size_t out_len = (size_t)(decoded_span_end(&f.first, i) - at->out_off);
    uint8_t *in = malloc(len), *out = malloc(out_len + 1);
    struct clip_error err;
    int r;

    memcpy(in, blob.at + from, len);
    r = zran_decode_with(backend, CODEC_GZIP, at, in, len, out, out_len, &err);
    cr_assert_eq(r, 0, "span %u at bit %lu: %s", i, (unsigned long)at->in_bit, err.message);
    cr_assert_eq(memcmp(out, f.first.out.at + at->out_off, out_len), 0, "span %u", i);
    free(in);
    free(out);
}

static void assert_spans_are_bounded(void)
{
    for (unsigned i = 0; i < f.first.n_marks; i++)
        cr_assert_lt(decoded_span_end(&f.first, i) - f.first.marks[i].out_off, 2 * f.span);
}

/* By each inflater, however the bytes are cut: the same bytes and the same checkpoints, at each of
 * which each goes on. Takes the blob. */
static void assert_decodes_to(struct bytes blob, const void *plain, size_t len)
{
    static const size_t caps[] = {1u << 20, 4096, 100000};

    decode_by(INFLATE_ISAL, blob, DRIP_WHOLE, 1u << 20, &f.first);
    cr_assert(decoded_is(&f.first, plain, len), "%s", f.first.err.message);
    cr_assert_eq(f.first.in_off, blob.len);
    assert_spans_are_bounded();
    for (int how = 0; how < DRIP_HOWS; how++) {
        for (size_t b = 0; b < N_BACKENDS; b++) {
            decode_by(backends[b], blob, how, caps[how], &f.other);
            cr_assert(decoded_is(&f.other, plain, len), "cut %d, inflater %zu: %s", how, b,
                      f.other.err.message);
            cr_assert(decoded_has_same_marks(&f.first, &f.other), "cut %d, inflater %zu", how, b);
        }
    }
    for (unsigned i = 0; i < f.first.n_marks; i++)
        for (size_t b = 0; b < N_BACKENDS; b++)
            assert_resumes(backends[b], blob, i);
    bytes_free(&blob);
}

static void assert_is_plain(struct bytes blob)
{
    assert_decodes_to(blob, f.plain.at, f.plain.len);
}

static bool has_midblock(void)
{
    for (unsigned i = 0; i < f.first.n_marks; i++)
        if (f.first.marks[i].flags & CHECKPOINT_MIDBLOCK)
            return true;
    return false;
}

/* ---- encoders */

Test(gunzip, decodes_what_zlib_makes_at_every_level)
{
    for (int level = 0; level <= 9; level++)
        assert_is_plain(packed_gzip(f.plain.at, f.plain.len, (struct gzip_how){.level = level}));
}

Test(gunzip, decodes_what_zlib_makes_with_every_strategy)
{
    static const int strategies[] = {Z_FILTERED, Z_HUFFMAN_ONLY, Z_RLE, Z_FIXED};

    for (size_t i = 0; i < 4; i++)
        assert_is_plain(packed_gzip(f.plain.at, f.plain.len,
                                    (struct gzip_how){.level = 6, .strategy = strategies[i]}));
}

Test(gunzip, decodes_blocks_of_every_size)
{
    for (int mem_level = 1; mem_level <= 9; mem_level += 4)
        assert_is_plain(packed_gzip(f.plain.at, f.plain.len,
                                    (struct gzip_how){.level = 6, .mem_level = mem_level}));
}

Test(gunzip, decodes_streams_with_flushes)
{
    static const int flushes[] = {Z_SYNC_FLUSH, Z_FULL_FLUSH, Z_PARTIAL_FLUSH, Z_BLOCK};

    for (size_t i = 0; i < 4; i++)
        assert_is_plain(packed_gzip(
            f.plain.at, f.plain.len,
            (struct gzip_how){.level = 6, .flush = flushes[i], .flush_every = 777 + 5000 * i}));
}

Test(gunzip, decodes_what_isal_makes)
{
    for (int level = 0; level <= 3; level++) {
        struct bytes blob = packed_isal(f.plain.at, f.plain.len, level);

        if (blob.len)
            assert_is_plain(blob);
    }
}

static void assert_decodes_what(const char *command)
{
    struct bytes blob = packed_by(command, f.plain.at, f.plain.len);

    if (!blob.len) {
        bytes_free(&blob);
        cr_skip("there is no %s here", command);
    }
    assert_is_plain(blob);
}

Test(gunzip, decodes_what_gzip_makes)
{
    assert_decodes_what("gzip -c");
    assert_decodes_what("gzip -c1");
    assert_decodes_what("gzip -c9 --rsyncable");
}

Test(gunzip, decodes_what_pigz_makes)
{
    assert_decodes_what("pigz -c -p4");
    assert_decodes_what("pigz -c -i -p4 -b128");
    assert_decodes_what("pigz -c9 -R -p4");
    assert_decodes_what("pigz -c0");
}

Test(gunzip, decodes_what_zopfli_makes)
{
    f.plain.len = 5 * SPAN;
    assert_decodes_what("cat >/tmp/clip_zopfli.$$; zopfli --i1 -c /tmp/clip_zopfli.$$ "
                        "&& rm /tmp/clip_zopfli.$$");
}

Test(gunzip, decodes_what_bgzip_makes)
{
    assert_decodes_what("bgzip -c");
}

Test(gunzip, decodes_what_igzip_makes)
{
    assert_decodes_what("igzip -c -0");
    assert_decodes_what("igzip -c -3");
}

/* ---- members */

Test(gunzip, reads_every_field_of_a_header)
{
    for (unsigned flags = 0; flags < 32; flags++) {
        struct bytes data = packed_deflate(f.plain.at, 5000, (struct gzip_how){.level = 6});
        assert_decodes_to(packed_member((uint8_t)flags, data, f.plain.at, 5000), f.plain.at, 5000);
    }
}

Test(gunzip, begins_a_span_without_a_window_where_a_member_begins)
{
    struct bytes blob = {NULL, 0};

    for (size_t off = 0; off < f.plain.len; off += SPAN)
        bytes_join(&blob, packed_gzip(f.plain.at + off, SPAN, (struct gzip_how){.level = 6}));
    assert_is_plain(blob);
    cr_assert_eq(f.first.n_marks, LEN / SPAN);
    for (unsigned i = 0; i < f.first.n_marks; i++)
        cr_assert_eq(f.first.marks[i].flags, CHECKPOINT_FRESH);
}

Test(gunzip, decodes_many_small_members)
{
    struct bytes blob = {NULL, 0};

    for (size_t off = 0; off < f.plain.len; off += 1000) {
        size_t len = f.plain.len - off < 1000 ? f.plain.len - off : 1000;
        bytes_join(&blob, packed_gzip(f.plain.at + off, len, (struct gzip_how){.level = 1}));
        bytes_join(&blob, packed_gzip("", 0, (struct gzip_how){.level = 1}));
    }
    assert_is_plain(blob);
}

Test(gunzip, decodes_an_empty_member)
{
    assert_decodes_to(packed_gzip("", 0, (struct gzip_how){.level = 6}), "", 0);
    assert_decodes_to(packed_gzip("", 0, (struct gzip_how){.level = 0}), "", 0);
}

/* Input that gives nothing has to be fetched all the same: the span ends before that gets much. */
Test(gunzip, ends_a_span_that_is_only_empty_members)
{
    struct bytes blob = {NULL, 0}, thousand = packed_gzip("x", 1, (struct gzip_how){.level = 6});
    struct bytes empty = packed_gzip("", 0, (struct gzip_how){.level = 6});
    uint64_t longest = 0;

    for (size_t i = 1; i < 1000; i++)
        bytes_add(&thousand, empty.at, empty.len);
    for (size_t i = 0; i < 20; i++)
        bytes_add(&blob, thousand.at, thousand.len);
    bytes_free(&empty);
    bytes_free(&thousand);
    decode_by(INFLATE_ISAL, blob, DRIP_WHOLE, 4096, &f.first);
    cr_assert_eq(f.first.r, CODEC_END);
    cr_assert_eq(f.first.out.len, 20);
    for (unsigned i = 0; i < f.first.n_marks; i++) {
        uint64_t len = decoded_in_end(&f.first, i, blob.len) - f.first.marks[i].in_bit / 8;
        longest = len > longest ? len : longest;
    }
    cr_assert_leq(longest, 2 * SPAN + 100);
    bytes_free(&blob);
}

/* ---- blocks */

static void assert_member_decodes(struct bytes deflated, const void *plain, size_t len)
{
    assert_decodes_to(packed_member(0, deflated, plain, len), plain, len);
}

Test(gunzip, decodes_empty_blocks_of_every_kind)
{
    /* stored, fixed, fixed and final: 000 + padding, 0 0xffff; 010 0000000; 110 0000000 */
    static const uint8_t blocks[] = {0, 0, 0, 0xff, 0xff, 0x02, 0x0c, 0x00};
    struct bytes deflated = {NULL, 0};

    bytes_add(&deflated, blocks, sizeof(blocks));
    assert_member_decodes(deflated, "", 0);
}

Test(gunzip, cuts_a_huge_block_with_the_fixed_codes)
{
    assert_member_decodes(packed_fixed_block(f.plain.at, f.plain.len), f.plain.at, f.plain.len);
    cr_assert(has_midblock());
}

Test(gunzip, cuts_a_huge_block_of_zeros)
{
    memset(f.plain.at, 0, f.plain.len);
    assert_member_decodes(packed_fixed_block(f.plain.at, f.plain.len), f.plain.at, f.plain.len);
    cr_assert(has_midblock());
}

Test(gunzip, cuts_the_one_block_that_isal_makes)
{
    struct bytes blob = packed_isal(f.plain.at, f.plain.len, 0);

    if (!blob.len) {
        bytes_free(&blob);
        cr_skip("without ISA-L");
    }
    assert_is_plain(blob);
}

Test(gunzip, cuts_a_block_that_begins_in_any_bit_of_a_byte)
{
    for (unsigned n = 0; n < 8; n++) {
        struct bytes deflated = packed_deflate(f.plain.at, 100 + n * 37,
                                               (struct gzip_how){.level = 1, .strategy = Z_FIXED});
        size_t len = 100 + n * 37;
        /* another member, for what follows begins anew */
        struct bytes blob = packed_member(0, deflated, f.plain.at, len);

        bytes_join(&blob, packed_member(0, packed_fixed_block(f.plain.at + len, 300000),
                                        f.plain.at + len, 300000));
        assert_decodes_to(blob, f.plain.at, len + 300000);
        cr_assert(has_midblock());
    }
}

Test(gunzip, finds_a_checkpoint_in_every_span_of_any_size)
{
    struct bytes blob = packed_gzip(f.plain.at, f.plain.len, (struct gzip_how){.level = 6});

    for (uint64_t span = 1024; span <= 1u << 20; span *= 4) {
        decoded_free(&f.first);
        decode(open_decoder(INFLATE_ISAL, span), blob, DRIP_RANDOM, 50000, &f.first);
        cr_assert(decoded_is(&f.first, f.plain.at, f.plain.len), "%s", f.first.err.message);
        cr_assert_geq(f.first.n_marks, f.plain.len / span / 2);
        for (unsigned i = 0; i < f.first.n_marks * N_BACKENDS; i++)
            assert_resumes(backends[i % N_BACKENDS], blob, i / N_BACKENDS);
    }
    bytes_free(&blob);
}

/* ---- spans of many blocks */

#define LONG_SPAN (256u << 10)

static void make_long(size_t len)
{
    bytes_free(&f.plain);
    f.plain = packed_plain(len, 18);
    f.span = LONG_SPAN;
}

/* A block ended: is it where the span after mark m - 1 is full? Returns m, or the next. */
static unsigned check_end(unsigned m, uint64_t in_bit, uint64_t out_off)
{
    const struct checkpoint *marks = f.first.marks;

    for (; m < f.first.n_marks && marks[m].flags & CHECKPOINT_MIDBLOCK && marks[m].in_bit < in_bit;
         m++)
        cr_assert_geq(marks[m].out_off - marks[m - 1].out_off, f.span);
    if (out_off - marks[m - 1].out_off < f.span && (in_bit - marks[m - 1].in_bit) / 16 < f.span)
        return m;
    cr_assert_lt(m, f.first.n_marks, "none at bit %lu", (unsigned long)in_bit);
    cr_assert_eq(marks[m].in_bit, in_bit, "mark %u", m);
    cr_assert_eq(marks[m].out_off, out_off, "mark %u", m);
    return m + 1;
}

/* Of the one member of a blob with a plain header: checkpoints are at the first block that ends
 * behind a full span, as zlib says where blocks end. */
static void assert_marks_are_first_ends(struct bytes blob)
{
    z_stream z = {.next_in = blob.at + 10, .avail_in = (uInt)blob.len - 10};
    static uint8_t out[1 << 16];
    unsigned m = 1;
    int r;

    cr_assert_eq(inflateInit2(&z, -15), Z_OK);
    do {
        z.next_out = out;
        z.avail_out = sizeof(out);
        r = inflate(&z, Z_BLOCK);
        if (r == Z_OK && (z.data_type & 192) == 128)
            m = check_end(m, (z.total_in + 10) * 8 - (z.data_type & 7), z.total_out);
    } while (r == Z_OK);
    cr_assert_eq(r, Z_STREAM_END);
    inflateEnd(&z);
    while (m < f.first.n_marks && f.first.marks[m].flags & CHECKPOINT_MIDBLOCK)
        m++;
    cr_assert_eq(m, f.first.n_marks);
}

static void assert_blocks_decode(struct bytes blob, const void *plain, size_t len)
{
    struct bytes copy = {NULL, 0};

    bytes_add(&copy, blob.at, blob.len);
    assert_decodes_to(blob, plain, len);
    assert_marks_are_first_ends(copy);
    bytes_free(&copy);
}

Test(gunzip, marks_the_first_block_that_ends_behind_a_full_span)
{
    make_long(4 * LONG_SPAN);
    for (int mem_level = 1; mem_level <= 9; mem_level += 4)
        assert_blocks_decode(packed_gzip(f.plain.at, f.plain.len,
                                         (struct gzip_how){.level = 6, .mem_level = mem_level}),
                             f.plain.at, f.plain.len);
}

Test(gunzip, marks_stored_blocks_and_fixed_ones)
{
    make_long(3 * LONG_SPAN);
    assert_blocks_decode(packed_gzip(f.plain.at, f.plain.len, (struct gzip_how){.level = 0}),
                         f.plain.at, f.plain.len);
    assert_blocks_decode(
        packed_gzip(f.plain.at, f.plain.len, (struct gzip_how){.level = 1, .strategy = Z_FIXED}),
        f.plain.at, f.plain.len);
    assert_blocks_decode(
        packed_gzip(f.plain.at, f.plain.len,
                    (struct gzip_how){.level = 6, .flush = Z_SYNC_FLUSH, .flush_every = 5000}),
        f.plain.at, f.plain.len);
}

/* One that is not the last, of at most 65,535 bytes. */
static void add_stored_block(struct bytes *deflated, const uint8_t *plain, size_t len)
{
    struct bytes block = packed_deflate(plain, len, (struct gzip_how){.level = 0});

    block.at[0] &= 0xfe;
    bytes_join(deflated, block);
}

Test(gunzip, cuts_a_block_that_comes_after_others_and_does_not_end)
{
    const size_t stored = 60000;

    for (unsigned n = MANY ? 0 : 2; n < 3; n++) {
        struct bytes deflated = {NULL, 0};

        make_long(4 * LONG_SPAN);
        for (unsigned i = 0; i < n; i++)
            add_stored_block(&deflated, f.plain.at + i * stored, stored);
        bytes_join(&deflated,
                   packed_fixed_block(f.plain.at + n * stored, f.plain.len - n * stored));
        assert_blocks_decode(packed_member(0, deflated, f.plain.at, f.plain.len), f.plain.at,
                             f.plain.len);
        cr_assert(has_midblock());
    }
}

/* So many blocks that one decoding by each inflater has to do. */
Test(gunzip, goes_through_empty_blocks)
{
    /* four fixed ones, each of ten bits: 010 0000000 */
    static const uint8_t fixed[] = {0x02, 0x08, 0x20, 0x80, 0x00}, stored[] = {0, 0, 0, 0xff, 0xff};
    const size_t last = 1000;

    make_long(LONG_SPAN);
    for (unsigned i = 0; i < (MANY ? 2 : 1); i++) {
        struct bytes deflated = {NULL, 0}, blob;

        for (size_t n = 0; n < 2 * LONG_SPAN + 40000; n += sizeof(fixed))
            bytes_add(&deflated, i ? fixed : stored, sizeof(fixed));
        bytes_join(&deflated, packed_fixed_block(f.plain.at, last));
        blob = packed_member(0, deflated, f.plain.at, last);
        decode_by(INFLATE_ISAL, blob, DRIP_WHOLE, 4096, &f.first);
        cr_assert(decoded_is(&f.first, f.plain.at, last), "%s", f.first.err.message);
        for (size_t b = 0; b < N_BACKENDS; b++) {
            decode_by(backends[b], blob, DRIP_RANDOM, 4096, &f.other);
            cr_assert(decoded_has_same_marks(&f.first, &f.other), "inflater %zu", b);
        }
        cr_assert_gt(f.first.n_marks, 1);
        assert_marks_are_first_ends(blob);
        assert_resumes(backends[i], blob, f.first.n_marks - 1);
        bytes_free(&blob);
    }
}

/* ---- after the end */

Test(gunzip, goes_past_zeros_after_the_end)
{
    static const size_t lens[] = {1, 7, 8, 9, 511, 100000};

    for (size_t i = 0; i < 6; i++) {
        struct bytes blob = packed_gzip(f.plain.at, 20000, (struct gzip_how){.level = 6});
        uint8_t *zeros = calloc(1, lens[i]);

        bytes_add(&blob, zeros, lens[i]);
        free(zeros);
        assert_decodes_to(blob, f.plain.at, 20000);
    }
}

static void assert_refused(struct bytes blob, const char *why)
{
    for (size_t b = 0; b < N_BACKENDS; b++) {
        for (int how = 0; how < DRIP_HOWS; how++) {
            decode_by(backends[b], blob, how, 5000, &f.other);
            cr_assert_eq(f.other.r, CLIP_EFORMAT, "cut %d, inflater %zu: %d", how, b, f.other.r);
            cr_assert(strstr(f.other.err.message, why), "%s", f.other.err.message);
        }
    }
    bytes_free(&blob);
}

Test(gunzip, refuses_garbage_after_the_end)
{
    struct bytes blob = packed_gzip(f.plain.at, 3000, (struct gzip_how){.level = 6});
    struct bytes other = packed_gzip(f.plain.at, 3000, (struct gzip_how){.level = 6});

    bytes_add(&blob, "garbage", 7);
    assert_refused(blob, "garbage after the end of a member");
    bytes_add(&other, "\0\0\0garbage", 10);
    assert_refused(other, "garbage after the end of the last member");
}

/* ---- damage */

Test(gunzip, refuses_a_blob_that_is_cut_at_any_byte)
{
    struct bytes blob = packed_member(
        31, packed_deflate(f.plain.at, 30000, (struct gzip_how){.level = 6}), f.plain.at, 30000);

    for (size_t len = 0; len < blob.len; len++) {
        for (size_t b = 0; b < N_BACKENDS; b++) {
            decode_by(backends[b], (struct bytes){blob.at, len}, DRIP_WHOLE, 65536, &f.other);
            cr_assert_eq(f.other.r, CLIP_EFORMAT, "%zu of %zu bytes", len, blob.len);
            cr_assert(strstr(f.other.err.message, "ends inside a member"), "%s",
                      f.other.err.message);
        }
    }
    bytes_free(&blob);
}

/* But for the bits that pad a stored block or the last byte: they are nothing to anybody. */
Test(gunzip, refuses_a_blob_with_a_flipped_bit)
{
    struct bytes blob = packed_gzip(f.plain.at, 3000, (struct gzip_how){.level = 6});
    unsigned n_harmless = 0;

    for (size_t bit = 80; bit < blob.len * 8; bit++) {
        blob.at[bit / 8] ^= (uint8_t)(1 << bit % 8);
        for (size_t b = 0; b < N_BACKENDS; b++) {
            decode_by(backends[b], blob, DRIP_WHOLE, 65536, &f.other);
            if (decoded_is(&f.other, f.plain.at, 3000))
                n_harmless++;
            else
                cr_assert_eq(f.other.r, CLIP_EFORMAT, "bit %zu, inflater %zu", bit, b);
        }
        blob.at[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    cr_assert_leq(n_harmless, 2 * 12);
    bytes_free(&blob);
}

Test(gunzip, says_what_is_wrong_with_a_member)
{
    struct bytes blob = packed_gzip(f.plain.at, 3000, (struct gzip_how){.level = 6});
    struct bytes copy = {NULL, 0};

    bytes_add(&copy, blob.at, blob.len);
    copy.at[copy.len - 8] ^= 1;
    assert_refused(copy, "has CRC");
    copy = (struct bytes){NULL, 0};
    bytes_add(&copy, blob.at, blob.len);
    copy.at[copy.len - 4] ^= 1;
    assert_refused(copy, "bytes long (mod 2^32)");
    blob.at[3] = 0x20;
    assert_refused(blob, "unknown flags");
    blob = packed_member(2, packed_deflate("", 0, (struct gzip_how){.level = 6}), "", 0);
    blob.at[10] ^= 1;
    assert_refused(blob, "header has the wrong CRC");
}

/* ---- checkpoints that somebody else made up */

static int resume_with(const struct checkpoint *at, struct bytes in)
{
    struct decoder *decoder;
    int r = gunzip_resume(INFLATE_ISAL, at, &decoder);

    if (r < 0)
        return r;
    decoded_free(&f.other);
    decode(decoder, in, DRIP_WHOLE, 4096, &f.other);
    return f.other.r;
}

Test(gunzip, refuses_checkpoints_that_cannot_be)
{
    static const uint8_t zeros[400];
    struct checkpoint at = {.flags = CHECKPOINT_MIDBLOCK, .header = zeros, .header_bits = 10};
    struct bytes none = {NULL, 0};

    cr_assert_eq(resume_with(&at, none), -EBADMSG, "stored blocks have no middle");
    at.header = (const uint8_t *)"\3\0";
    at.header_bits = 4;
    cr_assert_eq(resume_with(&at, none), -EBADMSG, "more bits than the header has");
    at.header_bits = 3;
    at.header_bit = 8;
    cr_assert_eq(resume_with(&at, none), -EBADMSG, "no such bit of a byte");
    at.header_bit = 0;
    at.header = NULL;
    cr_assert_eq(resume_with(&at, none), -EBADMSG);
    at.header = zeros;
    at.header_bits = BLOCK_HEADER_MAX * 8 + 1;
    cr_assert_eq(resume_with(&at, none), -EBADMSG);
    at.header_bits = 0;
    cr_assert_eq(resume_with(&at, none), -EBADMSG, "no header");
    at = (struct checkpoint){.window = zeros, .window_len = CODEC_WINDOW_MAX + 1};
    cr_assert_eq(resume_with(&at, none), -EBADMSG, "a window that is too long");
}

Test(gunzip, goes_on_nowhere_without_a_fuss)
{
    struct bytes noise = packed_plain(50000, 3);
    uint64_t seed = 5;

    for (unsigned i = 0; i < 300; i++) {
        struct checkpoint at = {
            .in_bit = drip_random(&seed) % 4096,
            .window = noise.at,
            .window_len = (uint32_t)(drip_random(&seed) % CODEC_WINDOW_MAX),
            .flags = drip_random(&seed) % 2 ? CHECKPOINT_MIDBLOCK : 0,
            .header = (const uint8_t *)"\3",
            .header_bits = 3,
        };
        size_t off = (size_t)(drip_random(&seed) % 40000);
        int r = resume_with(&at, (struct bytes){noise.at + off, noise.len - off});

        cr_assert(r == CODEC_END || r == -EBADMSG);
    }
    bytes_free(&noise);
}
