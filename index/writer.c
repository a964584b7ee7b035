/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The happy path of an encoding is: nodes in their order, which intern their names, attributes,
 * digests and extended attributes as they come; then layers, spans and windows; then the image;
 * then all sections one behind the other. What is interned gets its place by first use, so that
 * the bytes follow from the input alone.
 * Saving: a temporary file beside the target takes its name only when it is on the disk.
 * Possible failure modes are: no memory, a table past 4 GiB, and those of the disk.
 */
#include "index/writer.h"

#include "engine/xxh3.h"
#include "index/format.h"
#include "index/section.h"

#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define TEMPORARY_TRIES 16

struct encoder {
    const struct writer_image *image;
    struct section sections[FORMAT_SECTIONS_END]; /* by type; [0] is not used */
    struct format_image facts;
};

static struct section *section_of(struct encoder *e, enum format_section_type type)
{
    return &e->sections[type];
}

/* ---- strings */

static int put_bytes(struct encoder *e, const void *bytes, size_t len, struct format_string *out)
{
    if (len > UINT32_MAX)
        return -EFBIG;
    out->len = (uint32_t)len;
    return section_intern_bytes(section_of(e, FORMAT_STRINGS), bytes, len, &out->off);
}

/* With the NUL behind it, so that clip.h can lend it. `len` bytes of `text`. */
static int put_text(struct encoder *e, const char *text, size_t len, struct format_string *out)
{
    char *copy = strndup(text, len);
    int r;

    if (!copy)
        return -ENOMEM;
    r = put_bytes(e, copy, strlen(copy) + 1, out);
    if (r == 0)
        out->len--;
    free(copy);
    return r;
}

/* ---- nodes */

static int put_xattrs(struct encoder *e, const struct tree_node *node, uint32_t *out)
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
        r = put_bytes(e, xattr->name, strlen(xattr->name), &items[i].name);
        if (r == 0)
            r = put_bytes(e, xattr->value, xattr->value_len, &items[i].value);
    }
    if (r == 0)
        r = section_intern_bytes(section_of(e, FORMAT_XATTRS), items,
                                 node->n_xattrs * sizeof(*items), &off);
    free(items);
    if (r < 0)
        return r;
    set.first = off / (uint32_t)sizeof(*items);
    return section_intern(section_of(e, FORMAT_XATTR_SETS), &set, sizeof(set), out);
}

