/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The happy path of an encoding is:
 * - nodes in their order, which intern their names, attributes and extended attributes as they
 *   come; then which of them needs which (index/resolve.h). Meanwhile, on another thread:
 * their digests, in the same order, and layers, spans and windows, of which the nodes know nothing.
 * - the end: nodes get the numbers of their digests, layers their media types, then the image.
 * What is interned gets its place by first use, so that the bytes follow from the input alone.
 * Possible failure modes are: no memory, a table past 4 GiB.
 */
#include "index/writer.h"

#include "index/resolve.h"

#include <stdlib.h>
#include <string.h>

#define STRING_LEN_EXPECTED 32u /* a name, and a symlink's target for some */

static struct section *section_of(struct writer *w, enum format_section_type type)
{
    return &w->sections[type];
}

/* ---- strings */

static int put_bytes(struct writer *w, const void *bytes, size_t len, struct format_string *out)
{
    if (len > UINT32_MAX)
        return -EFBIG;
    out->len = (uint32_t)len;
    return section_intern_bytes(section_of(w, FORMAT_STRINGS), bytes, len, &out->off);
}

/* With the NUL behind it, so that clip.h can lend it. `len` bytes of `text`. */
static int put_text(struct writer *w, const char *text, size_t len, struct format_string *out)
{
    char *copy = strndup(text, len);
    int r;

    if (!copy)
        return -ENOMEM;
    r = put_bytes(w, copy, strlen(copy) + 1, out);
    if (r == 0)
        out->len--;
    free(copy);
    return r;
}

/* ---- nodes */

static int put_xattrs(struct writer *w, const struct tree_node *node, uint32_t *out)
{
    struct format_xattr_set set = {.n = (uint32_t)node->n_xattrs};
    struct format_xattr *items;
    uint32_t off;
    int r = 0;

    if (node->n_xattrs == 0) {
        *out = FORMAT_NONE;
        return 0;
    }
    items = calloc(node->n_xattrs, sizeof(*items));
    if (!items)
        return -ENOMEM;
    for (size_t i = 0; r == 0 && i < node->n_xattrs; i++) {
        const struct tar_xattr *xattr = &node->xattrs[i];
        r = put_bytes(w, xattr->name, strlen(xattr->name), &items[i].name);
        if (r == 0)
            r = put_bytes(w, xattr->value, xattr->value_len, &items[i].value);
    }
    if (r == 0)
        r = section_intern_bytes(section_of(w, FORMAT_XATTRS), items,
                                 node->n_xattrs * sizeof(*items), &off);
    free(items);
    if (r < 0)
        return r;
    set.first = off / (uint32_t)sizeof(*items);
    return section_intern(section_of(w, FORMAT_XATTR_SETS), &set, sizeof(set), out);
}

static int put_attr(struct writer *w, const struct tree_node *node, uint32_t *out)
{
    struct format_attr attr = {
        .mtime_sec = node->mtime_sec,
        .mtime_nsec = node->mtime_nsec,
        .mode = node->mode,
        .uid = node->uid,
        .gid = node->gid,
        .nlink = node->kind == TREE_DIR ? 0 : node->nlink,
    };
    int r = put_xattrs(w, node, &attr.xattrs);

    if (r < 0)
        return r;
    return section_intern(section_of(w, FORMAT_ATTRS), &attr, sizeof(attr), out);
}

static bool is_plain(const struct tree_node *node)
{
    const struct tar_extent *extent = node->extents;

    if (node->size == 0)
        return true;
    return node->n_extents == 1 && extent->file_off == 0 && extent->len == node->size &&
           node->size <= UINT32_MAX && extent->layer_off % FORMAT_BLOCK_LEN == 0 &&
           extent->layer_off / FORMAT_BLOCK_LEN <= UINT32_MAX;
}

static void put_plain(const struct tree_node *node, struct format_node *out)
{
    out->kind = FORMAT_FILE;
    out->file.digest = FORMAT_NONE;
    if (node->size == 0)
        return;
    out->layer = node->layer;
    out->file.size = (uint32_t)node->size;
    out->file.block = (uint32_t)(node->extents[0].layer_off / FORMAT_BLOCK_LEN);
}

static int put_extended(struct writer *w, const struct tree_node *node, struct format_node *out)
{
    struct section *extents = section_of(w, FORMAT_EXTENTS);
    const struct format_extent size = {.file_off = node->size};
    size_t first = extents->len / sizeof(size);
    int r = section_append(extents, &size, sizeof(size));

    for (size_t i = 0; r == 0 && i < node->n_extents; i++) {
        const struct tar_extent *from = &node->extents[i];
        const struct format_extent extent = {from->file_off, from->layer_off, from->len};
        r = section_append(extents, &extent, sizeof(extent));
    }
    if (r < 0)
        return r;
    if (extents->len / sizeof(size) > UINT32_MAX)
        return -EFBIG;
    out->kind = FORMAT_EXTENDED;
    out->layer = node->layer;
    out->extended.first = (uint32_t)first;
    out->extended.n = (uint32_t)node->n_extents;
    return 0;
}

