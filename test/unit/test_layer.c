/* SPDX-License-Identifier: Apache-2.0 */
#include "index/layer.h"
#include "index/zran.h"
#include "test/lib/drip.h"
#include "test/lib/packed.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <zlib.h>

#define SPAN     (64u << 10)
#define FILE_LEN (700u << 10)

static struct fixture {
    struct bytes tar, blob;
    struct layer_options options; /* what is true, unless a test changes it */
    struct digest digest, diff_id;
    struct layer *layer;
    uint8_t *room;
    size_t cap;
    uint64_t out_len;
    int status;
    struct clip_error err;
} f;

/* ---- a tar of one file, or more */

static void put_octal(char *field, size_t n_digits, uint64_t value)
{
    while (n_digits--) {
        field[n_digits] = (char)('0' + value % 8);
        value /= 8;
    }
}

static void add_header(struct bytes *tar, const char *name, uint64_t size)
{
    char head[512] = {0};
    unsigned sum = 0;

    strcpy(head, name);
    memcpy(head + 100, "0000644\0000000000\0000000000", 24);
    put_octal(head + 124, 11, size);
    put_octal(head + 136, 11, 1700000000);
    head[156] = '0';
    memcpy(head + 257, "ustar\00000", 8);
    memset(head + 148, ' ', 8);
    for (size_t i = 0; i < sizeof(head); i++)
        sum += (uint8_t)head[i];
    put_octal(head + 148, 6, sum);
    head[154] = 0;
    bytes_add(tar, head, sizeof(head));
}

static void add_end(struct bytes *tar)
{
    static const uint8_t zeros[1024];

    bytes_add(tar, zeros, sizeof(zeros));
}

static void make_tar(void)
{
    struct bytes file = packed_plain(FILE_LEN, 41);

    add_header(&f.tar, "usr/bin/perl", FILE_LEN);
    bytes_join(&f.tar, file);
    add_header(&f.tar, "empty", 0);
    add_end(&f.tar);
}

static void set_up(void)
{
    memset(&f, 0, sizeof(f));
    make_tar();
    f.cap = 100000;
    f.room = malloc(f.cap);
}

static void tear_down(void)
{
    layer_free(f.layer);
    bytes_free(&f.tar);
    bytes_free(&f.blob);
    free(f.room);
}

TestSuite(layer, .init = set_up, .fini = tear_down, .timeout = 300);

/* ---- all stages */

/* Takes the blob. */
static void take_blob(struct bytes blob)
{
    bytes_free(&f.blob);
    f.blob = blob;
    sha256_of(f.blob.at, f.blob.len, &f.digest);
    sha256_of(f.tar.at, f.tar.len, &f.diff_id);
    f.options = (struct layer_options){
        .digest = &f.digest,
        .diff_id = &f.diff_id,
        .size = f.blob.len,
        .media_type = "application/vnd.oci.image.layer.v1.tar+gzip",
        .span_size = SPAN,
    };
}

static void take_gzip(void)
{
    take_blob(packed_gzip(f.tar.at, f.tar.len, (struct gzip_how){.level = 6}));
}

static int run_stages(void)
{
    struct layer_piece piece;
    int event, r;

    do {
        struct layer_chunk chunk = {.bytes = f.room, .cap = f.cap};

        event = layer_inflate(f.layer, &chunk, &f.err);
        if (event < 0)
            return event;
        f.out_len += chunk.len;
        r = layer_parse(f.layer, &chunk, &f.err);
        piece = layer_take_piece(f.layer);
        if (r == 0)
            r = layer_seal(f.layer, &piece, &f.err);
        layer_piece_free(&piece);
        if (r < 0)
            return r;
    } while (event == LAYER_CHUNK);
    return event;
}

static void on_piece(void *data, const uint8_t *piece, size_t len)
{
    (void)data;
    if (f.status != LAYER_MORE_IN)
        return;
    layer_feed(f.layer, piece, len);
    f.status = run_stages();
}

static void begin(void)
{
    layer_free(f.layer);
    f.layer = NULL;
    f.out_len = 0;
    f.status = LAYER_MORE_IN;
    cr_assert_eq(layer_new(&f.options, &f.layer), 0);
}

static void end(void)
{
    if (f.status == LAYER_MORE_IN) {
        layer_end(f.layer);
        f.status = run_stages();
    }
    if (f.status == LAYER_END)
        f.status = layer_finish(f.layer, &f.err);
}

static int run(enum drip_how how)
{
    begin();
    drip(f.blob.at, f.blob.len, how, 7, on_piece, NULL);
    end();
    return f.status;
}

static void assert_fails(int status, const char *why)
{
    for (int how = 0; how < DRIP_HOWS; how++) {
        cr_assert_eq(run(how), status, "cut %d: %d", how, f.status);
        cr_assert(strstr(f.err.message, why), "%s", f.err.message);
    }
}

