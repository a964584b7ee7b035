/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The happy path of the inflate stage is: the first bytes tell the codec; then every step of the
 * decoder gives bytes or a checkpoint, which is noted for the two other stages.
 * The happy path of the seal stage is all in index/seal.c.
 * The happy path of the parse stage is: the tar decoder's events become entries of the tree layer,
 * file contents hashed as they pass, the diff_id with them: two streams in one go cost less than
 * one after the other (engine/sha_ni.h), and looked at for what they need (index/needs.h). Then the
 * same bytes are hashed for their span. Possible failure modes are: bytes that are none of our
 * formats, more than the manifest says, no memory; at the end a digest that is wrong. After a
 * failure a layer can only be freed.
 */
#include "index/layer.h"

#include "engine/xxh3.h"
#include "index/needs.h"
#include "index/seal.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define HEAD_LEN  512u /* what codec_detect() wants to see */
#define ZEROS_LEN 16384u
/* SHA-256 does not notice that bytes come from afar, XXH3 does: it finds them in the first-level
 * cache when it is their turn. */
#define BLOCK_LEN 16384u
/* Sparse files' holes are hashed as zeros: at most this many bytes of a layer, some 30 seconds. */
#define HOLES_MAX (64ull << 30)

/* The stage that inflates. */
struct inflating {
    uint8_t head[HEAD_LEN];
    size_t head_len;
    const uint8_t *rest; /* fed behind the head, not lent to the decoder yet */
    size_t rest_len;
    bool ended;
    enum codec codec;
    struct decoder *decoder; /* NULL until the codec is known */
    bool watched;            /* the last checkpoint's window */

    uint64_t fed;             /* bytes of the blob that were fed */
    struct layer_piece piece; /* what was not taken of it */
};

/* The stage that parses. */
struct parsing {
    struct sha256 diff;
    const uint8_t *unhashed; /* for the diff_id, of the block that is being parsed */
    uint64_t out_off;
    XXH3_state_t *xxh;
    bool in_span;
    uint8_t (*decoded)[16];
    size_t n_decoded, cap_decoded;
    struct tar *tar;
    struct tree_layer *tree;
    struct needs *needs;
    bool in_file;
    struct sha256 content;
    uint64_t content_off;
    uint64_t content_size;
    uint64_t holes; /* bytes of the layer's files up to now */
};

struct layer {
    struct layer_options options;
    struct digest digest, diff_id;
    char *media_type;
    struct inflating inflate;
    struct seal *seal;
    struct parsing parse;
    struct writer_layer result;
};

/* ---- inflate */

/* What is used of the last checkpoint's window; NULL: nobody has watched. */
static const uint8_t *find_used(const struct inflating *in)
{
    return in->watched ? decoder_used(in->decoder) : NULL;
}

static int on_checkpoint(struct layer *layer, struct layer_chunk *chunk)
{
    struct inflating *in = &layer->inflate;
    const uint8_t *used = find_used(in);
    struct checkpoint at;

    decoder_checkpoint(in->decoder, &at);
    chunk->cuts[chunk->n_cuts++] = chunk->len;
    in->watched = at.watched;
    return seal_marks_add(&in->piece.marks, &at, used);
}

/* With the head complete, or the blob at its end: which codec? */
static int find_codec(struct layer *layer, struct clip_error *err)
{
    struct inflating *in = &layer->inflate;
    char quoted[64];
    int r;

    r = codec_detect(in->head, in->head_len, &in->codec);
    if (r < 0)
        return err_set(
            err, r, "the blob is neither gzip, zstd nor tar: it begins with \"%s\"",
            err_quote(in->head, in->head_len < 8 ? in->head_len : 8, quoted, sizeof(quoted)));
    r = decoder_new(in->codec, layer->options.span_size, &in->decoder);
    if (r < 0)
        return err_set(err, r, "out of memory for a decoder");
    decoder_feed(in->decoder, in->head, in->head_len);
    return 0;
}

void layer_feed(struct layer *layer, const void *bytes, size_t len)
{
    struct inflating *in = &layer->inflate;
    size_t n;

    in->fed += len;
    in->piece.bytes = bytes;
    in->piece.len = len;
    if (in->decoder) {
        decoder_feed(in->decoder, bytes, len);
        return;
    }
    n = HEAD_LEN - in->head_len < len ? HEAD_LEN - in->head_len : len;
    memcpy(in->head + in->head_len, bytes, n);
    in->head_len += n;
    in->rest = (const uint8_t *)bytes + n;
    in->rest_len = len - n;
}

