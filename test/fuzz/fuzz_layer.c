/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes as a layer's blob of any format, through all stages: cut in two ways they give the same
 * spans and the same layer, or both fail. The first byte says how the rest is cut.
 */
#include "index/layer.h"

#include <stdlib.h>
#include <string.h>

#define OUT_MAX (4u << 20) /* bytes of a layer that are looked at */

static void check(bool holds)
{
    if (!holds)
        abort();
}

struct run {
    struct layer *layer;
    uint8_t *room;
    size_t cap;
    uint64_t done;
};

/* Until it wants more: 0, or what else it says. */
static int run_stages(struct run *run)
{
    struct layer_piece piece;
    struct clip_error err;
    int event, r;

    do {
        struct layer_chunk chunk = {.bytes = run->room, .cap = run->cap};

        event = layer_inflate(run->layer, &chunk, &err);
        check(chunk.len <= chunk.cap && chunk.n_cuts <= LAYER_CUTS_MAX);
        if (event < 0)
            return event;
        run->done += chunk.len;
        r = layer_parse(run->layer, &chunk, &err);
        piece = layer_take_piece(run->layer);
        if (r == 0)
            r = layer_seal(run->layer, &piece, &err);
        layer_piece_free(&piece);
        if (r < 0)
            return r;
    } while (event == LAYER_CHUNK && run->done < OUT_MAX);
    return event;
}

static int decode(struct run *run, const uint8_t *in, size_t len, size_t cut)
{
    struct clip_error err;
    int r = LAYER_MORE_IN;

    for (size_t off = 0; off < len && r == LAYER_MORE_IN; off += cut) {
        layer_feed(run->layer, in + off, len - off < cut ? len - off : cut);
        r = run_stages(run);
    }
    if (r == LAYER_MORE_IN) {
        layer_end(run->layer);
        r = run_stages(run);
    }
    return r == LAYER_END ? layer_finish(run->layer, &err) : r < 0 ? r : -EFBIG;
}

static struct run run_new(const uint8_t *in, size_t len, size_t cap)
{
    struct run run = {.room = malloc(cap), .cap = cap};
    struct digest digest;
    const struct layer_options options = {
        .digest = &digest,
        .size = len,
        .media_type = "application/vnd.oci.image.layer.v1.tar+gzip",
        .span_size = 4096,
    };

    sha256_of(in, len, &digest);
    check(run.room && layer_new(&options, &run.layer) == 0);
    return run;
}

static void assert_same(const struct writer_layer *a, const struct writer_layer *b)
{
    check(digest_equal(&a->diff_id, &b->diff_id) && a->uncompressed_size == b->uncompressed_size &&
          a->codec == b->codec && a->n_spans == b->n_spans);
    for (size_t i = 0; i < a->n_spans; i++) {
        const struct writer_span *x = &a->spans[i], *y = &b->spans[i];

        check(x->in_bit == y->in_bit && x->in_end == y->in_end && x->out_off == y->out_off &&
              x->flags == y->flags && x->window_len == y->window_len);
        check(!x->window_len || memcmp(x->window, y->window, x->window_len) == 0);
        check(digest_equal(&x->fetched, &y->fetched) &&
              memcmp(x->decoded, y->decoded, sizeof(x->decoded)) == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct run a, b;
    int r[2];

    if (size < 2)
        return 0;
    a = run_new(data + 1, size - 1, 1u << 20);
    b = run_new(data + 1, size - 1, 1 + 13 * data[0]);
    r[0] = decode(&a, data + 1, size - 1, size);
    r[1] = decode(&b, data + 1, size - 1, 1 + data[0] % 128);
    if (r[0] != -EFBIG && r[1] != -EFBIG)
        check(r[0] == r[1]);
    if (r[0] == 0 && r[1] == 0)
        assert_same(layer_result(a.layer), layer_result(b.layer));
    layer_free(a.layer);
    layer_free(b.layer);
    free(a.room);
    free(b.room);
    return 0;
}
