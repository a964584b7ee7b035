/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One pass over each table, in an order in which what is referred to has been checked before:
 * image, layers and spans, extended attributes, attributes, nodes. Runs of records (children,
 * extents, spans, attributes of a set) must follow each other without gaps in the order of those
 * who own them. That makes every record owned exactly once, rules out cycles, and keeps the time
 * linear, since nobody can be made to look at the same run twice.
 */
#include "index/image_map.h"
#include "index/path.h"
#include "index/tree.h"

#include <inttypes.h>
#include <linux/limits.h>
#include <string.h>

struct check {
    const struct clip_image *image;
    struct clip_error *err;
    uint32_t next_child, next_extent; /* where the next run has to begin */
    struct format_image count;        /* what the nodes add up to */
};

static int bad(const struct check *c, const char *table, uint64_t index, const char *what)
{
    return err_set(c->err, CLIP_EFORMAT, "damaged: %s %" PRIu64 ": %s", table, index, what);
}

/* ---- strings */

static bool is_inside(uint64_t off, uint64_t len, uint64_t end)
{
    return off <= end && len <= end - off;
}

static bool has_string(const struct check *c, const struct format_string *s)
{
    return is_inside(s->off, s->len, c->image->strings_len);
}

/* With a NUL behind it, and none inside. */
static bool has_text(const struct check *c, const struct format_string *s)
{
    const char *text = c->image->strings + s->off;

    return is_inside(s->off, (uint64_t)s->len + 1, c->image->strings_len) &&
           memchr(text, '\0', (size_t)s->len + 1) == text + s->len;
}

static bool has_no_nul(const char *bytes, size_t len)
{
    return memchr(bytes, '\0', len) == NULL;
}

/* ---- the image */

static int check_facts(const struct check *c)
{
    const struct format_image *facts = c->image->facts;

    if (!has_text(c, &facts->reference) || !has_text(c, &facts->manifest_media_type) ||
        !has_text(c, &facts->platform) || !has_text(c, &facts->config))
        return bad(c, "image", 0, "a string is out of bounds");
    if (facts->flags & ~FORMAT_KEEPS_RUNTIME_DIRS || facts->reserved != 0)
        return bad(c, "image", 0, "unknown flags");
    return 0;
}

/* ---- layers and spans */

struct span_limits {
    const struct format_layer *layer;
    const struct format_span *before; /* NULL for the first */
    uint64_t out_end;
};

static const char *complain_place(const struct format_span *span, const struct span_limits *limits)
{
    const struct format_span *before = limits->before;

    if (span->in_end > limits->layer->size || span->in_bit / 8 >= span->in_end)
        return "its bytes are not inside the blob";
    if (span->out_off >= limits->out_end)
        return "it is empty, or out of order";
    if (limits->out_end - span->out_off > FORMAT_SPAN_LEN_MAX)
        return "it is too large";
    if (!before && span->out_off != 0)
        return "the first one does not begin at 0";
    if (before && span->in_bit <= before->in_bit)
        return "it is out of order";
    if (span->flags & FORMAT_SPAN_CHAINED && (!before || span->in_bit / 8 != before->in_end))
        return "it does not follow the one it is chained to";
    if (limits->layer->codec != CODEC_GZIP && span->in_bit % 8 != 0)
        return "it begins inside a byte";
    if (limits->layer->codec == CODEC_TAR &&
        (span->in_bit / 8 != span->out_off || span->in_end != limits->out_end))
        return "a plain tar is not where it is";
    return NULL;
}

