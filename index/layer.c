/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The happy path of the inflate stage is:
 * - the first bytes tell the codec; then every step of the decoder gives bytes or a checkpoint.
 * - input is hashed for the blob when it is fed, and for its span up to the checkpoint that ends
 *   it. The decoder reads a few bytes ahead of the checkpoint that it reports, so the last bytes
 *   of what was fed (`carry`) stay unhashed until the next piece is there.
 * - after a checkpoint the compressed bytes are captured too, until there are enough to reduce its
 *   window; then it is packed and the raw window is gone.
 * The happy path of the parse stage is: a chunk is hashed for the diff_id and its spans, then the
 * tar decoder's events become entries of the tree layer, file contents hashed as they pass.
 * Possible failure modes are: bytes that are none of our formats, more than the manifest says, no
 * memory; at the end a digest that is wrong. After a failure a layer can only be freed.
 */
#include "index/layer.h"

#include "index/zran.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#define HEAD_LEN  512u /* what codec_detect() wants to see */
#define CARRY_LEN 64u  /* more than any decoder reads ahead of its checkpoint */
/* Hashing a block while it is in the first-level cache serves both digests from there. */
#define HASH_BLOCK 16384u
/* A sparse file's holes are hashed as zeros: at most this many bytes of an entry. */
#define HOLES_MAX (1ull << 40)

/* The stage that inflates. */
struct inflating {
    uint8_t head[HEAD_LEN];
    size_t head_len;
    const uint8_t *rest; /* fed behind the head, not lent to the decoder yet */
    size_t rest_len;
    bool ended;
    enum codec codec;
    struct decoder *decoder; /* NULL until the codec is known */

    struct sha256 blob;
    uint64_t fed;        /* bytes of the blob that were fed */
    const uint8_t *lent; /* what the decoder has now, at blob offset lent_off */
    size_t lent_len;
    uint64_t lent_off;
    uint8_t carry[CARRY_LEN]; /* the bytes just before lent_off */
    size_t carry_len;

    struct writer_span *spans;
    size_t n_spans, cap_spans;
    struct sha256 span;  /* of the last span's compressed bytes */
    uint64_t hashed_off; /* up to where */
    bool capturing;
    struct checkpoint at; /* of the last span, with the two below */
    uint8_t window[CODEC_WINDOW_MAX];
    uint8_t *capture;
    size_t capture_len;
    uint8_t *packed; /* room for a packed window of any length */
};

/* The stage that parses. */
struct parsing {
    struct sha256 diff;
    uint64_t out_off;
    XXH3_state_t *xxh;
    bool in_span;
    uint8_t (*decoded)[16];
    size_t n_decoded, cap_decoded;
    struct tar *tar;
    struct tree_layer *tree;
    bool in_file;
    struct sha256 content;
    uint64_t content_off;
    uint64_t content_size;
};

struct layer {
    struct layer_options options;
    struct digest digest, diff_id;
    char *media_type;
    struct inflating inflate;
    struct parsing parse;
    struct writer_layer result;
};

/* ---- inflate */

/* The blob's bytes [from, to), all of them in carry or lent. */
static void each_piece(struct layer *layer, uint64_t from, uint64_t to,
                       void (*take)(struct layer *layer, const uint8_t *bytes, size_t len))
{
    struct inflating *in = &layer->inflate;
    uint64_t carry_off = in->lent_off - in->carry_len;

    assert(from >= carry_off && to <= in->lent_off + in->lent_len);
    if (from < in->lent_off && from < to) {
        uint64_t end = to < in->lent_off ? to : in->lent_off;
        take(layer, in->carry + (from - carry_off), (size_t)(end - from));
        from = end;
    }
    if (from < to)
        take(layer, in->lent + (from - in->lent_off), (size_t)(to - from));
}

static void take_for_span(struct layer *layer, const uint8_t *bytes, size_t len)
{
    struct inflating *in = &layer->inflate;
    size_t room = LAYER_CAPTURE_MAX - in->capture_len;

    sha256_update(&in->span, bytes, len);
    if (!in->capturing)
        return;
    if (len > room)
        len = room;
    memcpy(in->capture + in->capture_len, bytes, len);
    in->capture_len += len;
}

