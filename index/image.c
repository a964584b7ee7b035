/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening maps the file shared and read-only, so that all mounts of an image on a machine share
 * its pages, and checks it once (image_sections.c, image_check.c). From then on numbers in the
 * tables are used as they are: only what a caller passes in is looked at.
 *
 * The file must not be written to while it is mapped, nor cut (that would be SIGBUS): clip itself
 * only ever renames a new file over an old one, which leaves the old one as it is.
 */
#include "index/image.h"

#include "index/image_map.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- opening */

static int read_image(struct clip_image *image, struct clip_error *err)
{
    int r = image_read_sections(image, err);

    if (r == 0)
        r = image_check(image, err);
    if (r < 0)
        return r;
    r = image_write_texts(image);
    return r < 0 ? err_set(err, r, "out of memory") : 0;
}

static int image_new(const uint8_t *bytes, size_t len, struct clip_image **out)
{
    struct clip_image *image = calloc(1, sizeof(*image));

    if (!image)
        return -ENOMEM;
    image->bytes = bytes;
    image->len = len;
    atomic_init(&image->n_refs, 1);
    *out = image;
    return 0;
}

int image_from_memory(const void *bytes, size_t len, struct clip_image **out,
                      struct clip_error *err)
{
    struct clip_image *image = NULL;
    int r = image_new(bytes, len, &image);

    if (r < 0)
        return err_set(err, r, "out of memory");
    r = read_image(image, err);
    if (r < 0) {
        clip_image_unref(image);
        return r;
    }
    *out = image;
    return 0;
}

/* The length of a file that may be mapped. */
static int check_file(int fd, size_t *out_len, struct clip_error *err)
{
    struct stat st;

    if (fstat(fd, &st) < 0)
        return err_sys(err, -errno, "cannot be looked at");
    if (!S_ISREG(st.st_mode))
        return err_set(err, S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL,
                       "not a clip index: it is not a regular file");
    if ((uint64_t)st.st_size > FORMAT_SIZE_MAX)
        return err_set(err, -EFBIG, "not a clip index: %" PRIu64 " bytes are too many",
                       (uint64_t)st.st_size);
    if (st.st_size == 0)
        return err_set(err, CLIP_EFORMAT, "not a clip index: it is empty");
    *out_len = (size_t)st.st_size;
    return 0;
}

static int map_file(int fd, struct clip_image **out, struct clip_error *err)
{
    void *bytes;
    size_t len = 0;
    int r = check_file(fd, &len, err);

    if (r < 0)
        return r;
    /* all of it is about to be read: one call is cheaper than a fault for each stretch */
    bytes = mmap(NULL, len, PROT_READ, MAP_SHARED | MAP_POPULATE, fd, 0);
    if (bytes == MAP_FAILED)
        return err_sys(err, -errno, "cannot be mapped");
    r = image_new(bytes, len, out);
    if (r < 0) {
        munmap(bytes, len);
        return err_set(err, r, "out of memory");
    }
    (*out)->is_mapped = true;
    return 0;
}

static int open_file(const char *path, struct clip_image **out, struct clip_error *err)
{
    struct clip_image *image = NULL;
    /* NONBLOCK: a FIFO must be refused, not waited for */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    int r;

    if (fd < 0)
        return err_sys(err, -errno, "cannot be opened");
    r = map_file(fd, &image, err);
    close(fd);
    if (r < 0)
        return r;
    r = read_image(image, err);
    if (r < 0) {
        clip_image_unref(image);
        return r;
    }
    *out = image;
    return 0;
}

int clip_image_open(const char *path, struct clip_image **out, struct clip_error *err)
{
    struct clip_error own;
    int r = open_file(path, out, &own);

    if (r < 0)
        return err_set(err, r, "%s: %s", path, own.message);
    return 0;
}

struct clip_image *clip_image_ref(struct clip_image *image)
{
    atomic_fetch_add_explicit(&image->n_refs, 1, memory_order_relaxed);
    return image;
}

void clip_image_unref(struct clip_image *image)
{
    if (!image || atomic_fetch_sub_explicit(&image->n_refs, 1, memory_order_acq_rel) > 1)
        return;
    if (image->is_mapped)
        munmap((void *)image->bytes, image->len);
    free(image->texts);
    free(image);
}