void layer_end(struct layer *layer)
{
    struct inflating *in = &layer->inflate;

    in->ended = true;
    if (in->decoder && in->rest_len == 0)
        decoder_end(in->decoder);
}

/* The decoder wants more: what is left of the first piece, or the caller's next. */
static int on_more_in(struct inflating *in)
{
    if (in->rest_len > 0) {
        decoder_feed(in->decoder, in->rest, in->rest_len);
        in->rest_len = 0;
        return LAYER_CHUNK; /* stands for: go on */
    }
    if (in->ended) {
        decoder_end(in->decoder);
        return LAYER_CHUNK;
    }
    return LAYER_MORE_IN;
}

static int inflate_step(struct layer *layer, struct layer_chunk *chunk, struct clip_error *err)
{
    struct inflating *in = &layer->inflate;
    size_t n = 0;
    int event;

    event = decoder_step(in->decoder, chunk->bytes + chunk->len, chunk->cap - chunk->len, &n, err);
    chunk->len += n;
    if (event == CODEC_CHECKPOINT) {
        int r = on_checkpoint(layer, chunk);
        return r < 0 ? r : LAYER_CHUNK;
    }
    if (event == CODEC_MORE_IN)
        return on_more_in(in);
    if (event == CODEC_END)
        return LAYER_END;
    return event == CODEC_MORE_OUT ? LAYER_CHUNK : event;
}

int layer_inflate(struct layer *layer, struct layer_chunk *chunk, struct clip_error *err)
{
    struct inflating *in = &layer->inflate;
    int r;

    if (in->fed > layer->options.size)
        return err_set(err, CLIP_EFORMAT,
                       "the blob is longer than the %" PRIu64 " bytes that the manifest says",
                       layer->options.size);
    if (!in->decoder) {
        if (in->head_len < HEAD_LEN && !in->ended)
            return LAYER_MORE_IN;
        r = find_codec(layer, err);
        if (r < 0)
            return r;
    }
    while (chunk->len < chunk->cap && chunk->n_cuts < LAYER_CUTS_MAX) {
        r = inflate_step(layer, chunk, err);
        if (r == -ENOMEM)
            return err_set(err, r, "out of memory while decoding");
        if (r != LAYER_CHUNK)
            return r;
    }
    return LAYER_CHUNK;
}

struct layer_piece layer_take_piece(struct layer *layer)
{
    struct inflating *in = &layer->inflate;
    uint64_t from = in->fed - in->piece.len;
    uint64_t to = in->decoder ? decoder_in_off(in->decoder) : in->fed;
    struct layer_piece piece = in->piece;

    piece.len = to > from ? (size_t)(to - from) : 0;
    in->piece.bytes += piece.len;
    in->piece.len -= piece.len;
    in->piece.marks = (struct seal_marks){0};
    return piece;
}

uint64_t layer_in_off(const struct layer *layer)
{
    return layer->inflate.fed;
}

/* ---- seal */

int layer_seal(struct layer *layer, struct layer_piece *piece, struct clip_error *err)
{
    int r = seal_take(layer->seal, piece->bytes, piece->len, &piece->marks);

    return r < 0 ? err_set(err, r, "out of memory for spans") : 0;
}

void layer_piece_free(struct layer_piece *piece)
{
    seal_marks_free(&piece->marks);
}

/* ---- parse */

static int end_checksum(struct parsing *p)
{
    XXH128_canonical_t canonical;

    if (!p->in_span)
        return 0;
    if (p->n_decoded == p->cap_decoded) {
        size_t cap = p->cap_decoded ? p->cap_decoded * 2 : 64;
        void *decoded = reallocarray(p->decoded, cap, sizeof(p->decoded[0]));
        if (!decoded)
            return -ENOMEM;
        p->decoded = decoded;
        p->cap_decoded = cap;
    }
    XXH128_canonicalFromHash(&canonical, XXH3_128bits_digest(p->xxh));
    memcpy(p->decoded[p->n_decoded++], canonical.digest, sizeof(canonical.digest));
    return 0;
}

/* The chunk's bytes [from, to), and where spans begin in there; *cut is the next of its cuts. */
static int checksum_spans(struct parsing *p, const struct layer_chunk *chunk, size_t from,
                          size_t to, unsigned *cut)
{
    for (; *cut < chunk->n_cuts && chunk->cuts[*cut] <= to; ++*cut) {
        int r;

        XXH3_128bits_update(p->xxh, chunk->bytes + from, chunk->cuts[*cut] - from);
        from = chunk->cuts[*cut];
        r = end_checksum(p);
        if (r < 0)
            return r;
        XXH3_128bits_reset(p->xxh);
        p->in_span = true;
    }
    XXH3_128bits_update(p->xxh, chunk->bytes + from, to - from);
    return 0;
}