/* Packs the last span's window once the bytes that follow it are known, or will not come. */
static int settle_window(struct layer *layer, uint64_t span_len)
{
    struct inflating *in = &layer->inflate;
    struct writer_span *span = &in->spans[in->n_spans - 1];
    uint32_t len = in->at.window_len;
    uint8_t *packed;
    int r;

    in->capturing = false;
    if (len == 0)
        return 0;
    r = zran_reduce(&in->at, in->capture, in->capture_len, span_len, in->window, len);
    if (r >= 0)
        len = (uint32_t)r;
    r = zran_pack(in->window, len, in->packed, zran_pack_bound(CODEC_WINDOW_MAX));
    if (r < 0)
        return r;
    packed = malloc((size_t)r + 1);
    if (!packed)
        return -ENOMEM;
    memcpy(packed, in->packed, (size_t)r);
    span->window = packed;
    span->window_len = (uint32_t)r;
    return 0;
}

static int hash_span_to(struct layer *layer, uint64_t to)
{
    struct inflating *in = &layer->inflate;

    if (to > in->hashed_off) {
        each_piece(layer, in->hashed_off, to, take_for_span);
        in->hashed_off = to;
    }
    if (in->capturing && in->capture_len == LAYER_CAPTURE_MAX)
        return settle_window(layer, UINT64_MAX);
    return 0;
}

static int end_span(struct layer *layer, uint64_t in_end, uint64_t out_end)
{
    struct inflating *in = &layer->inflate;
    struct writer_span *span;
    int r;

    if (in->n_spans == 0)
        return 0;
    span = &in->spans[in->n_spans - 1];
    r = hash_span_to(layer, in_end);
    if (r == 0 && in->capturing)
        r = settle_window(layer, out_end - span->out_off);
    sha256_final(&in->span, &span->fetched);
    span->in_end = in_end;
    return r;
}

static int copy_header(struct writer_span *span, const struct checkpoint *at)
{
    size_t len = (at->header_bit + at->header_bits + 7) / 8;
    uint8_t *header;

    if (!(at->flags & CHECKPOINT_MIDBLOCK))
        return 0;
    header = malloc(len);
    if (!header)
        return -ENOMEM;
    memcpy(header, at->header, len);
    span->header = header;
    span->header_bit = at->header_bit;
    span->header_bits = at->header_bits;
    return 0;
}

static struct writer_span *new_span(struct inflating *in)
{
    struct writer_span *spans = in->spans;

    if (in->n_spans == in->cap_spans) {
        size_t cap = in->cap_spans ? in->cap_spans * 2 : 64;
        spans = reallocarray(spans, cap, sizeof(spans[0]));
        if (!spans)
            return NULL;
        in->spans = spans;
        in->cap_spans = cap;
    }
    memset(&spans[in->n_spans], 0, sizeof(spans[0]));
    return &spans[in->n_spans++];
}

static int begin_span(struct layer *layer, const struct checkpoint *at)
{
    struct inflating *in = &layer->inflate;
    struct writer_span *span = new_span(in);
    int r;

    if (!span)
        return -ENOMEM;
    span->in_bit = at->in_bit;
    span->out_off = at->out_off;
    span->flags = at->flags;
    r = copy_header(span, at);
    if (r < 0)
        return r;
    in->at = *at;
    in->at.window = in->window;
    in->at.header = span->header;
    if (at->window_len > 0)
        memcpy(in->window, at->window, at->window_len);
    in->capturing = at->window_len > 0;
    in->capture_len = 0;
    in->hashed_off = at->in_bit / 8;
    sha256_init(&in->span);
    return 0;
}

static int on_checkpoint(struct layer *layer, struct layer_chunk *chunk)
{
    struct checkpoint at;
    int r;

    decoder_checkpoint(layer->inflate.decoder, &at);
    r = end_span(layer, (at.in_bit + 7) / 8, at.out_off);
    if (r == 0)
        r = begin_span(layer, &at);
    chunk->cuts[chunk->n_cuts++] = chunk->len;
    return r;
}

