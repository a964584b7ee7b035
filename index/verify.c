/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The happy path of a verification is:
 * - every layer is decoded once more, one after the other (index/build_layer.h): that checks the
 *   blob's digest and the diff_id that the index holds.
 * - a pool job merges the layers' entries anew and compares the tree with the index, node by node.
 * - every span is fetched and decoded as a mount would do it, in runs of RUN_SPANS.
 * Possible failure modes are: whatever a build or a span fetch can fail of, and the first
 * difference that is found; its sentence names the layer or the path.
 * On cancel, and when the engine closes: the part under way is cancelled, and end() comes when it
 * has answered.
 */
#include "engine/work.h"
#include "index/build_layer.h"
#include "index/codec.h"
#include "index/image.h"
#include "index/span.h"
#include "index/tree.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define RUN_SPANS 8u

enum verify_phase { VERIFY_BLOBS, VERIFY_TREE, VERIFY_SPANS };

struct clip_verify {
    struct engine_child child;
    struct clip_engine *engine;
    struct clip_image *image;
    struct source *source;
    clip_progress_cb on_progress;
    void *progress_data;
    clip_done_cb done;
    void *data;

    enum verify_phase phase;
    unsigned n_layers;
    struct layer **layers; /* kept until the tree is compared */
    unsigned layer;        /* the one under way */
    struct descriptor blob;
    struct digest diff_id;
    struct build_layer *building;
    uint64_t done_bytes, total_bytes;

    struct work compare;
    bool comparing;
    struct span_fetch fetch;
    bool fetching;
    uint64_t span; /* the next one of `layer` */

    struct later later;
    bool ending;
    int status;
    struct clip_error err;
};

static void go_on(struct clip_verify *v);

/* ---- the end */

static void verify_free(struct clip_verify *v)
{
    for (unsigned i = 0; v->layers && i < v->n_layers; i++)
        layer_free(v->layers[i]);
    free(v->layers);
    free(v->blob.media_type);
    clip_image_unref(v->image);
    free(v);
}

static void on_source_closed(void *data)
{
    struct clip_verify *v = data;
    clip_done_cb done = v->done;
    void *done_data = v->data;
    struct clip_error err = v->err;
    int status = v->status;

    later_cancel(&v->later);
    engine_remove(v->engine, &v->child);
    verify_free(v);
    done(done_data, status, status < 0 ? &err : NULL);
}

static void end(struct clip_verify *v)
{
    if (v->ending)
        return;
    v->ending = true;
    source_close(v->source, on_source_closed, v);
}

static void fail(struct clip_verify *v, int status, const struct clip_error *err)
{
    if (v->status < 0)
        return;
    v->status = status;
    v->err = *err;
}

/* ---- blobs */

static void describe_layer(struct clip_verify *v)
{
    struct image_layer layer;

    image_layer(v->image, v->layer, &layer);
    free(v->blob.media_type);
    v->blob.digest = layer.digest;
    v->blob.size = layer.size;
    v->blob.media_type = strdup(layer.media_type);
    v->diff_id = layer.diff_id;
}

static void on_layer_progress(void *owner, uint64_t done)
{
    struct clip_verify *v = owner;
    const struct clip_index_progress progress = {
        .phase = CLIP_INDEX_LAYERS,
        .layer = v->layer,
        .n_layers = v->n_layers,
        .layer_done = done,
        .layer_total = v->blob.size,
        .done = v->done_bytes + done,
        .total = v->total_bytes,
    };

    if (v->on_progress)
        v->on_progress(v->progress_data, &progress);
}

static void on_layer_end(void *owner, int status, const struct clip_error *err, struct layer *layer)
{
    struct clip_verify *v = owner;

    v->building = NULL;
    v->layers[v->layer] = layer;
    if (status < 0) {
        fail(v, status, err);
        err_prefix(&v->err, "layer %u of %u", v->layer + 1, v->n_layers);
    }
    v->done_bytes += v->blob.size;
    if (++v->layer == v->n_layers)
        v->phase = VERIFY_TREE;
    go_on(v);
}