static void hash_diff_to(struct parsing *p, const uint8_t *to)
{
    sha256_update(&p->diff, p->unhashed, (size_t)(to - p->unhashed));
    p->unhashed = to;
}

static void hash_zeros(struct parsing *p, uint64_t len)
{
    static const uint8_t zeros[ZEROS_LEN];

    while (len > 0) {
        size_t n = len < sizeof(zeros) ? (size_t)len : sizeof(zeros);
        sha256_update(&p->content, zeros, n);
        len -= n;
    }
}

static int on_entry(struct parsing *p, struct clip_error *err)
{
    const struct tar_entry *entry = tar_entry(p->tar);
    uint64_t stored = 0;

    for (size_t i = 0; i < entry->n_extents; i++)
        stored += entry->extents[i].len;
    if (entry->type == TAR_FILE)
        p->holes += entry->size - stored;
    if (p->holes > HOLES_MAX || entry->size > INT64_MAX / 2) {
        char quoted[128];
        return err_set(err, -EFBIG,
                       "tar: the holes of sparse files add up to more than 64 GiB at \"%s\"",
                       err_quote(entry->path, strlen(entry->path), quoted, sizeof(quoted)));
    }
    p->in_file = entry->type == TAR_FILE;
    p->content_off = 0;
    p->content_size = entry->size;
    if (p->in_file) {
        sha256_init(&p->content);
        needs_begin(p->needs, entry->path);
    }
    return tree_layer_add(p->tree, entry, err);
}

static void on_data(struct parsing *p)
{
    uint64_t file_off;
    const void *bytes;
    size_t len;

    if (!p->in_file)
        return;
    tar_data(p->tar, &bytes, &len, &file_off);
    if (file_off > p->content_off)
        hash_zeros(p, file_off - p->content_off);
    hash_diff_to(p, bytes);
    sha256_update_both(&p->diff, &p->content, bytes, len);
    needs_feed(p->needs, bytes, len, file_off);
    p->unhashed += len;
    p->content_off = file_off + len;
}

static int keep_needs(struct parsing *p, struct clip_error *err)
{
    const char *says;
    size_t len;
    int r = needs_end(p->needs, &says, &len);

    if (r == 0 && len > 0)
        r = tree_layer_set_needs(p->tree, says, len);
    return r < 0 ? err_set(err, r, "out of memory for what a file needs") : 0;
}

static int on_entry_end(struct parsing *p, struct clip_error *err)
{
    struct digest digest;

    if (!p->in_file)
        return 0;
    hash_zeros(p, p->content_size - p->content_off);
    sha256_final(&p->content, &digest);
    tree_layer_set_digest(p->tree, &digest);
    p->in_file = false;
    return keep_needs(p, err);
}

/* Until the tar decoder has used what it was fed, or is at its end. */
static int parse_events(struct parsing *p, struct clip_error *err)
{
    for (;;) {
        int event = tar_step(p->tar, err);

        if (event < 0 || event == TAR_MORE_IN || event == TAR_END)
            return event < 0 ? event : 0;
        if (event == TAR_DATA) {
            on_data(p);
        } else {
            int r = event == TAR_ENTRY ? on_entry(p, err) : on_entry_end(p, err);
            if (r < 0)
                return r;
        }
    }
}

static int parse_block(struct parsing *p, const uint8_t *bytes, size_t len, struct clip_error *err)
{
    int r;

    p->unhashed = bytes;
    p->out_off += len;
    tar_feed(p->tar, bytes, len);
    r = parse_events(p, err);
    hash_diff_to(p, bytes + len);
    return r;
}

int layer_parse(struct layer *layer, const struct layer_chunk *chunk, struct clip_error *err)
{
    struct parsing *p = &layer->parse;
    unsigned cut = 0;
    size_t off = 0;

    do { /* once at least: an empty chunk may have a cut */
        size_t n = chunk->len - off < BLOCK_LEN ? chunk->len - off : BLOCK_LEN;
        int r = parse_block(p, chunk->bytes + off, n, err);

        if (r < 0)
            return r;
        if (checksum_spans(p, chunk, off, off + n, &cut) < 0)
            return err_set(err, -ENOMEM, "out of memory for checksums");
        off += n;
    } while (off < chunk->len);
    return 0;
}

/* ---- all are through */

