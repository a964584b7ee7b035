/* SPDX-License-Identifier: Apache-2.0 */
#include "index/codec.h"
#include "test/lib/decoded.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#define HEAD_LEN 512u

static struct fixture {
    uint8_t head[HEAD_LEN];
    struct bytes plain;
    struct decoded first, other;
} f;

static void set_up(void)
{
    memset(&f, 0, sizeof(f));
}

static void tear_down(void)
{
    bytes_free(&f.plain);
    decoded_free(&f.first);
    decoded_free(&f.other);
}

TestSuite(codec, .init = set_up, .fini = tear_down, .timeout = 300);

/* -1: none. The bytes are a piece of memory of their own. */
static int detect(const void *head, size_t len)
{
    enum codec codec = CODEC_TAR;
    uint8_t *exact = malloc(len ? len : 1);
    int r;

    memcpy(exact, head, len);
    r = codec_detect(exact, len, &codec);
    free(exact);
    cr_assert(r == 0 || r == -EBADMSG);
    return r < 0 ? -1 : (int)codec;
}

static void tar_head(const char *name, const char *magic)
{
    unsigned sum = 0;

    memset(f.head, 0, sizeof(f.head));
    strcpy((char *)f.head, name);
    memcpy(f.head + 100, "0000644", 7);
    memcpy(f.head + 257, magic, strlen(magic));
    memset(f.head + 148, ' ', 8);
    for (size_t i = 0; i < HEAD_LEN; i++)
        sum += f.head[i];
    for (size_t i = 6; i--; sum /= 8)
        f.head[148 + i] = (uint8_t)('0' + sum % 8);
    f.head[154] = 0;
}

Test(codec, knows_gzip_and_zstd_by_their_first_bytes)
{
    cr_assert_eq(detect("\x1f\x8b\x08", 3), CODEC_GZIP);
    cr_assert_eq(detect("\x1f\x8b\x07", 3), -1);
    cr_assert_eq(detect("\x1f\x8b", 2), -1);
    cr_assert_eq(detect("\x28\xb5\x2f\xfd", 4), CODEC_ZSTD);
    cr_assert_eq(detect("\x28\xb5\x2f", 3), -1);
    for (int i = 0; i < 16; i++) {
        const uint8_t skippable[] = {(uint8_t)(0x50 + i), 0x2a, 0x4d, 0x18};
        cr_assert_eq(detect(skippable, 4), CODEC_ZSTD);
    }
    cr_assert_eq(detect("\x4f\x2a\x4d\x18", 4), -1);
}

Test(codec, knows_tar_by_magic_or_checksum)
{
    tar_head("etc/passwd", "ustar");
    cr_assert_eq(detect(f.head, HEAD_LEN), CODEC_TAR);
    f.head[0] ^= 1;
    cr_assert_eq(detect(f.head, HEAD_LEN), CODEC_TAR, "the magic is enough");
    tar_head("old/v7", "");
    cr_assert_eq(detect(f.head, HEAD_LEN), CODEC_TAR);
    f.head[0] ^= 1;
    cr_assert_eq(detect(f.head, HEAD_LEN), -1);
}

Test(codec, knows_an_empty_tar)
{
    cr_assert_eq(detect("", 0), CODEC_TAR);
    cr_assert_eq(detect(f.head, HEAD_LEN), CODEC_TAR);
    cr_assert_eq(detect(f.head, 100), CODEC_TAR);
    f.head[99] = 1;
    cr_assert_eq(detect(f.head, 100), -1);
    cr_assert_eq(detect(f.head, HEAD_LEN), -1);
}

Test(codec, refuses_what_is_none_of_them)
{
    cr_assert_eq(detect("PK\3\4", 4), -1);
    cr_assert_eq(detect("BZh9", 4), -1);
    cr_assert_eq(detect("\xfd"
                        "7zXZ",
                        6),
                 -1);
    memset(f.head, ' ', HEAD_LEN);
    cr_assert_eq(detect(f.head, HEAD_LEN), -1);
    memset(f.head, '7', HEAD_LEN);
    cr_assert_eq(detect(f.head, HEAD_LEN), -1);
}

Test(codec, has_names)
{
    cr_assert_str_eq(codec_name(CODEC_TAR), "tar");
    cr_assert_str_eq(codec_name(CODEC_GZIP), "gzip");
    cr_assert_str_eq(codec_name(CODEC_ZSTD), "zstd");
}

static void decode_as(enum codec codec, struct bytes blob, enum drip_how how, struct decoded *out)
{
    struct decoder *decoder;

    cr_assert_eq(decoder_new(codec, 1000, &decoder), 0);
    decode(decoder, blob, how, 333, out);
}

Test(codec, cuts_a_plain_tar_where_it_likes)
{
    f.plain = packed_plain(4500, 1);
    decode_as(CODEC_TAR, f.plain, DRIP_WHOLE, &f.first);
    cr_assert(decoded_is(&f.first, f.plain.at, f.plain.len));
    cr_assert_eq(f.first.n_marks, 5);
    for (unsigned i = 0; i < 5; i++) {
        cr_assert_eq(f.first.marks[i].out_off, 1000 * i);
        cr_assert_eq(f.first.marks[i].in_bit, 8000 * i);
    }
    for (int how = 0; how < DRIP_HOWS; how++) {
        decoded_free(&f.other);
        decode_as(CODEC_TAR, f.plain, how, &f.other);
        cr_assert(decoded_has_same_marks(&f.first, &f.other));
    }
}

Test(codec, begins_each_blob_with_a_checkpoint)
{
    static const enum codec codecs[] = {CODEC_TAR, CODEC_GZIP, CODEC_ZSTD};
    struct bytes blobs[3] = {{NULL, 0},
                             packed_gzip("hello", 5, (struct gzip_how){.level = 6}),
                             packed_zstd("hello", 5, 3, 0)};

    bytes_add(&blobs[0], "hello", 5);
    for (size_t i = 0; i < 3; i++) {
        decoded_free(&f.first);
        decode_as(codecs[i], blobs[i], DRIP_BYTES, &f.first);
        cr_assert(decoded_is(&f.first, "hello", 5));
        cr_assert_eq(f.first.n_marks, 1);
        cr_assert_eq(f.first.marks[0].flags, CHECKPOINT_FRESH);
        cr_assert_eq(f.first.marks[0].in_bit, 0);
        bytes_free(&blobs[i]);
    }
}