static int put_attr(struct encoder *e, const struct tree_node *node, uint32_t *out)
{
    struct format_attr attr = {
        .mtime_sec = node->mtime_sec,
        .mtime_nsec = node->mtime_nsec,
        .mode = node->mode,
        .uid = node->uid,
        .gid = node->gid,
        .nlink = node->kind == TREE_DIR ? 0 : node->nlink,
    };
    int r = put_xattrs(e, node, &attr.xattrs);

    if (r < 0)
        return r;
    return section_intern(section_of(e, FORMAT_ATTRS), &attr, sizeof(attr), out);
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

static int put_plain(struct encoder *e, const struct tree_node *node, struct format_node *out)
{
    out->kind = FORMAT_FILE;
    out->file.digest = FORMAT_NONE;
    if (node->size == 0)
        return 0;
    out->layer = node->layer;
    out->file.size = (uint32_t)node->size;
    out->file.block = (uint32_t)(node->extents[0].layer_off / FORMAT_BLOCK_LEN);
    return section_intern(section_of(e, FORMAT_DIGESTS), node->digest.bytes, DIGEST_LEN,
                          &out->file.digest);
}

static int put_extended(struct encoder *e, const struct tree_node *node, struct format_node *out)
{
    struct section *extents = section_of(e, FORMAT_EXTENTS);
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
    return section_intern(section_of(e, FORMAT_DIGESTS), node->digest.bytes, DIGEST_LEN,
                          &out->extended.digest);
}

static int put_device(struct encoder *e, const struct tree_node *node, enum format_kind kind,
                      struct format_node *out)
{
    e->facts.n_others++;
    out->kind = (uint8_t)kind;
    out->device.major = node->rdev_major;
    out->device.minor = node->rdev_minor;
    return 0;
}

static int put_kind(struct encoder *e, const struct tree_node *node, struct format_node *out)
{
    switch (node->kind) {
    case TREE_FILE:
        e->facts.n_files++;
        e->facts.content_size += node->size;
        return is_plain(node) ? put_plain(e, node, out) : put_extended(e, node, out);
    case TREE_DIR:
        e->facts.n_dirs++;
        out->kind = FORMAT_DIR;
        out->dir.first = node->first_child;
        out->dir.n = node->n_children;
        out->dir.n_dirs = node->nlink - 2;
        return 0;
    case TREE_SYMLINK:
        e->facts.n_symlinks++;
        out->kind = FORMAT_SYMLINK;
        return put_bytes(e, node->symlink, strlen(node->symlink), &out->symlink);
    case TREE_CHAR:
        return put_device(e, node, FORMAT_CHAR, out);
    case TREE_BLOCK:
        return put_device(e, node, FORMAT_BLOCK, out);
    case TREE_FIFO:
        return put_device(e, node, FORMAT_FIFO, out);
    case TREE_LINK:
        break;
    }
    e->facts.n_hardlinks++;
    out->kind = FORMAT_LINK;
    out->link.target = node->target;
    return 0;
}

static int put_node(struct encoder *e, uint32_t index)
{
    struct format_node out = {0};
    struct format_string name;
    struct tree_node node;
    int r;

    tree_node(e->image->tree, index, &node);
    out.parent = node.parent;
    out.name_len = (uint8_t)node.name_len;
    r = put_bytes(e, node.name, node.name_len, &name);
    if (r == 0 && node.kind != TREE_LINK)
        r = put_attr(e, &node, &out.attr);
    if (r == 0)
        r = put_kind(e, &node, &out);
    if (r < 0)
        return r;
    out.name = name.off;
    return section_append(section_of(e, FORMAT_NODES), &out, sizeof(out));
}

static int put_nodes(struct encoder *e)
{
    uint32_t n = tree_n_nodes(e->image->tree);
    int r = section_reserve(section_of(e, FORMAT_NODES), n * sizeof(struct format_node));

    for (uint32_t i = 0; r == 0 && i < n; i++)
        r = put_node(e, i);
    e->facts.n_dirs--; /* the root is no entry */
    e->facts.n_entries = n - 1;
    return r;
}

/* ---- layers */

static int put_span(struct encoder *e, const struct writer_span *span)
{
    struct section *windows = section_of(e, FORMAT_WINDOWS);
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
    return section_append(section_of(e, FORMAT_SPANS), &out, sizeof(out));
}

/* A checkpoint after which nothing comes (an empty member at a blob's end, say) is no span. */
static bool is_empty(const struct writer_layer *layer, size_t index)
{
    uint64_t end =
        index + 1 < layer->n_spans ? layer->spans[index + 1].out_off : layer->uncompressed_size;

    return layer->spans[index].out_off == end;
}

static int put_layer(struct encoder *e, const struct writer_layer *layer)
{
    struct format_layer out = {
        .size = layer->size,
        .uncompressed_size = layer->uncompressed_size,
        .codec = layer->codec,
        .first_span = (uint32_t)(section_of(e, FORMAT_SPANS)->len / sizeof(struct format_span)),
    };
    int r = 0;

    for (size_t i = 0; r == 0 && i < layer->n_spans; i++) {
        if (is_empty(layer, i))
            continue;
        r = put_span(e, &layer->spans[i]);
        out.n_spans++;
    }
    if (r == 0)
        r = put_text(e, layer->media_type, strlen(layer->media_type), &out.media_type);
    if (r < 0)
        return r;
    memcpy(out.digest, layer->digest.bytes, sizeof(out.digest));
    memcpy(out.diff_id, layer->diff_id.bytes, sizeof(out.diff_id));
    return section_append(section_of(e, FORMAT_LAYERS), &out, sizeof(out));
}

static int put_layers(struct encoder *e)
{
    int r = 0;

    for (unsigned i = 0; r == 0 && i < e->image->n_layers; i++)
        r = put_layer(e, &e->image->layers[i]);
    return r;
}

static int put_image(struct encoder *e)
{
    const struct writer_image *image = e->image;
    struct format_image *facts = &e->facts;
    int r = put_text(e, image->reference, strlen(image->reference), &facts->reference);

    if (r == 0)
        r = put_text(e, image->manifest_media_type, strlen(image->manifest_media_type),
                     &facts->manifest_media_type);
    if (r == 0)
        r = put_text(e, image->platform, strlen(image->platform), &facts->platform);
    if (r == 0)
        r = put_text(e, image->config, image->config_len, &facts->config);
    if (r < 0)
        return r;
    memcpy(facts->manifest_digest, image->manifest_digest.bytes, sizeof(facts->manifest_digest));
    facts->span_size = image->span_size;
    facts->flags = image->keep_runtime_dirs ? FORMAT_KEEPS_RUNTIME_DIRS : 0;
    return section_append(section_of(e, FORMAT_IMAGE), facts, sizeof(*facts));
}

/* ---- the file */

#define N_SECTIONS (FORMAT_SECTIONS_END - 1u)

static uint64_t aligned(uint64_t off)
{
    return (off + FORMAT_ALIGN - 1) / FORMAT_ALIGN * FORMAT_ALIGN;
}

/* Where each section goes; returns the file's size. */
static uint64_t lay_out(struct encoder *e, struct format_section table[N_SECTIONS])
{
    uint64_t off = sizeof(struct format_header) + N_SECTIONS * sizeof(*table);

    for (unsigned i = 0; i < N_SECTIONS; i++) {
        const struct section *section = section_of(e, i + 1);
        off = aligned(off);
        table[i] = (struct format_section){
            .type = i + 1,
            .flags = FORMAT_SECTION_NEEDED,
            .off = off,
            .len = section->len,
            .checksum = XXH3_64bits(section->bytes, section->len),
        };
        off += section->len;
    }
    return off;
}

static void fill_header(struct format_header *header, const struct format_section *table,
                        uint64_t size)
{
    *header = (struct format_header){
        .version = FORMAT_VERSION,
        .n_sections = N_SECTIONS,
        .file_size = size,
    };
    memcpy(header->magic, FORMAT_MAGIC, FORMAT_MAGIC_LEN);
    header->checksum = format_checksum(header, table);
}

/* What the file begins with. */
struct head {
    struct format_header header;
    struct format_section table[N_SECTIONS];
};

static int make_head(struct encoder *e, struct head *head)
{
    uint64_t size = lay_out(e, head->table);

    if (size > FORMAT_SIZE_MAX)
        return -EFBIG;
    fill_header(&head->header, head->table, size);
    return 0;
}

static int assemble(struct encoder *e, uint8_t **out, size_t *out_len)
{
    struct head head;
    uint8_t *file;
    int r = make_head(e, &head);

    if (r < 0)
        return r;
    file = calloc(1, head.header.file_size);
    if (!file)
        return -ENOMEM;
    memcpy(file, &head, sizeof(head));
    for (unsigned i = 0; i < N_SECTIONS; i++) {
        const struct section *section = section_of(e, i + 1);
        if (section->len > 0)
            memcpy(file + head.table[i].off, section->bytes, section->len);
    }
    *out = file;
    *out_len = head.header.file_size;
    return 0;
}

static int encode(struct encoder *e)
{
    int r;

    for (unsigned i = 0; i < FORMAT_SECTIONS_END; i++)
        section_init(&e->sections[i]);
    r = put_nodes(e);
    if (r == 0)
        r = put_layers(e);
    if (r == 0)
        r = put_image(e);
    return r;
}

static void encoder_fini(struct encoder *e)
{
    for (unsigned i = 0; i < FORMAT_SECTIONS_END; i++)
        section_fini(&e->sections[i]);
}

static int say_why(int r, struct clip_error *err)
{
    if (r == -EFBIG)
        return err_set(err, r, "the image is too large for an index");
    return r < 0 ? err_set(err, r, "out of memory for the index") : 0;
}

int writer_encode(const struct writer_image *image, uint8_t **out, size_t *out_len,
                  struct clip_error *err)
{
    struct encoder e = {.image = image};
    int r = encode(&e);

    if (r == 0)
        r = assemble(&e, out, out_len);
    encoder_fini(&e);
    return say_why(r, err);
}

/* ---- saving */

/* Opens a new file beside `path`; its name goes to `name`. */
static int open_temporary(const char *path, char name[PATH_MAX])
{
    for (int i = 0; i < TEMPORARY_TRIES; i++) {
        uint32_t random = (uint32_t)i;
        int fd;
        (void)!getrandom(&random, sizeof(random), GRND_NONBLOCK);
        if (snprintf(name, PATH_MAX, "%s.%08x.tmp", path, random) >= PATH_MAX)
            return -ENAMETOOLONG;
        fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (fd >= 0 || errno != EEXIST)
            return fd < 0 ? -errno : fd;
    }
    return -EEXIST;
}

static int write_all(int fd, const void *bytes, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, bytes, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        bytes = (const uint8_t *)bytes + n;
        len -= (size_t)n;
    }
    return 0;
}