static const char *complain_state(const struct format_span *span, const struct format_layer *layer)
{
    bool is_fresh = span->flags & FORMAT_SPAN_FRESH;
    bool is_midblock = span->flags & FORMAT_SPAN_MIDBLOCK;
    bool is_chained = span->flags & FORMAT_SPAN_CHAINED;

    if (span->flags & ~(FORMAT_SPAN_FRESH | FORMAT_SPAN_MIDBLOCK | FORMAT_SPAN_CHAINED) ||
        span->header_bit > 7)
        return "unknown flags";
    if (!is_fresh && layer->codec != (is_chained ? CODEC_ZSTD : CODEC_GZIP))
        return "its codec cannot be resumed like that";
    if (is_fresh && is_chained)
        return "it both begins and goes on";
    if ((is_fresh || is_chained) && (is_midblock || span->window_len > 0))
        return "it needs no state, and has some";
    if (span->window_len > FORMAT_WINDOW_MAX || span->header_bits > FORMAT_HEADER_BITS_MAX)
        return "its state is too large";
    if (is_midblock != (span->header_bits > 0))
        return "its block header is not there, or is not needed";
    return NULL;
}

static uint64_t data_len(const struct format_span *span)
{
    uint64_t header_len = span->header_bits ? (span->header_bit + span->header_bits + 7) / 8 : 0;

    return span->window_len + header_len;
}

static int check_spans(const struct check *c, const struct format_layer *layer,
                       uint64_t *next_window)
{
    struct span_limits limits = {.layer = layer};
    uint32_t end = layer->first_span + layer->n_spans;

    for (uint32_t i = layer->first_span; i < end; i++) {
        const struct format_span *span = &c->image->spans[i];
        const char *complaint;
        limits.out_end = i + 1 < end ? span[1].out_off : layer->uncompressed_size;
        complaint = complain_place(span, &limits);
        if (!complaint)
            complaint = complain_state(span, layer);
        if (!complaint && (span->data != *next_window ||
                           !is_inside(span->data, data_len(span), c->image->windows_len)))
            complaint = "its window is not in its place";
        if (complaint)
            return bad(c, "span", i, complaint);
        *next_window += data_len(span);
        limits.before = span;
    }
    return 0;
}

static const char *complain_layer(const struct check *c, const struct format_layer *layer,
                                  uint32_t next_span)
{
    if (!has_text(c, &layer->media_type))
        return "its media type is out of bounds";
    if (layer->codec > CODEC_ZSTD || layer->reserved != 0)
        return "its codec is not known";
    if (layer->first_span != next_span || layer->n_spans > c->image->n_spans - next_span)
        return "its spans are not in their place";
    if ((layer->n_spans == 0) != (layer->uncompressed_size == 0))
        return "its spans do not cover it";
    return NULL;
}

static int check_layers(const struct check *c)
{
    const struct clip_image *image = c->image;
    uint64_t next_window = 0;
    uint32_t next_span = 0;

    if (image->n_layers > UINT16_MAX)
        return bad(c, "layer", UINT16_MAX, "there are too many");
    for (uint32_t i = 0; i < image->n_layers; i++) {
        const char *complaint = complain_layer(c, &image->layers[i], next_span);
        if (complaint)
            return bad(c, "layer", i, complaint);
        next_span += image->layers[i].n_spans;
        int r = check_spans(c, &image->layers[i], &next_window);
        if (r < 0)
            return r;
    }
    if (next_span != image->n_spans)
        return bad(c, "span", next_span, "it is in no layer");
    if (next_window != image->windows_len)
        return bad(c, "window", next_window, "it is no span's");
    return 0;
}

/* ---- attributes */

static bool is_xattr(const struct check *c, const struct format_xattr *xattr)
{
    return has_string(c, &xattr->name) && has_string(c, &xattr->value) && xattr->name.len > 0 &&
           xattr->name.len <= XATTR_NAME_MAX && xattr->value.len <= XATTR_SIZE_MAX &&
           has_no_nul(c->image->strings + xattr->name.off, xattr->name.len);
}

static int compare_strings(const struct clip_image *image, const struct format_string *a,
                           const struct format_string *b)
{
    int r =
        memcmp(image->strings + a->off, image->strings + b->off, a->len < b->len ? a->len : b->len);

    return r ? r : (a->len > b->len) - (a->len < b->len);
}