static void start_layer(struct clip_verify *v)
{
    const struct build_layer_options options = {
        .source = v->source,
        .blob = &v->blob,
        .diff_id = &v->diff_id,
        .span_size = DECODER_ENDLESS, /* checkpoints are not compared */
        .on_progress = on_layer_progress,
        .on_end = on_layer_end,
        .owner = v,
    };
    struct clip_error err;
    int r;

    describe_layer(v);
    r = v->blob.media_type ? build_layer_open(&options, &v->building, &err)
                           : err_set(&err, -ENOMEM, "out of memory for a layer");
    if (r < 0) {
        fail(v, r, &err);
        end(v);
    }
}

/* ---- the tree */

static uint32_t type_bits(enum tree_kind kind)
{
    static const uint32_t bits[] = {
        [TREE_FILE] = 0100000, [TREE_DIR] = 0040000,   [TREE_SYMLINK] = 0120000,
        [TREE_CHAR] = 0020000, [TREE_BLOCK] = 0060000, [TREE_FIFO] = 0010000,
    };

    return bits[kind];
}

static bool same_xattrs(const struct clip_image *image, uint64_t ino, const struct tree_node *node)
{
    struct clip_xattr xattr;
    const void *value;
    size_t len;

    for (size_t i = 0; i < node->n_xattrs; i++) {
        if (image_getxattr(image, ino, node->xattrs[i].name, &value, &len) < 0 ||
            len != node->xattrs[i].value_len || memcmp(value, node->xattrs[i].value, len) != 0)
            return false;
    }
    return clip_image_xattr(image, ino, node->n_xattrs, &xattr) == -ENODATA;
}

/* What is no extent is a hole. */
static bool same_extents(const struct clip_image *image, uint64_t ino, const struct tree_node *node)
{
    struct image_extent is = {.len = 1};
    uint64_t off = 0;

    for (size_t i = 0; i < node->n_extents; i++) {
        const struct tar_extent *says = &node->extents[i];
        if (says->file_off > off) {
            image_extent(image, ino, off, UINT64_MAX, &is);
            off += is.len;
            if (!is.hole || off != says->file_off)
                return false;
        }
        image_extent(image, ino, off, UINT64_MAX, &is);
        if (is.hole || is.layer != node->layer || is.layer_off != says->layer_off ||
            is.len != says->len)
            return false;
        off += is.len;
    }
    image_extent(image, ino, off, UINT64_MAX, &is);
    return off + is.len == node->size && (is.len == 0 || is.hole);
}

static bool same_content(const struct clip_image *image, uint64_t ino, const struct tree_node *node)
{
    uint8_t digest[DIGEST_LEN];
    const char *target;
    size_t len;

    if (node->kind == TREE_FILE)
        return clip_image_content_digest(image, ino, digest) == 0 &&
               memcmp(digest, node->digest.bytes, DIGEST_LEN) == 0 &&
               same_extents(image, ino, node);
    if (node->kind == TREE_SYMLINK)
        return clip_image_readlink(image, ino, &target, &len) == 0 &&
               len == strlen(node->symlink) && memcmp(target, node->symlink, len) == 0;
    return true;
}

static bool same_stat(const struct clip_image *image, uint64_t ino, const struct tree_node *node)
{
    struct clip_stat st;

    if (clip_image_stat(image, ino, &st) < 0)
        return false;
    return st.mode == (node->mode | type_bits(node->kind)) && st.uid == node->uid &&
           st.gid == node->gid && st.mtime_sec == node->mtime_sec &&
           st.mtime_nsec == node->mtime_nsec && st.nlink == node->nlink &&
           (node->kind != TREE_FILE || st.size == node->size) &&
           st.rdev_major == node->rdev_major && st.rdev_minor == node->rdev_minor;
}