/* From where they are: there may be many MiB of them. */
static int write_sections(int fd, struct encoder *e, const struct head *head)
{
    static const uint8_t padding[FORMAT_ALIGN];
    uint64_t off = sizeof(*head);
    int r = write_all(fd, head, sizeof(*head));

    for (unsigned i = 0; r == 0 && i < N_SECTIONS; i++) {
        const struct section *section = section_of(e, i + 1);
        r = write_all(fd, padding, (size_t)(head->table[i].off - off));
        if (r == 0)
            r = write_all(fd, section->bytes, section->len);
        off = head->table[i].off + section->len;
    }
    if (r == 0 && fsync(fd) < 0)
        r = -errno;
    return r;
}

static int sync_dir_of(const char *path)
{
    char *copy = strdup(path);
    int fd, r = 0;

    if (!copy)
        return -ENOMEM;
    fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    free(copy);
    if (fd < 0)
        return -errno;
    /* some file systems cannot sync a directory: then there is nothing more to do */
    if (fsync(fd) < 0 && errno != EINVAL)
        r = -errno;
    close(fd);
    return r;
}

static int write_and_rename(int fd, const char *temporary, const char *path, struct encoder *e,
                            const struct head *head)
{
    int r = write_sections(fd, e, head);

    if (close(fd) < 0 && r == 0)
        r = -errno;
    if (r == 0 && rename(temporary, path) < 0)
        r = -errno;
    if (r < 0)
        unlink(temporary);
    return r;
}