static int check_xattr_set(const struct check *c, const struct format_xattr_set *set)
{
    for (uint32_t i = set->first; i < set->first + set->n; i++) {
        const struct format_xattr *xattr = &c->image->xattrs[i];
        if (!is_xattr(c, xattr))
            return bad(c, "xattr", i, "it is out of bounds");
        if (i > set->first && compare_strings(c->image, &xattr[-1].name, &xattr->name) >= 0)
            return bad(c, "xattr", i, "it is out of order");
    }
    return 0;
}

static int check_xattrs(const struct check *c)
{
    const struct clip_image *image = c->image;
    uint32_t next = 0;

    for (uint32_t i = 0; i < image->n_xattr_sets; i++) {
        const struct format_xattr_set *set = &image->xattr_sets[i];
        if (set->first != next || set->n == 0 || set->n > image->n_xattrs - next)
            return bad(c, "xattr set", i, "it is not in its place");
        int r = check_xattr_set(c, set);
        if (r < 0)
            return r;
        next += set->n;
    }
    return next == image->n_xattrs ? 0 : bad(c, "xattr", next, "it is in no set");
}

static int check_attrs(const struct check *c)
{
    const struct clip_image *image = c->image;

    for (uint32_t i = 0; i < image->n_attrs; i++) {
        const struct format_attr *attr = &image->attrs[i];
        if (attr->mtime_nsec >= 1000000000u || attr->mode > 07777)
            return bad(c, "attr", i, "its time or its mode is out of bounds");
        if (attr->xattrs != FORMAT_NONE && attr->xattrs >= image->n_xattr_sets)
            return bad(c, "attr", i, "its xattrs are out of bounds");
    }
    return 0;
}

/* ---- nodes */

static const char *complain_plain(const struct check *c, const struct format_node *node)
{
    uint64_t off = (uint64_t)node->file.block * FORMAT_BLOCK_LEN;

    if (node->file.size == 0) {
        bool is_clean = node->layer == 0 && off == 0 && node->file.digest == FORMAT_NONE;
        return is_clean ? NULL : "an empty file has content";
    }
    if (node->layer >= c->image->n_layers ||
        !is_inside(off, node->file.size, c->image->layers[node->layer].uncompressed_size))
        return "its content is not inside its layer";
    if (node->file.digest >= c->image->n_digests)
        return "its digest is out of bounds";
    return NULL;
}

static bool is_extent(const struct format_extent *extent, uint64_t file_off, uint64_t size,
                      const struct format_layer *layer)
{
    return extent->len > 0 && extent->file_off >= file_off &&
           is_inside(extent->file_off, extent->len, size) &&
           is_inside(extent->layer_off, extent->len, layer->uncompressed_size);
}

static const char *complain_extents(const struct check *c, const struct format_node *node)
{
    const struct format_extent *head = &c->image->extents[node->extended.first];
    const struct format_layer *layer = &c->image->layers[node->layer];
    uint64_t file_off = 0;

    if (head->file_off == 0 || head->file_off > INT64_MAX || head->layer_off != 0 || head->len != 0)
        return "its size is out of bounds";
    for (uint32_t i = 1; i <= node->extended.n; i++) {
        if (!is_extent(&head[i], file_off, head->file_off, layer))
            return "an extent is out of bounds, or of order";
        file_off = head[i].file_off + head[i].len;
    }
    return NULL;
}

static const char *complain_extended(struct check *c, const struct format_node *node)
{
    uint32_t left = c->image->n_extents - c->next_extent;

    if (node->extended.first != c->next_extent || left == 0 || node->extended.n > left - 1)
        return "its extents are not in their place";
    if (node->layer >= c->image->n_layers)
        return "its content is not inside its layer";
    if (node->extended.digest >= c->image->n_digests)
        return "its digest is out of bounds";
    c->next_extent += node->extended.n + 1;
    return complain_extents(c, node);
}