/* Nodes have the same numbers in both, because both are in the same order. */
static int compare_node(struct clip_verify *v, const struct tree *tree, uint32_t i)
{
    char quoted[256];
    struct tree_node node;
    uint64_t ino, parent;

    tree_node(tree, i, &node);
    parent = (uint64_t)node.parent + 1;
    if (i == 0) {
        ino = CLIP_ROOT_INO;
    } else if (image_find(v->image, parent, node.name, node.name_len, &ino) < 0) {
        return err_set(&v->err, CLIP_EFORMAT, "the index lacks \"%s\" (node %u)",
                       err_quote(node.name, node.name_len, quoted, sizeof(quoted)), i + 1);
    }
    if (node.kind == TREE_LINK)
        return ino == (uint64_t)node.target + 1
                   ? 0
                   : err_set(&v->err, CLIP_EFORMAT, "\"%s\" (node %u) is a link to another file",
                             err_quote(node.name, node.name_len, quoted, sizeof(quoted)), i + 1);
    if (same_stat(v->image, ino, &node) && same_content(v->image, ino, &node) &&
        same_xattrs(v->image, ino, &node))
        return 0;
    return err_set(&v->err, CLIP_EFORMAT, "\"%s\" (node %u) is not what the layers say",
                   err_quote(node.name, node.name_len, quoted, sizeof(quoted)), i + 1);
}

static int compare_nodes(struct clip_verify *v, const struct tree *tree)
{
    if (tree_n_nodes(tree) != image_n_nodes(v->image))
        return err_set(&v->err, CLIP_EFORMAT, "the layers give %u nodes, the index has %" PRIu64,
                       tree_n_nodes(tree), image_n_nodes(v->image));
    for (uint32_t i = 0; i < tree_n_nodes(tree); i++) {
        int r = compare_node(v, tree, i);
        if (r < 0)
            return r;
    }
    return 0;
}

static int compare_tree(struct clip_verify *v)
{
    struct tree_options options = {.keep_runtime_dirs = image_keeps_runtime_dirs(v->image)};
    struct tree_layer **layers = calloc(v->n_layers ? v->n_layers : 1, sizeof(layers[0]));
    struct tree *tree;
    int r;

    if (!layers)
        return err_set(&v->err, -ENOMEM, "out of memory for %u layers", v->n_layers);
    for (unsigned i = 0; i < v->n_layers; i++)
        layers[i] = layer_tree(v->layers[i]);
    r = tree_merge(layers, v->n_layers, &options, &tree, &v->err);
    free(layers);
    if (r < 0)
        return r;
    r = compare_nodes(v, tree);
    tree_free(tree);
    return r;
}

static void compare_run(struct work *work)
{
    struct clip_verify *v = container_of(work, struct clip_verify, compare);

    v->status = compare_tree(v);
}

static void compare_done(struct work *work, int status)
{
    struct clip_verify *v = container_of(work, struct clip_verify, compare);

    v->comparing = false;
    if (status < 0)
        v->status = err_set(&v->err, status, "cancelled");
    v->phase = VERIFY_SPANS;
    v->layer = 0;
    go_on(v);
}

static void start_compare(struct clip_verify *v)
{
    v->comparing = true;
    work_submit(v->engine, &v->compare, WORK_BULK, compare_run, compare_done);
}

/* ---- spans */

static void on_decoded(struct span_fetch *req, uint64_t index, int status, struct slab *slab)
{
    (void)index, (void)status;
    slab_unlock(slab);
    span_fetch_resume(req);
}

static void on_fetched(struct span_fetch *req, int status)
{
    struct clip_verify *v = container_of(req, struct clip_verify, fetch);

    v->fetching = false;
    if (status < 0)
        fail(v, status, &req->err);
    v->span += req->n;
    go_on(v);
}

/* How many spans from `first` on go together: a chain, or some before the next one. */
static uint64_t run_of(const struct clip_verify *v, uint64_t first, uint64_t n_spans)
{
    uint64_t end = first, next, n;

    do {
        span_chain(v->image, v->layer, end, &next, &n);
        if (n > 1)
            return end == first ? n : end - first;
        end++;
    } while (end < n_spans && end - first < RUN_SPANS);
    return end - first;
}