static int put_device(struct writer *w, const struct tree_node *node, enum format_kind kind,
                      struct format_node *out)
{
    w->facts.n_others++;
    out->kind = (uint8_t)kind;
    out->device.major = node->rdev_major;
    out->device.minor = node->rdev_minor;
    return 0;
}

static int put_kind(struct writer *w, const struct tree_node *node, struct format_node *out)
{
    switch (node->kind) {
    case TREE_FILE:
        w->facts.n_files++;
        w->facts.content_size += node->size;
        if (!is_plain(node))
            return put_extended(w, node, out);
        put_plain(node, out);
        return 0;
    case TREE_DIR:
        w->facts.n_dirs++;
        out->kind = FORMAT_DIR;
        out->dir.first = node->first_child;
        out->dir.n = node->n_children;
        out->dir.n_dirs = node->nlink - 2;
        return 0;
    case TREE_SYMLINK:
        w->facts.n_symlinks++;
        out->kind = FORMAT_SYMLINK;
        return put_bytes(w, node->symlink, strlen(node->symlink), &out->symlink);
    case TREE_CHAR:
        return put_device(w, node, FORMAT_CHAR, out);
    case TREE_BLOCK:
        return put_device(w, node, FORMAT_BLOCK, out);
    case TREE_FIFO:
        return put_device(w, node, FORMAT_FIFO, out);
    case TREE_LINK:
        break;
    }
    w->facts.n_hardlinks++;
    out->kind = FORMAT_LINK;
    out->link.target = node->target;
    return 0;
}

static int put_node(struct writer *w, uint32_t index)
{
    struct format_node out = {0};
    struct format_string name;
    struct tree_node node;
    int r;

    tree_node(w->image->tree, index, &node);
    out.parent = node.parent;
    out.name_len = (uint8_t)node.name_len;
    r = put_bytes(w, node.name, node.name_len, &name);
    if (r == 0 && node.kind != TREE_LINK)
        r = put_attr(w, &node, &out.attr);
    if (r == 0)
        r = put_kind(w, &node, &out);
    if (r == 0 && node.needs)
        r = section_append(&w->needy, &index, sizeof(index));
    if (r < 0)
        return r;
    out.name = name.off;
    return section_append(section_of(w, FORMAT_NODES), &out, sizeof(out));
}

static int put_nodes(struct writer *w)
{
    uint32_t n = tree_n_nodes(w->image->tree);
    int r = section_reserve(section_of(w, FORMAT_NODES), n * sizeof(struct format_node));

    if (r == 0)
        r = section_expect(section_of(w, FORMAT_STRINGS), n, STRING_LEN_EXPECTED);
    for (uint32_t i = 0; r == 0 && i < n; i++)
        r = put_node(w, i);
    w->facts.n_dirs--; /* the root is no entry */
    w->facts.n_entries = n - 1;
    return r;
}

static int put_needs(struct writer *w)
{
    const struct resolve_input input = {
        .tree = w->image->tree,
        .needy = (const uint32_t *)w->needy.bytes,
        .n_needy = w->needy.len / sizeof(uint32_t),
        .nodes = section_of(w, FORMAT_NODES),
        .strings = section_of(w, FORMAT_STRINGS),
    };

    return input.n_needy > 0 ? resolve_needs(&input, section_of(w, FORMAT_NEEDS)) : 0;
}

/* ---- their digests */

/* The number of each digest is kept for the end, in the order of the files. */
static int put_digest(struct writer *w, const struct tree_node *node)
{
    uint32_t number;
    int r;

    if (node->kind != TREE_FILE || node->size == 0)
        return 0;
    r = section_intern(section_of(w, FORMAT_DIGESTS), node->digest.bytes, DIGEST_LEN, &number);
    return r < 0 ? r : section_append(&w->numbers, &number, sizeof(number));
}

static int put_digests(struct writer *w)
{
    uint32_t n = tree_n_nodes(w->image->tree);
    /* nobody knows how many differ, and the map would be written to */
    int r = section_reserve(section_of(w, FORMAT_DIGESTS), (size_t)n * DIGEST_LEN);

    if (r == 0)
        r = section_reserve(&w->numbers, n * sizeof(uint32_t));
    for (uint32_t i = 0; r == 0 && i < n; i++) {
        struct tree_node node;

        tree_node(w->image->tree, i, &node);
        r = put_digest(w, &node);
    }
    return r;
}

/* ---- layers */

static int put_span(struct writer *w, const struct writer_span *span)
{
    struct section *windows = section_of(w, FORMAT_WINDOWS);
    struct format_span out = {
        .in_bit = span->in_bit,
        .in_end = span->in_end,
        .out_off = span->out_off,
        .data = windows->len,
        .window_len = span->window_len,
        .flags = span->flags,
    };
    int r = section_append(windows, span->window, span->window_len);

    if (r == 0 && span->header_bits > 0) {
        out.header_bits = (uint32_t)span->header_bits;
        out.header_bit = span->header_bit;
        r = section_append(windows, span->header, (span->header_bit + span->header_bits + 7) / 8);
    }
    if (r < 0)
        return r;
    memcpy(out.fetched, span->fetched.bytes, sizeof(out.fetched));
    memcpy(out.decoded, span->decoded, sizeof(out.decoded));
    return section_append(section_of(w, FORMAT_SPANS), &out, sizeof(out));
}