static int check_blob(struct layer *layer, struct clip_error *err)
{
    char is[DIGEST_TEXT_LEN + 1], says[DIGEST_TEXT_LEN + 1];
    struct inflating *in = &layer->inflate;

    if (in->fed != layer->options.size)
        return err_set(err, CLIP_EFORMAT,
                       "the blob has %" PRIu64 " bytes, the manifest says %" PRIu64, in->fed,
                       layer->options.size);
    seal_digest(layer->seal, &layer->result.digest);
    if (!digest_equal(&layer->result.digest, &layer->digest))
        return err_set(err, CLIP_EDIGEST, "the blob's digest is %s, the manifest says %s",
                       digest_format(&layer->result.digest, is),
                       digest_format(&layer->digest, says));
    return 0;
}

static int check_diff_id(struct layer *layer, struct clip_error *err)
{
    char is[DIGEST_TEXT_LEN + 1], says[DIGEST_TEXT_LEN + 1];

    sha256_final(&layer->parse.diff, &layer->result.diff_id);
    if (!layer->options.diff_id || digest_equal(&layer->result.diff_id, &layer->diff_id))
        return 0;
    return err_set(err, CLIP_EDIGEST, "the layer's diff_id is %s, the config says %s",
                   digest_format(&layer->result.diff_id, is), digest_format(&layer->diff_id, says));
}

/* What the two other stages know of the spans. */
static int join_spans(struct layer *layer, struct clip_error *err)
{
    struct parsing *p = &layer->parse;
    struct writer_span *spans;
    size_t n;

    if (end_checksum(p) < 0)
        return err_set(err, -ENOMEM, "out of memory for checksums");
    spans = seal_spans(layer->seal, &n);
    assert(p->n_decoded == n);
    for (size_t i = 0; i < n; i++)
        memcpy(spans[i].decoded, p->decoded[i], sizeof(spans[i].decoded));
    layer->result.spans = spans;
    layer->result.n_spans = n;
    return 0;
}

int layer_finish(struct layer *layer, struct clip_error *err)
{
    struct parsing *p = &layer->parse;
    int r;

    tar_finish(p->tar);
    r = parse_events(p, err);
    if (r == 0 && seal_end(layer->seal, p->out_off, find_used(&layer->inflate)) < 0)
        r = err_set(err, -ENOMEM, "out of memory for spans");
    if (r == 0)
        r = check_blob(layer, err);
    if (r == 0)
        r = check_diff_id(layer, err);
    if (r == 0)
        r = join_spans(layer, err);
    if (r < 0)
        return r;
    layer->result.media_type = layer->media_type;
    layer->result.codec = layer->inflate.codec;
    layer->result.size = layer->inflate.fed;
    layer->result.uncompressed_size = p->out_off;
    return 0;
}

const struct writer_layer *layer_result(const struct layer *layer)
{
    return &layer->result;
}

struct tree_layer *layer_tree(struct layer *layer)
{
    return layer->parse.tree;
}

static bool ends_with(const char *text, const char *end)
{
    size_t len = strlen(text), end_len = strlen(end);

    return len >= end_len && strcmp(text + len - end_len, end) == 0;
}

bool layer_media_type_lies(const struct layer *layer)
{
    const char *type = layer->media_type;
    enum codec says = CODEC_TAR;

    if (ends_with(type, "gzip"))
        says = CODEC_GZIP;
    else if (ends_with(type, "zstd"))
        says = CODEC_ZSTD;
    return says != layer->inflate.codec;
}

int layer_new(const struct layer_options *options, struct layer **out)
{
    struct layer *layer = calloc(1, sizeof(*layer));

    if (!layer)
        return -ENOMEM;
    layer->options = *options;
    layer->digest = *options->digest;
    if (options->diff_id)
        layer->diff_id = *options->diff_id;
    layer->media_type = strdup(options->media_type);
    layer->parse.xxh = XXH3_createState();
    if (!layer->media_type || !layer->parse.xxh || seal_new(&layer->seal) < 0 ||
        tar_new(&layer->parse.tar) < 0 || tree_layer_new(&layer->parse.tree) < 0 ||
        needs_new(&layer->parse.needs) < 0) {
        layer_free(layer);
        return -ENOMEM;
    }
    sha256_init(&layer->parse.diff);
    XXH3_128bits_reset(layer->parse.xxh);
    *out = layer;
    return 0;
}

void layer_free(struct layer *layer)
{
    if (!layer)
        return;
    layer_piece_free(&layer->inflate.piece);
    decoder_free(layer->inflate.decoder);
    seal_free(layer->seal);
    XXH3_freeState(layer->parse.xxh);
    free(layer->parse.decoded);
    tar_free(layer->parse.tar);
    tree_layer_free(layer->parse.tree);
    needs_free(layer->parse.needs);
    free(layer->media_type);
    free(layer);
}