/* ---- the image and its layers */

static const char *text_at(const struct clip_image *image, const struct format_string *s)
{
    return image->strings + s->off;
}

static struct digest digest_at(const uint8_t bytes[DIGEST_LEN])
{
    struct digest digest;

    memcpy(digest.bytes, bytes, sizeof(digest.bytes));
    return digest;
}

uint64_t image_n_nodes(const struct clip_image *image)
{
    return image->n_nodes;
}

bool image_has_xattrs(const struct clip_image *image)
{
    return image->n_xattr_sets > 0;
}

unsigned image_n_layers(const struct clip_image *image)
{
    return image->n_layers;
}

void image_layer(const struct clip_image *image, unsigned layer, struct image_layer *out)
{
    const struct format_layer *from = &image->layers[layer];

    *out = (struct image_layer){
        .digest = digest_at(from->digest),
        .diff_id = digest_at(from->diff_id),
        .media_type = text_at(image, &from->media_type),
        .codec = (enum codec)from->codec,
        .size = from->size,
        .uncompressed_size = from->uncompressed_size,
        .n_spans = from->n_spans,
    };
}

uint64_t image_n_spans(const struct clip_image *image)
{
    return image->n_spans;
}

uint64_t image_span_number(const struct clip_image *image, unsigned layer, uint64_t index)
{
    return image->layers[layer].first_span + index;
}

void image_span(const struct clip_image *image, unsigned layer, uint64_t index,
                struct image_span *out)
{
    const struct format_layer *in = &image->layers[layer];
    const struct format_span *span = &image->spans[in->first_span + index];
    uint64_t out_end = index + 1 < in->n_spans ? span[1].out_off : in->uncompressed_size;
    const uint8_t *data = image->windows + span->data;

    *out = (struct image_span){
        .in_off = span->in_bit / 8,
        .in_len = span->in_end - span->in_bit / 8,
        .out_off = span->out_off,
        .out_len = out_end - span->out_off,
        .in_bit = span->in_bit,
        .flags = span->flags,
        .window = span->window_len ? data : NULL,
        .window_len = span->window_len,
        .header = span->header_bits ? data + span->window_len : NULL,
        .header_bit = span->header_bit,
        .header_bits = span->header_bits,
        .fetched = digest_at(span->fetched),
    };
    memcpy(out->decoded, span->decoded, sizeof(out->decoded));
}

uint64_t image_span_at(const struct clip_image *image, unsigned layer, uint64_t off)
{
    const struct format_layer *in = &image->layers[layer];
    const struct format_span *spans = image->spans + in->first_span;
    uint32_t low = 0, high = in->n_spans; /* spans[low] begins at or before off */

    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (spans[middle].out_off <= off)
            low = middle;
        else
            high = middle;
    }
    return low;
}

/* ---- nodes */

static const struct format_node *node_at(const struct clip_image *image, uint64_t ino)
{
    const struct format_node *node;

    if (ino == 0 || ino > image->n_nodes)
        return NULL;
    node = &image->nodes[ino - 1];
    return node->kind == FORMAT_LINK ? &image->nodes[node->link.target] : node;
}

static uint64_t number_of(const struct clip_image *image, const struct format_node *node)
{
    return (uint64_t)(node - image->nodes) + 1;
}

uint64_t image_inode(const struct clip_image *image, uint64_t ino)
{
    const struct format_node *node = node_at(image, ino);

    return node ? number_of(image, node) : 0;
}

uint64_t image_parent(const struct clip_image *image, uint64_t ino)
{
    if (ino == 0 || ino > image->n_nodes)
        return 0;
    return (uint64_t)image->nodes[ino - 1].parent + 1;
}

int image_compare_name(const struct clip_image *image, const struct format_node *node,
                       const char *name, size_t name_len)
{
    int r = memcmp(image->strings + node->name, name,
                   node->name_len < name_len ? node->name_len : name_len);

    return r ? r : (node->name_len > name_len) - (node->name_len < name_len);
}