static const char *complain_file(struct check *c, const struct format_node *node)
{
    const char *complaint =
        node->kind == FORMAT_FILE ? complain_plain(c, node) : complain_extended(c, node);

    if (complaint)
        return complaint;
    c->count.n_files++;
    c->count.content_size += node->kind == FORMAT_FILE
                                 ? node->file.size
                                 : c->image->extents[node->extended.first].file_off;
    return NULL;
}

static bool is_name(const char *name, size_t len)
{
    if (len == 0 || (name[0] == '.' && (len == 1 || (len == 2 && name[1] == '.'))))
        return false;
    for (size_t i = 0; i < len; i++)
        if (name[i] == '/' || name[i] == '\0')
            return false;
    return true;
}

static bool is_before(const struct clip_image *image, const struct format_node *a,
                      const struct format_node *b)
{
    const struct format_string left = {a->name, a->name_len}, right = {b->name, b->name_len};

    return compare_strings(image, &left, &right) < 0;
}

/* Names of children are checked with the directory, which comes before all of them. */
static const char *complain_children(struct check *c, uint32_t index, const struct format_node *dir)
{
    const struct clip_image *image = c->image;
    uint32_t n_dirs = 0;

    for (uint32_t i = dir->dir.first; i < dir->dir.first + dir->dir.n; i++) {
        const struct format_node *node = &image->nodes[i];
        if (node->parent != index)
            return "a child has another parent";
        if (!is_inside(node->name, node->name_len, image->strings_len) ||
            !is_name(image->strings + node->name, node->name_len))
            return "a child has no valid name";
        if (i > dir->dir.first && !is_before(image, node - 1, node))
            return "its children are out of order";
        n_dirs += node->kind == FORMAT_DIR;
    }
    return n_dirs == dir->dir.n_dirs ? NULL : "its directories are miscounted";
}

static const char *complain_dir(struct check *c, uint32_t index, const struct format_node *node)
{
    c->count.n_dirs++;
    if (node->dir.n == 0)
        return node->dir.first || node->dir.n_dirs ? "an empty directory has children" : NULL;
    if (node->dir.first != c->next_child || node->dir.n > c->image->n_nodes - c->next_child)
        return "its children are not in their place";
    c->next_child += node->dir.n;
    return complain_children(c, index, node);
}

static const char *complain_symlink(struct check *c, const struct format_node *node)
{
    c->count.n_symlinks++;
    if (!has_string(c, &node->symlink) || node->symlink.len == 0 ||
        node->symlink.len > PATH_TARGET_MAX ||
        !has_no_nul(c->image->strings + node->symlink.off, node->symlink.len))
        return "its target is out of bounds";
    return NULL;
}

static const char *complain_link(struct check *c, uint32_t index, const struct format_node *node)
{
    uint8_t kind;

    c->count.n_hardlinks++;
    if (node->link.target >= index || node->attr != 0)
        return "a hard link is not to an earlier node";
    kind = c->image->nodes[node->link.target].kind;
    return kind == FORMAT_DIR || kind == FORMAT_LINK ? "a hard link is not to a file" : NULL;
}

static const char *complain_kind(struct check *c, uint32_t index, const struct format_node *node)
{
    switch ((enum format_kind)node->kind) {
    case FORMAT_FILE:
    case FORMAT_EXTENDED:
        return complain_file(c, node);
    case FORMAT_DIR:
        return complain_dir(c, index, node);
    case FORMAT_SYMLINK:
        return complain_symlink(c, node);
    case FORMAT_CHAR:
    case FORMAT_BLOCK:
    case FORMAT_FIFO:
        c->count.n_others++;
        return NULL;
    case FORMAT_LINK:
        return complain_link(c, index, node);
    case FORMAT_KINDS:
        break;
    }
    return "its kind is not known";
}