/* ---- what comes out */

static uint64_t out_end(const struct writer_layer *result, size_t i)
{
    return i + 1 < result->n_spans ? result->spans[i + 1].out_off : result->uncompressed_size;
}

static void assert_span_is_true(const struct writer_layer *result, size_t i)
{
    const struct writer_span *span = &result->spans[i];
    size_t from = (size_t)span->in_bit / 8, len = (size_t)(out_end(result, i) - span->out_off);
    uint8_t window[CODEC_WINDOW_MAX], *out = malloc(len);
    struct checkpoint at = {.in_bit = span->in_bit,
                            .flags = span->flags,
                            .window = window,
                            .header = span->header,
                            .header_bit = span->header_bit,
                            .header_bits = span->header_bits};
    struct digest digest;

    sha256_of(f.blob.at + from, (size_t)span->in_end - from, &digest);
    cr_assert(digest_equal(&digest, &span->fetched), "span %zu", i);
    if (span->window_len)
        at.window_len = (uint32_t)zran_unpack(span->window, span->window_len, window);
    cr_assert_eq(zran_decode(result->codec, &at, f.blob.at + from, (size_t)span->in_end - from, out,
                             len, &f.err),
                 0, "span %zu: %s", i, f.err.message);
    cr_assert_eq(memcmp(out, f.tar.at + span->out_off, len), 0, "span %zu", i);
    free(out);
}

static void assert_all_true(enum codec codec)
{
    const struct writer_layer *result = layer_result(f.layer);

    cr_assert_eq(result->codec, codec);
    cr_assert_eq(result->size, f.blob.len);
    cr_assert_eq(result->uncompressed_size, f.tar.len);
    cr_assert(digest_equal(&result->digest, &f.digest));
    cr_assert(digest_equal(&result->diff_id, &f.diff_id));
    cr_assert_geq(result->n_spans, 4);
    for (size_t i = 0; i < result->n_spans; i++)
        if (!(result->spans[i].flags & CHECKPOINT_CHAINED) && out_end(result, i) > 0)
            assert_span_is_true(result, i);
}

static void assert_runs(struct bytes blob, enum codec codec)
{
    take_blob(blob);
    for (int how = 0; how < DRIP_HOWS; how++) {
        cr_assert_eq(run(how), 0, "cut %d: %s", how, f.err.message);
        assert_all_true(codec);
    }
}

Test(layer, gives_spans_that_decode_to_the_layer)
{
    struct bytes plain = {NULL, 0};

    assert_runs(packed_gzip(f.tar.at, f.tar.len, (struct gzip_how){.level = 6}), CODEC_GZIP);
    assert_runs(packed_gzip(f.tar.at, f.tar.len, (struct gzip_how){.level = 0}), CODEC_GZIP);
    assert_runs(packed_member(0, packed_fixed_block(f.tar.at, f.tar.len), f.tar.at, f.tar.len),
                CODEC_GZIP);
    assert_runs(packed_zstd(f.tar.at, f.tar.len, 3, 0), CODEC_ZSTD);
    bytes_add(&plain, f.tar.at, f.tar.len);
    assert_runs(plain, CODEC_TAR);
}

Test(layer, does_not_care_how_large_the_chunks_are)
{
    static const size_t caps[] = {1, 77, 4096, 1u << 20};

    free(f.room);
    f.room = malloc(1u << 20);
    take_gzip();
    for (size_t i = 0; i < 4; i++) {
        f.cap = caps[i];
        cr_assert_eq(run(DRIP_RANDOM), 0, "%s", f.err.message);
        assert_all_true(CODEC_GZIP);
    }
}

static void assert_file_digest(const struct tree *tree, const char *name, const void *bytes,
                               size_t len)
{
    struct digest digest;
    struct tree_node node;

    sha256_of(bytes, len, &digest);
    for (uint32_t i = 0; i < tree_n_nodes(tree); i++) {
        tree_node(tree, i, &node);
        if (node.name_len == strlen(name) && memcmp(node.name, name, node.name_len) == 0) {
            cr_assert(digest_equal(&node.digest, &digest), "%s", name);
            return;
        }
    }
    cr_assert_fail("there is no %s", name);
}

Test(layer, hashes_every_file)
{
    const struct tree_options options = {0};
    struct tree_layer *tree_layer;
    struct tree *tree;

    take_gzip();
    cr_assert_eq(run(DRIP_RANDOM), 0, "%s", f.err.message);
    tree_layer = layer_tree(f.layer);
    cr_assert_eq(tree_merge(&tree_layer, 1, &options, &tree, &f.err), 0, "%s", f.err.message);
    assert_file_digest(tree, "perl", f.tar.at + 512, FILE_LEN);
    tree_free(tree);
}