/* All that was lent is used: hash it but for the last bytes, which are carried over. */
static int take_lent(struct layer *layer)
{
    struct inflating *in = &layer->inflate;
    uint64_t end = in->lent_off + in->lent_len;
    uint8_t carry[CARRY_LEN];
    size_t keep;
    int r = 0;

    if (in->n_spans > 0 && end > CARRY_LEN)
        r = hash_span_to(layer, end - CARRY_LEN);
    keep = in->lent_len + in->carry_len < CARRY_LEN ? in->lent_len + in->carry_len : CARRY_LEN;
    if (in->lent_len >= keep) {
        memcpy(carry, in->lent + in->lent_len - keep, keep);
    } else {
        size_t old = keep - in->lent_len;
        memcpy(carry, in->carry + in->carry_len - old, old);
        memcpy(carry + old, in->lent, in->lent_len);
    }
    memcpy(in->carry, carry, keep);
    in->carry_len = keep;
    in->lent_off = end;
    in->lent_len = 0;
    return r;
}

static void lend(struct inflating *in, const uint8_t *bytes, size_t len)
{
    in->lent = bytes;
    in->lent_len = len;
    decoder_feed(in->decoder, bytes, len);
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
    lend(in, in->head, in->head_len);
    return 0;
}

void layer_feed(struct layer *layer, const void *bytes, size_t len)
{
    struct inflating *in = &layer->inflate;
    size_t n;

    sha256_update(&in->blob, bytes, len);
    in->fed += len;
    if (in->decoder) {
        lend(in, bytes, len);
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
static int on_more_in(struct layer *layer)
{
    struct inflating *in = &layer->inflate;
    int r;

    r = take_lent(layer);
    if (r < 0)
        return r;
    if (in->rest_len > 0) {
        lend(in, in->rest, in->rest_len);
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
        return on_more_in(layer);
    if (event == CODEC_END) {
        int r = end_span(layer, in->lent_off + in->lent_len, decoder_out_off(in->decoder));
        return r < 0 ? r : LAYER_END;
    }
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

uint64_t layer_in_off(const struct layer *layer)
{
    return layer->inflate.fed;
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

static int checksum_spans(struct parsing *p, const struct layer_chunk *chunk)
{
    size_t off = 0;

    for (unsigned i = 0; i <= chunk->n_cuts; i++) {
        size_t to = i < chunk->n_cuts ? chunk->cuts[i] : chunk->len;
        int r;

        XXH3_128bits_update(p->xxh, chunk->bytes + off, to - off);
        off = to;
        if (i == chunk->n_cuts)
            break;
        r = end_checksum(p);
        if (r < 0)
            return r;
        XXH3_128bits_reset(p->xxh);
        p->in_span = true;
    }
    return 0;
}

static void hash_zeros(struct parsing *p, uint64_t len)
{
    static const uint8_t zeros[HASH_BLOCK];

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
    if (entry->type == TAR_FILE && entry->size - stored > HOLES_MAX) {
        char quoted[128];
        return err_set(err, CLIP_EFORMAT, "tar: \"%s\" has holes of more than 1 TiB",
                       err_quote(entry->path, strlen(entry->path), quoted, sizeof(quoted)));
    }
    p->in_file = entry->type == TAR_FILE;
    p->content_off = 0;
    p->content_size = entry->size;
    if (p->in_file)
        sha256_init(&p->content);
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
    sha256_update(&p->content, bytes, len);
    p->content_off = file_off + len;
}

static void on_entry_end(struct parsing *p)
{
    struct digest digest;

    if (!p->in_file)
        return;
    hash_zeros(p, p->content_size - p->content_off);
    sha256_final(&p->content, &digest);
    tree_layer_set_digest(p->tree, &digest);
    p->in_file = false;
}

/* Until the tar decoder has used what it was fed, or is at its end. */
static int parse_events(struct parsing *p, struct clip_error *err)
{
    for (;;) {
        int event = tar_step(p->tar, err);

        if (event < 0 || event == TAR_MORE_IN || event == TAR_END)
            return event < 0 ? event : 0;
        if (event == TAR_ENTRY) {
            int r = on_entry(p, err);
            if (r < 0)
                return r;
        } else if (event == TAR_DATA) {
            on_data(p);
        } else {
            on_entry_end(p);
        }
    }
}

static int parse_block(struct parsing *p, const uint8_t *bytes, size_t len, struct clip_error *err)
{
    sha256_update(&p->diff, bytes, len);
    p->out_off += len;
    tar_feed(p->tar, bytes, len);
    return parse_events(p, err);
}

int layer_parse(struct layer *layer, const struct layer_chunk *chunk, struct clip_error *err)
{
    struct parsing *p = &layer->parse;
    int r;

    r = checksum_spans(p, chunk);
    if (r < 0)
        return err_set(err, r, "out of memory for checksums");
    for (size_t off = 0; off < chunk->len; off += HASH_BLOCK) {
        size_t n = chunk->len - off < HASH_BLOCK ? chunk->len - off : HASH_BLOCK;
        r = parse_block(p, chunk->bytes + off, n, err);
        if (r < 0)
            return r;
    }
    return 0;
}

/* ---- both */

static int check_blob(struct layer *layer, struct clip_error *err)
{
    char is[DIGEST_TEXT_LEN + 1], says[DIGEST_TEXT_LEN + 1];
    struct inflating *in = &layer->inflate;

    if (in->fed != layer->options.size)
        return err_set(err, CLIP_EFORMAT,
                       "the blob has %" PRIu64 " bytes, the manifest says %" PRIu64, in->fed,
                       layer->options.size);
    sha256_final(&in->blob, &layer->result.digest);
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

int layer_finish(struct layer *layer, struct clip_error *err)
{
    struct inflating *in = &layer->inflate;
    struct parsing *p = &layer->parse;
    int r;

    tar_finish(p->tar);
    r = parse_events(p, err);
    if (r == 0)
        r = check_blob(layer, err);
    if (r == 0)
        r = check_diff_id(layer, err);
    if (r < 0)
        return r;
    if (end_checksum(p) < 0)
        return err_set(err, -ENOMEM, "out of memory for checksums");
    assert(p->n_decoded == in->n_spans);
    for (size_t i = 0; i < in->n_spans; i++)
        memcpy(in->spans[i].decoded, p->decoded[i], sizeof(in->spans[i].decoded));
    layer->result.media_type = layer->media_type;
    layer->result.codec = in->codec;
    layer->result.size = in->fed;
    layer->result.uncompressed_size = p->out_off;
    layer->result.spans = in->spans;
    layer->result.n_spans = in->n_spans;
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
    layer->inflate.capture = malloc(LAYER_CAPTURE_MAX);
    layer->inflate.packed = malloc(zran_pack_bound(CODEC_WINDOW_MAX));
    layer->parse.xxh = XXH3_createState();
    if (!layer->media_type || !layer->inflate.capture || !layer->inflate.packed ||
        !layer->parse.xxh || tar_new(&layer->parse.tar) < 0 ||
        tree_layer_new(&layer->parse.tree) < 0) {
        layer_free(layer);
        return -ENOMEM;
    }
    sha256_init(&layer->inflate.blob);
    sha256_init(&layer->parse.diff);
    XXH3_128bits_reset(layer->parse.xxh);
    *out = layer;
    return 0;
}

void layer_free(struct layer *layer)
{
    if (!layer)
        return;
    for (size_t i = 0; i < layer->inflate.n_spans; i++) {
        free((void *)layer->inflate.spans[i].window);
        free((void *)layer->inflate.spans[i].header);
    }
    free(layer->inflate.spans);
    free(layer->inflate.capture);
    free(layer->inflate.packed);
    decoder_free(layer->inflate.decoder);
    XXH3_freeState(layer->parse.xxh);
    free(layer->parse.decoded);
    tar_free(layer->parse.tar);
    tree_layer_free(layer->parse.tree);
    free(layer->media_type);
    free(layer);
}