static void start_spans(struct clip_verify *v, uint64_t n_spans)
{
    struct clip_error err;

    v->fetch = (struct span_fetch){
        .image = v->image,
        .layer = v->layer,
        .first = v->span,
        .n = run_of(v, v->span, n_spans),
        .lane = WORK_BULK,
        .on_decoded = on_decoded,
        .on_done = on_fetched,
    };
    v->fetching = true;
    if (span_fetch_start(v->source, &v->fetch, 0) < 0) {
        v->fetching = false;
        err_set(&err, -ENOMEM, "out of memory for spans");
        fail(v, -ENOMEM, &err);
        end(v);
    }
}

static void next_spans(struct clip_verify *v)
{
    struct image_layer layer;

    for (; v->layer < v->n_layers; v->layer++, v->span = 0) {
        image_layer(v->image, v->layer, &layer);
        if (v->span < layer.n_spans) {
            start_spans(v, layer.n_spans);
            return;
        }
    }
    end(v);
}

/* To be asked wherever a part ends: what is next? */
static void go_on(struct clip_verify *v)
{
    if (v->building || v->comparing || v->fetching)
        return;
    if (v->status < 0)
        end(v);
    else if (v->phase == VERIFY_BLOBS)
        start_layer(v);
    else if (v->phase == VERIFY_TREE)
        start_compare(v);
    else
        next_spans(v);
}

/* ---- public */

static void go_on_later(struct later *later)
{
    go_on(container_of(later, struct clip_verify, later));
}

void clip_verify_cancel(struct clip_verify *v)
{
    struct clip_error err;

    if (v->ending)
        return;
    err_set(&err, -ECANCELED, "cancelled");
    fail(v, -ECANCELED, &err);
    if (v->building)
        build_layer_cancel(v->building);
    if (v->fetching)
        span_fetch_cancel(&v->fetch);
    later_call(v->engine, &v->later, go_on_later);
}

static void on_engine_close(struct engine_child *child)
{
    clip_verify_cancel(container_of(child, struct clip_verify, child));
}

static struct clip_verify *verify_new(struct clip_engine *engine,
                                      const struct clip_verify_options *options)
{
    struct clip_verify *v = calloc(1, sizeof(*v));
    struct image_layer layer;

    if (!v)
        return NULL;
    v->engine = engine;
    v->image = clip_image_ref(options->image);
    v->on_progress = options->on_progress;
    v->progress_data = options->progress_data;
    v->n_layers = image_n_layers(v->image);
    v->phase = v->n_layers > 0 ? VERIFY_BLOBS : VERIFY_TREE;
    v->layers = calloc(v->n_layers ? v->n_layers : 1, sizeof(v->layers[0]));
    later_init(&v->later);
    if (!v->layers) {
        verify_free(v);
        return NULL;
    }
    for (unsigned i = 0; i < v->n_layers; i++) {
        image_layer(v->image, i, &layer);
        v->total_bytes += layer.size;
    }
    return v;
}

int clip_verify_start(struct clip_engine *engine, const struct clip_verify_options *options,
                      clip_done_cb done, void *data, struct clip_verify **out,
                      struct clip_error *err)
{
    struct clip_verify *v = verify_new(engine, options);
    struct clip_image_info info;
    int r;

    if (!v)
        return err_set(err, -ENOMEM, "out of memory");
    v->done = done;
    v->data = data;
    clip_image_info(options->image, &info);
    r = source_open(engine, options->source ? options->source : info.reference, &options->net,
                    &v->source, err);
    if (r < 0)
        goto fail;
    r = engine_add(engine, &v->child, ENGINE_USER, NULL, on_engine_close);
    if (r < 0) {
        err_set(err, r, "the engine is closing");
        source_close(v->source, NULL, NULL);
        goto fail;
    }
    later_call(engine, &v->later, go_on_later);
    *out = v;
    return 0;
fail:
    verify_free(v);
    return r;
}