Test(layer, believes_the_bytes_and_not_the_media_type)
{
    take_gzip();
    cr_assert_eq(run(DRIP_WHOLE), 0);
    cr_assert_not(layer_media_type_lies(f.layer));
    f.options.media_type = "application/vnd.oci.image.layer.v1.tar";
    cr_assert_eq(run(DRIP_WHOLE), 0);
    cr_assert(layer_media_type_lies(f.layer));
    f.options.media_type = "application/vnd.oci.image.layer.v1.tar+zstd";
    cr_assert_eq(run(DRIP_WHOLE), 0);
    cr_assert(layer_media_type_lies(f.layer));
}

/* ---- what does not come out */

Test(layer, says_that_the_blob_is_another)
{
    take_gzip();
    f.digest.bytes[0] ^= 1;
    assert_fails(CLIP_EDIGEST, "the blob's digest is sha256:");
}

Test(layer, says_that_the_diff_id_is_another)
{
    take_gzip();
    f.diff_id.bytes[31] ^= 1;
    assert_fails(CLIP_EDIGEST, "the config says sha256:");
    f.options.diff_id = NULL;
    cr_assert_eq(run(DRIP_WHOLE), 0, "it need not be known");
}

Test(layer, says_that_the_size_is_another)
{
    take_gzip();
    f.options.size++;
    assert_fails(CLIP_EFORMAT, "the manifest says");
    f.options.size -= 2;
    assert_fails(CLIP_EFORMAT, "the blob is longer than");
    f.options.size = 0;
    assert_fails(CLIP_EFORMAT, "the blob is longer than the 0 bytes");
}

Test(layer, says_that_the_bytes_are_no_layer)
{
    struct bytes blob = {NULL, 0};

    bytes_add(&blob, "#!/bin/sh\necho hello\n", 21);
    take_blob(blob);
    assert_fails(CLIP_EFORMAT, "neither gzip, zstd nor tar: it begins with \"#!/bin/s\"");
}

Test(layer, says_that_the_blob_is_cut)
{
    take_gzip();
    f.blob.len -= 100;
    assert_fails(CLIP_EFORMAT, "the blob ends inside a member");
}

Test(layer, says_that_the_tar_is_cut)
{
    f.tar.len = 512 + FILE_LEN / 2;
    take_gzip();
    assert_fails(CLIP_EFORMAT, "tar: ");
}

Test(layer, says_that_a_file_is_larger_than_the_layer)
{
    bytes_free(&f.tar);
    add_header(&f.tar, "liar", 7ull << 30);
    add_end(&f.tar);
    take_gzip();
    assert_fails(CLIP_EFORMAT, "tar: ");
}

/* ---- bombs */

#define BOMB_PIECE (1u << 20)

/* A MiB of zeros that can be repeated: it ends at a byte, and looks back on nothing. */
static struct bytes bomb_piece(void)
{
    static uint8_t zeros[BOMB_PIECE];
    struct bytes piece = {malloc(BOMB_PIECE), BOMB_PIECE};
    z_stream z = {.next_in = zeros, .avail_in = BOMB_PIECE};

    z.next_out = piece.at;
    z.avail_out = BOMB_PIECE;
    cr_assert_eq(deflateInit2(&z, 9, Z_DEFLATED, -15, 9, Z_DEFAULT_STRATEGY), Z_OK);
    cr_assert_eq(deflate(&z, Z_FULL_FLUSH), Z_OK);
    piece.len -= z.avail_out;
    deflateEnd(&z);
    return piece;
}

/* One member: a header of a file of n MiB, and that. It never ends, so it cannot be right. */
static struct bytes bomb(unsigned n)
{
    static const uint8_t member[] = {0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3};
    static const uint8_t stored[] = {0, 0, 2, 0xff, 0xfd}; /* 512 bytes */
    struct bytes head = {NULL, 0}, blob = {NULL, 0}, piece = bomb_piece();

    add_header(&head, "bomb", (uint64_t)n << 20);
    bytes_add(&blob, member, sizeof(member));
    bytes_add(&blob, stored, sizeof(stored));
    bytes_join(&blob, head);
    for (unsigned i = 0; i < n; i++)
        bytes_add(&blob, piece.at, piece.len);
    bytes_free(&piece);
    return blob;
}

#ifdef __SANITIZE_ADDRESS__
#define ROOM_KIB (512 << 10) /* freed memory is kept for a while */
#define BOMB_MIB 640
#else
#define ROOM_KIB (16 << 10)
#define BOMB_MIB 1024
#endif

static long peak_kib(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss;
}

Test(layer, stays_small_while_a_bomb_goes_off)
{
    long before;

    take_blob(bomb(BOMB_MIB));
    before = peak_kib();
    run(DRIP_WHOLE);
    cr_assert_eq(f.status, CLIP_EFORMAT);
    cr_assert_geq(f.out_len, (uint64_t)BOMB_MIB << 20);
    cr_assert_lt(peak_kib() - before, ROOM_KIB);
}