/* A checkpoint after which nothing comes (an empty member at a blob's end, say) is no span. */
static bool is_empty(const struct writer_layer *layer, size_t index)
{
    uint64_t end =
        index + 1 < layer->n_spans ? layer->spans[index + 1].out_off : layer->uncompressed_size;

    return layer->spans[index].out_off == end;
}

static int put_layer(struct writer *w, const struct writer_layer *layer)
{
    struct format_layer out = {
        .size = layer->size,
        .uncompressed_size = layer->uncompressed_size,
        .codec = layer->codec,
        .first_span = (uint32_t)(section_of(w, FORMAT_SPANS)->len / sizeof(struct format_span)),
    };
    int r = 0;

    for (size_t i = 0; r == 0 && i < layer->n_spans; i++) {
        if (is_empty(layer, i))
            continue;
        r = put_span(w, &layer->spans[i]);
        out.n_spans++;
    }
    if (r < 0)
        return r;
    memcpy(out.digest, layer->digest.bytes, sizeof(out.digest));
    memcpy(out.diff_id, layer->diff_id.bytes, sizeof(out.diff_id));
    return section_append(section_of(w, FORMAT_LAYERS), &out, sizeof(out));
}

static int put_layers(struct writer *w)
{
    int r = 0;

    for (unsigned i = 0; r == 0 && i < w->image->n_layers; i++)
        r = put_layer(w, &w->image->layers[i]);
    return r;
}

/* ---- the end */

static void give_digests(struct writer *w)
{
    struct format_node *nodes = (struct format_node *)section_of(w, FORMAT_NODES)->bytes;
    const uint32_t *number = (const uint32_t *)w->numbers.bytes;

    for (uint32_t i = 0; i < tree_n_nodes(w->image->tree); i++) {
        if (nodes[i].kind == FORMAT_FILE && nodes[i].file.size > 0)
            nodes[i].file.digest = *number++;
        else if (nodes[i].kind == FORMAT_EXTENDED)
            nodes[i].extended.digest = *number++;
    }
}

static int put_media_types(struct writer *w)
{
    struct format_layer *layers = (struct format_layer *)section_of(w, FORMAT_LAYERS)->bytes;
    int r = 0;

    for (unsigned i = 0; r == 0 && i < w->image->n_layers; i++) {
        const char *media_type = w->image->layers[i].media_type;

        r = put_text(w, media_type, strlen(media_type), &layers[i].media_type);
    }
    return r;
}

static int put_image(struct writer *w)
{
    const struct writer_image *image = w->image;
    struct format_image *facts = &w->facts;
    int r = put_text(w, image->reference, strlen(image->reference), &facts->reference);

    if (r == 0)
        r = put_text(w, image->manifest_media_type, strlen(image->manifest_media_type),
                     &facts->manifest_media_type);
    if (r == 0)
        r = put_text(w, image->platform, strlen(image->platform), &facts->platform);
    if (r == 0)
        r = put_text(w, image->config, image->config_len, &facts->config);
    if (r < 0)
        return r;
    memcpy(facts->manifest_digest, image->manifest_digest.bytes, sizeof(facts->manifest_digest));
    facts->span_size = image->span_size;
    facts->flags = image->keep_runtime_dirs ? FORMAT_KEEPS_RUNTIME_DIRS : 0;
    return section_append(section_of(w, FORMAT_IMAGE), facts, sizeof(*facts));
}

/* ---- public */

static int say_why(int r, struct clip_error *err)
{
    if (r == -EFBIG)
        return err_set(err, r, "the image is too large for an index");
    return r < 0 ? err_set(err, r, "out of memory for the index") : 0;
}

void writer_init(struct writer *w, const struct writer_image *image)
{
    *w = (struct writer){.image = image};
    for (unsigned i = 0; i < FORMAT_SECTIONS_END; i++)
        section_init(&w->sections[i]);
    section_init(&w->numbers);
    section_init(&w->needy);
}

void writer_fini(struct writer *w)
{
    for (unsigned i = 0; i < FORMAT_SECTIONS_END; i++)
        section_fini(&w->sections[i]);
    section_fini(&w->numbers);
    section_fini(&w->needy);
}

int writer_put_nodes(struct writer *w, struct clip_error *err)
{
    int r = put_nodes(w);

    if (r == 0)
        r = put_needs(w);
    return say_why(r, err);
}

int writer_put_digests(struct writer *w, struct clip_error *err)
{
    int r = put_digests(w);

    if (r == 0)
        r = put_layers(w);
    return say_why(r, err);
}

int writer_end(struct writer *w, struct clip_error *err)
{
    int r;

    give_digests(w);
    r = put_media_types(w);
    if (r == 0)
        r = put_image(w);
    return say_why(r, err);
}