/* Unused parts of the record: what a later version might use must be 0 now. */
static bool is_clean(const struct format_node *node)
{
    if (!node_is_file(node) && node->layer != 0)
        return false;
    switch ((enum format_kind)node->kind) {
    case FORMAT_FIFO:
        return node->words[0] == 0 && node->words[1] == 0 && node->words[2] == 0;
    case FORMAT_LINK:
        return node->words[1] == 0 && node->words[2] == 0;
    case FORMAT_SYMLINK:
    case FORMAT_CHAR:
    case FORMAT_BLOCK:
        return node->words[2] == 0;
    default:
        return true;
    }
}

static int check_node(struct check *c, uint32_t index)
{
    const struct format_node *node = &c->image->nodes[index];
    const char *complaint;

    if (index >= c->next_child)
        return bad(c, "node", index, "it is in no directory");
    if (node->attr >= c->image->n_attrs)
        return bad(c, "node", index, "its attributes are out of bounds");
    if (!is_clean(node))
        return bad(c, "node", index, "it has unknown bits");
    complaint = complain_kind(c, index, node);
    return complaint ? bad(c, "node", index, complaint) : 0;
}

static int check_root(const struct check *c)
{
    const struct format_node *root = c->image->nodes;

    if (c->image->n_nodes == 0 || root->kind != FORMAT_DIR || root->parent != 0 ||
        root->name_len != 0 || root->name != 0)
        return bad(c, "node", 0, "it is not a root");
    return c->image->n_nodes > TREE_ENTRIES_MAX + 1 ? bad(c, "node", 0, "there are too many") : 0;
}

static int check_counts(const struct check *c)
{
    const struct format_image *facts = c->image->facts, *count = &c->count;

    if (c->next_extent != c->image->n_extents)
        return bad(c, "extent", c->next_extent, "it is no file's");
    if (facts->n_entries != c->image->n_nodes - 1 || facts->n_files != count->n_files ||
        facts->n_dirs != count->n_dirs - 1 || facts->n_symlinks != count->n_symlinks ||
        facts->n_hardlinks != count->n_hardlinks || facts->n_others != count->n_others ||
        facts->content_size != count->content_size)
        return bad(c, "image", 0, "its nodes are miscounted");
    return 0;
}

static int check_nodes(struct check *c)
{
    int r = check_root(c);

    c->next_child = 1;
    for (uint32_t i = 0; r == 0 && i < c->image->n_nodes; i++)
        r = check_node(c, i);
    return r < 0 ? r : check_counts(c);
}

static int check_profile(const struct check *c)
{
    const struct clip_image *image = c->image;

    if (image->n_profile > image->n_spans)
        return bad(c, "profile", image->n_spans, "there are not so many spans");
    for (uint32_t i = 0; i < image->n_profile; i++) {
        const struct format_profile *at = &image->profile[i];

        if (at->layer >= image->n_layers || at->span >= image->layers[at->layer].n_spans)
            return bad(c, "profile", i, "a span that is not there");
    }
    return 0;
}

static bool is_file(const struct clip_image *image, uint32_t index)
{
    return index < image->n_nodes && node_is_file(&image->nodes[index]);
}

static int check_needs(const struct check *c)
{
    const struct clip_image *image = c->image;

    for (uint32_t i = 0; i < image->n_needs; i++) {
        const struct format_need *need = &image->needs[i];

        if (!is_file(image, need->node) || !is_file(image, need->needed) ||
            need->node == need->needed)
            return bad(c, "need", i, "it is not of two files");
        if (i > 0 && need->node < need[-1].node)
            return bad(c, "need", i, "it is out of order");
    }
    return 0;
}

int image_check(const struct clip_image *image, struct clip_error *err)
{
    struct check c = {.image = image, .err = err};
    int r;

    r = check_facts(&c);
    if (r == 0)
        r = check_layers(&c);
    if (r == 0)
        r = check_xattrs(&c);
    if (r == 0)
        r = check_attrs(&c);
    if (r == 0)
        r = check_nodes(&c);
    if (r == 0)
        r = check_profile(&c);
    if (r == 0)
        r = check_needs(&c);
    return r;
}