/* The first child of `in` whose name is not before that: a node's index, up to behind the last. */
static uint32_t seek(const struct clip_image *image, const struct format_node *in, const char *name,
                     size_t name_len)
{
    uint32_t low = in->dir.first, high = low + in->dir.n;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;

        if (image_compare_name(image, &image->nodes[middle], name, name_len) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

int image_seek(const struct clip_image *image, uint64_t dir, const char *name, size_t name_len,
               uint64_t *out)
{
    const struct format_node *in = node_at(image, dir);

    if (!in)
        return -ENOENT;
    if (in->kind != FORMAT_DIR)
        return -ENOTDIR;
    *out = seek(image, in, name, name_len) - in->dir.first;
    return 0;
}

int image_find(const struct clip_image *image, uint64_t dir, const char *name, size_t name_len,
               uint64_t *out_ino)
{
    const struct format_node *in = node_at(image, dir);
    uint32_t at;

    if (!in)
        return -ENOENT;
    if (in->kind != FORMAT_DIR)
        return -ENOTDIR;
    at = seek(image, in, name, name_len);
    if (at == in->dir.first + in->dir.n ||
        image_compare_name(image, &image->nodes[at], name, name_len) != 0)
        return -ENOENT;
    *out_ino = image_inode(image, (uint64_t)at + 1);
    return 0;
}

static uint64_t file_size(const struct clip_image *image, const struct format_node *node)
{
    if (node->kind == FORMAT_FILE)
        return node->file.size;
    return image->extents[node->extended.first].file_off;
}

/* ---- content */

/* The last of the extents that begins at or before `off`, or the first one. */
static const struct format_extent *extent_at(const struct format_extent *extents, uint32_t n,
                                             uint64_t off)
{
    uint32_t low = 0, high = n;

    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (extents[middle].file_off <= off)
            low = middle;
        else
            high = middle;
    }
    return &extents[low];
}

/* Where the stretch at `off` ends, and where it lies. */
static uint64_t find_stretch(const struct clip_image *image, const struct format_node *node,
                             uint64_t off, struct image_extent *out)
{
    const struct format_extent *extents = &image->extents[node->extended.first + 1];
    const struct format_extent *at;

    if (node->kind == FORMAT_FILE) {
        out->layer_off = (uint64_t)node->file.block * FORMAT_BLOCK_LEN + off;
        return node->file.size;
    }
    out->hole = true;
    if (node->extended.n == 0)
        return file_size(image, node);
    at = extent_at(extents, node->extended.n, off);
    if (off < at->file_off)
        return at->file_off;
    if (off - at->file_off >= at->len) {
        bool is_last = at + 1 == extents + node->extended.n;
        return is_last ? file_size(image, node) : at[1].file_off;
    }
    out->hole = false;
    out->layer_off = at->layer_off + (off - at->file_off);
    return at->file_off + at->len;
}

int image_extent(const struct clip_image *image, uint64_t ino, uint64_t off, uint64_t len,
                 struct image_extent *out)
{
    const struct format_node *node = node_at(image, ino);
    struct image_extent extent = {0};
    uint64_t end;

    if (!node || !node_is_file(node))
        return node && node->kind == FORMAT_DIR ? -EISDIR : -EINVAL;
    if (off < file_size(image, node)) {
        extent.layer = node->layer;
        end = find_stretch(image, node, off, &extent);
        extent.len = len < end - off ? len : end - off;
    }
    *out = extent;
    return 0;
}

void image_extent_spans(const struct clip_image *image, const struct image_extent *extent,
                        uint64_t *out_first, uint64_t *out_last)
{
    *out_first = image_span_at(image, extent->layer, extent->layer_off);
    *out_last = image_span_at(image, extent->layer, extent->layer_off + extent->len - 1);
}

int clip_image_content_digest(const struct clip_image *image, uint64_t ino, uint8_t out[32])
{
    const struct format_node *node = node_at(image, ino);
    struct digest digest;
    uint32_t index;

    if (!node || !node_is_file(node))
        return -EINVAL;
    index = node->kind == FORMAT_FILE ? node->file.digest : node->extended.digest;
    if (index == FORMAT_NONE)
        sha256_of("", 0, &digest);
    else
        digest = digest_at(image->digests[index].bytes);
    memcpy(out, digest.bytes, sizeof(digest.bytes));
    return 0;
}

/* ---- extended attributes */

static const struct format_xattr_set *xattrs_of(const struct clip_image *image, uint64_t ino)
{
    const struct format_node *node = node_at(image, ino);
    uint32_t set = node ? image->attrs[node->attr].xattrs : FORMAT_NONE;

    return set == FORMAT_NONE ? NULL : &image->xattr_sets[set];
}

int clip_image_xattr(const struct clip_image *image, uint64_t ino, uint64_t index,
                     struct clip_xattr *out)
{
    const struct format_xattr_set *set = xattrs_of(image, ino);
    const struct format_xattr *xattr;

    if (!set || index >= set->n)
        return -ENODATA;
    xattr = &image->xattrs[set->first + index];
    *out = (struct clip_xattr){
        .name = text_at(image, &xattr->name),
        .name_len = xattr->name.len,
        .value = text_at(image, &xattr->value),
        .value_len = xattr->value.len,
    };
    return 0;
}

int image_getxattr(const struct clip_image *image, uint64_t ino, const char *name, const void **out,
                   size_t *out_len)
{
    size_t len = strlen(name);
    struct clip_xattr xattr;

    for (uint64_t i = 0; clip_image_xattr(image, ino, i, &xattr) == 0; i++) {
        if (xattr.name_len != len || memcmp(xattr.name, name, len) != 0)
            continue;
        *out = xattr.value;
        *out_len = xattr.value_len;
        return 0;
    }
    return -ENODATA;
}

/* ---- what clip.h tells of a node */

static const uint32_t types[FORMAT_KINDS] = {
    [FORMAT_FILE] = S_IFREG,    [FORMAT_EXTENDED] = S_IFREG, [FORMAT_DIR] = S_IFDIR,
    [FORMAT_SYMLINK] = S_IFLNK, [FORMAT_CHAR] = S_IFCHR,     [FORMAT_BLOCK] = S_IFBLK,
    [FORMAT_FIFO] = S_IFIFO,
};

#define DIR_SIZE 4096u /* what most file systems say of a small one */

static void fill_by_kind(const struct clip_image *image, const struct format_node *node,
                         struct clip_stat *out)
{
    if (node_is_file(node)) {
        out->size = file_size(image, node);
    } else if (node->kind == FORMAT_DIR) {
        out->size = DIR_SIZE;
        out->nlink = 2 + node->dir.n_dirs;
    } else if (node->kind == FORMAT_SYMLINK) {
        out->size = node->symlink.len;
    } else if (node->kind != FORMAT_FIFO) {
        out->rdev_major = node->device.major;
        out->rdev_minor = node->device.minor;
    }
}

int clip_image_stat(const struct clip_image *image, uint64_t ino, struct clip_stat *out)
{
    const struct format_node *node = node_at(image, ino);
    const struct format_attr *attr;

    if (!node)
        return -ENOENT;
    attr = &image->attrs[node->attr];
    *out = (struct clip_stat){
        .ino = number_of(image, node),
        .mode = types[node->kind] | attr->mode,
        .uid = attr->uid,
        .gid = attr->gid,
        .nlink = attr->nlink,
        .mtime_sec = attr->mtime_sec,
        .mtime_nsec = attr->mtime_nsec,
    };
    fill_by_kind(image, node, out);
    return 0;
}

int clip_image_readdir(const struct clip_image *image, uint64_t ino, uint64_t index,
                       struct clip_dirent *out)
{
    const struct format_node *dir = node_at(image, ino);
    const struct format_node *child;

    if (!dir)
        return -ENOENT;
    if (dir->kind != FORMAT_DIR)
        return -ENOTDIR;
    if (index >= dir->dir.n)
        return -ENOENT;
    child = &image->nodes[dir->dir.first + index];
    *out = (struct clip_dirent){
        .name = image->strings + child->name,
        .name_len = child->name_len,
        .ino = image_inode(image, number_of(image, child)),
    };
    return 0;
}

int clip_image_readlink(const struct clip_image *image, uint64_t ino, const char **out,
                        size_t *out_len)
{
    const struct format_node *node = node_at(image, ino);

    if (!node || node->kind != FORMAT_SYMLINK)
        return node ? -EINVAL : -ENOENT;
    *out = text_at(image, &node->symlink);
    *out_len = node->symlink.len;
    return 0;
}