/* A rename would take even the place of /dev/null. */
static int check_name(const char *path, struct clip_error *err)
{
    struct stat st;

    if (lstat(path, &st) < 0 || S_ISREG(st.st_mode) || S_ISLNK(st.st_mode))
        return 0;
    return err_set(err, S_ISDIR(st.st_mode) ? -EISDIR : -EEXIST,
                   "%s: there is a %s of that name, which an index cannot replace", path,
                   S_ISDIR(st.st_mode) ? "directory" : "device, pipe or socket");
}

int writer_check(const char *path, struct clip_error *err)
{
    int r = check_name(path, err);
    char *copy;

    if (r < 0)
        return r;
    copy = strdup(path);
    if (!copy)
        return err_set(err, -ENOMEM, "out of memory for a path");
    if (faccessat(AT_FDCWD, dirname(copy), W_OK | X_OK, AT_EACCESS) < 0)
        r = err_sys(err, -errno, "%s: its directory cannot be written to", path);
    free(copy);
    return r;
}

static int save(struct encoder *e, const struct head *head, const char *path,
                struct clip_error *err)
{
    char temporary[PATH_MAX];
    int fd, r = check_name(path, err);

    if (r < 0)
        return r;
    fd = open_temporary(path, temporary);
    if (fd < 0)
        return err_sys(err, fd, "%s: cannot make a file beside it", path);
    r = write_and_rename(fd, temporary, path, e, head);
    if (r < 0)
        return err_sys(err, r, "%s: cannot be written", path);
    r = sync_dir_of(path);
    if (r < 0)
        return err_sys(err, r, "%s: its directory cannot be synced", path);
    return 0;
}

int writer_save(const struct writer_image *image, const char *path, uint64_t *out_size,
                struct clip_error *err)
{
    struct encoder e = {.image = image};
    struct head head;
    int r = encode(&e);

    if (r == 0)
        r = make_head(&e, &head);
    r = r < 0 ? say_why(r, err) : save(&e, &head, path, err);
    encoder_fini(&e);
    if (r == 0)
        *out_size = head.header.file_size;
    return r;
}
