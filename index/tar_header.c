/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The happy path of a header is: names and numbers are read from the entry's own block, or from
 * the headers in front of it that say otherwise, as raw bytes, so that no locale has a say. A run
 * with extended attributes, ACLs or SCHILY.dev* is then given to libarchive as an archive of its
 * own, and these are copied from its answer.
 * Possible failure modes are: a field that is no number, a name or a list past its ceiling, a type
 * that no unpacker knows, a sparse map that is not that of the data, libarchive's refusal, no
 * memory.
 */
#include "index/tar_header.h"

#include "index/tar_sparse.h"

#include <archive.h>
#include <archive_entry.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define NAME_LEN        100u
#define PREFIX_LEN      155u
#define STAR_PREFIX_LEN 131u

/* Offsets and lengths of a header block's fields (POSIX.1-2017 pax, ustar interchange format). */
enum { MODE = 100, UID = 108, GID = 116, SIZE = 124, MTIME = 136, CHECKSUM = 148, TYPE = 156 };
enum { LINK = 157, MAGIC = 257, MAJOR = 329, MINOR = 337, PREFIX = 345, STAR_MAGIC = 508 };

int tar_number(const uint8_t *field, size_t len, int64_t *out)
{
    uint64_t value = 0;
    size_t i = 0;

    if (field[0] & 0x80) {
        /* base-256, two's complement, big-endian (GNU) */
        bool negative = field[0] & 0x40;
        for (size_t k = 0; k < len; k++) {
            uint8_t byte = k == 0 ? (uint8_t)(field[0] & 0x7f) | (negative ? 0x80 : 0) : field[k];
            if (k + 8 < len && byte != (negative ? 0xff : 0))
                return -EBADMSG;
            value = value << 8 | byte;
        }
        if ((value >> 63) != negative)
            return -EBADMSG;
        *out = (int64_t)value;
        return 0;
    }
    while (i < len && field[i] == ' ')
        i++;
    for (; i < len && field[i] >= '0' && field[i] <= '7'; i++) {
        if (value >> 60)
            return -EBADMSG;
        value = value << 3 | (uint64_t)(field[i] - '0');
    }
    if (i < len && field[i] != ' ' && field[i] != '\0')
        return -EBADMSG;
    *out = (int64_t)value;
    return 0;
}

/* Eight bytes at a time, in four lanes of 16 bits: 64 times two bytes are at most 32,640. */
static int64_t sum_block(const uint8_t *block)
{
    const uint64_t bytes = UINT64_C(0x00ff00ff00ff00ff), pairs = UINT64_C(0x0000ffff0000ffff);
    uint64_t sums = 0;

    for (size_t i = 0; i < TAR_BLOCK_LEN; i += 8) {
        uint64_t eight;

        memcpy(&eight, block + i, 8);
        sums += (eight & bytes) + (eight >> 8 & bytes);
    }
    sums = (sums & pairs) + (sums >> 16 & pairs);
    return (int64_t)((sums & UINT32_MAX) + (sums >> 32));
}

/* What bytes above 127 count less as signed chars, which some old tars summed. */
static int64_t count_signs(const uint8_t *block)
{
    int64_t n = 0;

    for (size_t i = 0; i < TAR_BLOCK_LEN; i++)
        n += block[i] > 127 ? 256 : 0;
    return n;
}

/* The checksum's own bytes count as spaces. */
bool tar_checksum_is_right(const uint8_t *block)
{
    uint8_t summed[TAR_BLOCK_LEN];
    int64_t says, is;

    memcpy(summed, block, sizeof(summed));
    memset(summed + CHECKSUM, ' ', 8);
    is = sum_block(summed);
    return tar_number(block + CHECKSUM, 8, &says) == 0 &&
           (says == is || says == is - count_signs(summed));
}

const uint8_t *tar_run_value(const struct tar_run *run, enum tar_pax_key key, size_t *out_len)
{
    size_t off = run->own_pax.values[key].off, len = run->own_pax.values[key].len;

    if (off > 0) {
        *out_len = len;
        return len > 0 ? run->bytes + run->pax + off : NULL;
    }
    *out_len = run->globals->values[key].len;
    return run->globals->values[key].bytes;
}

/* ---- strings and lists that are reused */

static int put_string(char **string, size_t *cap, const void *bytes, size_t len, size_t at)
{
    if (at + len > TAR_PATH_MAX || memchr(bytes, '\0', len))
        return -EBADMSG;
    if (at + len + 1 > *cap) {
        char *more = realloc(*string, at + len + 64);
        if (!more)
            return -ENOMEM;
        *string = more;
        *cap = at + len + 64;
    }
    memcpy(*string + at, bytes, len);
    (*string)[at + len] = '\0';
    return 0;
}

static int add_extent(struct tar_header *h, uint64_t file_off, uint64_t layer_off, uint64_t len)
{
    struct tar_entry *entry = &h->entry;

    if (entry->n_extents == TAR_SPARSE_MAX)
        return -EBADMSG;
    if (entry->n_extents == h->cap_extents) {
        size_t cap = h->cap_extents ? h->cap_extents * 2 : 4;
        struct tar_extent *more = reallocarray(h->extents, cap, sizeof(*more));
        if (!more)
            return -ENOMEM;
        h->extents = more;
        h->cap_extents = cap;
    }
    h->extents[entry->n_extents++] =
        (struct tar_extent){.file_off = file_off, .layer_off = layer_off, .len = len};
    entry->extents = h->extents;
    return 0;
}

static int add_xattr(struct tar_header *h, const char *name, const void *value, size_t len)
{
    struct tar_xattr *more;
    char *copy;
    void *bytes;

    if (h->n_xattrs == h->cap_xattrs) {
        size_t cap = h->cap_xattrs ? h->cap_xattrs * 2 : 4;
        more = reallocarray(h->xattrs, cap, sizeof(*more));
        if (!more)
            return -ENOMEM;
        h->xattrs = more;
        h->cap_xattrs = cap;
    }
    copy = strdup(name);
    bytes = malloc(len + 1);
    if (!copy || !bytes) {
        free(copy);
        free(bytes);
        return -ENOMEM;
    }
    memcpy(bytes, value, len);
    h->xattrs[h->n_xattrs++] = (struct tar_xattr){.name = copy, .value = bytes, .value_len = len};
    h->entry.xattrs = h->xattrs;
    h->entry.n_xattrs = h->n_xattrs;
    return 0;
}

static void reset(struct tar_header *h)
{
    for (size_t i = 0; i < h->n_xattrs; i++) {
        free((char *)h->xattrs[i].name);
        free((void *)h->xattrs[i].value);
    }
    h->n_xattrs = 0;
    memset(&h->entry, 0, sizeof(h->entry));
}

void tar_header_fini(struct tar_header *h)
{
    reset(h);
    free(h->path);
    free(h->link);
    free(h->extents);
    free(h->xattrs);
}

/* ---- types */

/* NULL, or why there is no such entry in a layer. GNU's dumps have directories with a list of
 * names as their data ('D'); old archives have contiguous files ('7'). */
static const char *complain_type(uint8_t flag, enum tar_type *out)
{
    static const enum tar_type types[] = {TAR_FILE,  TAR_HARDLINK, TAR_SYMLINK, TAR_CHAR,
                                          TAR_BLOCK, TAR_DIR,      TAR_FIFO,    TAR_FILE};

    *out = TAR_FILE;
    if (flag >= '0' && flag <= '7')
        *out = types[flag - '0'];
    else if (flag == 'D')
        *out = TAR_DIR;
    else if (flag == 'M')
        return "a file that began on another volume";
    else if (flag != '\0' && flag != 'S')
        return "an entry of a type that is not known";
    return NULL;
}

/* ---- names */

static bool is_posix(const uint8_t *block)
{
    return memcmp(block + MAGIC, "ustar", 6) == 0;
}

static size_t prefix_len(const uint8_t *block)
{
    bool is_star = memcmp(block + STAR_MAGIC, "tar", 4) == 0;

    if (!is_posix(block))
        return 0;
    return strnlen((const char *)block + PREFIX, is_star ? STAR_PREFIX_LEN : PREFIX_LEN);
}

static int read_own_path(struct tar_header *h, const uint8_t *block)
{
    size_t prefix = prefix_len(block);
    int r = 0;

    if (prefix > 0)
        r = put_string(&h->path, &h->path_cap, block + PREFIX, prefix, 0);
    if (r == 0 && prefix > 0)
        r = put_string(&h->path, &h->path_cap, "/", 1, prefix);
    if (r < 0)
        return r;
    return put_string(&h->path, &h->path_cap, block, strnlen((const char *)block, NAME_LEN),
                      prefix > 0 ? prefix + 1 : 0);
}

static int read_path(struct tar_header *h, const struct tar_run *run)
{
    size_t len;
    const uint8_t *value = tar_run_value(run, PAX_SPARSE_NAME, &len);

    if (!value)
        value = tar_run_value(run, PAX_PATH, &len);
    if (value)
        return put_string(&h->path, &h->path_cap, value, len, 0);
    if (run->name_len > 0)
        return put_string(&h->path, &h->path_cap, run->bytes + run->name, run->name_len, 0);
    return read_own_path(h, run->bytes + run->own);
}

static int read_link(struct tar_header *h, const struct tar_run *run)
{
    const uint8_t *block = run->bytes + run->own;
    size_t len;
    const uint8_t *value = tar_run_value(run, PAX_LINKPATH, &len);

    if (value)
        return put_string(&h->link, &h->link_cap, value, len, 0);
    if (run->link_len > 0)
        return put_string(&h->link, &h->link_cap, run->bytes + run->link, run->link_len, 0);
    return put_string(&h->link, &h->link_cap, block + LINK,
                      strnlen((const char *)block + LINK, NAME_LEN), 0);
}

/* ---- numbers */

static int read_id(const struct tar_run *run, enum tar_pax_key key, size_t field, uint32_t *out)
{
    size_t len;
    const uint8_t *value = tar_run_value(run, key, &len);
    int64_t id;
    int r =
        value ? tar_pax_number(value, len, &id) : tar_number(run->bytes + run->own + field, 8, &id);

    if (r < 0 || id < 0 || id > UINT32_MAX)
        return -EBADMSG;
    *out = (uint32_t)id;
    return 0;
}

static int read_mtime(const struct tar_run *run, struct tar_entry *entry)
{
    size_t len;
    const uint8_t *value = tar_run_value(run, PAX_MTIME, &len);

    if (value)
        return tar_pax_time(value, len, &entry->mtime_sec, &entry->mtime_nsec);
    return tar_number(run->bytes + run->own + MTIME, 12, &entry->mtime_sec);
}

static int read_device(const uint8_t *block, struct tar_entry *entry)
{
    int64_t major, minor;

    if (entry->type != TAR_CHAR && entry->type != TAR_BLOCK)
        return 0;
    if (tar_number(block + MAJOR, 8, &major) < 0 || tar_number(block + MINOR, 8, &minor) < 0 ||
        major < 0 || major > UINT32_MAX || minor < 0 || minor > UINT32_MAX)
        return -EBADMSG;
    entry->rdev_major = (uint32_t)major;
    entry->rdev_minor = (uint32_t)minor;
    return 0;
}

/* NULL, or which of them is wrong. */
static const char *complain_numbers(const struct tar_run *run, struct tar_entry *entry)
{
    const uint8_t *block = run->bytes + run->own;
    int64_t mode;

    if (tar_number(block + MODE, 8, &mode) < 0)
        return "a mode that is not a number";
    entry->mode = (uint32_t)mode & 07777;
    if (read_id(run, PAX_UID, UID, &entry->uid) < 0 || read_id(run, PAX_GID, GID, &entry->gid) < 0)
        return "an owner that is not a number of 32 bits";
    if (read_mtime(run, entry) < 0)
        return "a time that is not a number of 64 bits";
    if (read_device(block, entry) < 0)
        return "a device that is not a pair of numbers";
    return NULL;
}

/* ---- sparse files */

/* Their stored bytes, which belong to one stretch of the file after the other. */
struct placing {
    uint64_t data_off, stored; /* in the layer */
    int64_t size;              /* of the file */
    uint64_t at;               /* stored bytes that have a place */
    int64_t end;               /* of the last stretch */
};

/* The next stored bytes are the file's [off, off + len). */
static int place(struct tar_header *h, struct placing *p, int64_t off, int64_t len)
{
    uint64_t layer_off = p->data_off + p->at;

    if (off < p->end || len < 0 || off > p->size || len > p->size - off ||
        (uint64_t)len > p->stored - p->at)
        return -EBADMSG;
    p->end = off + len;
    p->at += (uint64_t)len;
    return len == 0 ? 0 : add_extent(h, (uint64_t)off, layer_off, (uint64_t)len);
}

/* All stored bytes have a place, else what is read would not be what was stored. */
static int end_placing(struct tar_header *h, const struct placing *p)
{
    h->entry.size = (uint64_t)p->size;
    return p->at == p->stored && p->size >= 0 ? 0 : -EBADMSG;
}

static int place_all(struct tar_header *h, const struct tar_run *run, struct placing *p)
{
    struct tar_sparse sparse;
    int64_t off, len;
    int r = tar_sparse_init(&sparse, run);

    if (r < 0)
        return r;
    p->size = sparse.size;
    while ((r = tar_sparse_next(&sparse, &off, &len)) > 0) {
        r = place(h, p, off, len);
        if (r < 0)
            return r;
    }
    return r < 0 ? r : end_placing(h, p);
}

static int read_sparse(struct tar_header *h, const struct tar_run *run, uint64_t data_off,
                       uint64_t stored, struct clip_error *err)
{
    struct placing p = {.data_off = data_off, .stored = stored};
    int r = place_all(h, run, &p);

    return r == -EBADMSG ? err_set(err, CLIP_EFORMAT, "tar: a sparse map that cannot be") : r;
}

/* ---- what libarchive says */

static int open_run(struct archive *a, const struct tar_run *run, struct archive_entry **out)
{
    archive_read_support_format_tar(a);
    archive_read_set_options(a, "tar:hdrcharset=BINARY");
    if (archive_read_open_memory(a, run->bytes, run->len) != ARCHIVE_OK)
        return -EBADMSG;
    /* WARN is about names in another character set: we take the raw bytes */
    return archive_read_next_header(a, out) >= ARCHIVE_WARN ? 0 : -EBADMSG;
}

/* libarchive gives the last record first: the other way round a later one of a name counts. */
static void reverse_xattrs(struct tar_header *h)
{
    for (size_t a = 0, b = h->n_xattrs; a + 1 < b; a++, b--) {
        struct tar_xattr swap = h->xattrs[a];
        h->xattrs[a] = h->xattrs[b - 1];
        h->xattrs[b - 1] = swap;
    }
}

static int copy_xattrs(struct tar_header *h, struct archive_entry *ae)
{
    size_t total = 0;
    const char *name;
    const void *value;
    size_t len;
    int r = 0;

    archive_entry_xattr_reset(ae);
    while (r == 0 && archive_entry_xattr_next(ae, &name, &value, &len) == ARCHIVE_OK) {
        if (!name)
            return -EBADMSG;
        total += strlen(name) + len;
        if (total > TAR_XATTRS_MAX)
            return -EBADMSG;
        r = add_xattr(h, name, value, len);
    }
    reverse_xattrs(h);
    return r;
}

/* ACL entries in the kernel's order and form (uapi/linux/posix_acl_xattr.h, version 2). */
static const struct {
    int tag;         /* libarchive's */
    uint16_t kernel; /* the kernel's */
} acl_tags[] = {
    {ARCHIVE_ENTRY_ACL_USER_OBJ, 0x01},  {ARCHIVE_ENTRY_ACL_USER, 0x02},
    {ARCHIVE_ENTRY_ACL_GROUP_OBJ, 0x04}, {ARCHIVE_ENTRY_ACL_GROUP, 0x08},
    {ARCHIVE_ENTRY_ACL_MASK, 0x10},      {ARCHIVE_ENTRY_ACL_OTHER, 0x20},
};

static uint8_t *put_acl_entry(uint8_t *at, uint16_t tag, int perm, uint32_t id)
{
    uint16_t bits = (uint16_t)((perm & ARCHIVE_ENTRY_ACL_READ ? 4 : 0) |
                               (perm & ARCHIVE_ENTRY_ACL_WRITE ? 2 : 0) |
                               (perm & ARCHIVE_ENTRY_ACL_EXECUTE ? 1 : 0));

    *at++ = (uint8_t)tag, *at++ = (uint8_t)(tag >> 8);
    *at++ = (uint8_t)bits, *at++ = (uint8_t)(bits >> 8);
    for (int i = 0; i < 4; i++)
        *at++ = (uint8_t)(id >> (8 * i));
    return at;
}

/* Whom a named entry is for: the number behind the name, or a name that is one. -ENOENT: only a
 * name, which means nothing outside of the image. */
static int find_id(int id, const char *who, uint32_t *out)
{
    int64_t number = id;

    if (number < 0 && (!who || tar_pax_number((const uint8_t *)who, strlen(who), &number) < 0))
        return -ENOENT;
    if (number < 0 || number > UINT32_MAX)
        return -ENOENT;
    *out = (uint32_t)number;
    return 0;
}

/* Appends the entries of one tag. */
static int put_acl_tag(struct archive_entry *ae, int which, size_t i, uint8_t **at,
                       const uint8_t *end)
{
    bool named = acl_tags[i].kernel == 0x02 || acl_tags[i].kernel == 0x08;
    int type, perm, tag, id;
    const char *who;

    archive_entry_acl_reset(ae, which);
    while (*at < end &&
           archive_entry_acl_next(ae, which, &type, &perm, &tag, &id, &who) == ARCHIVE_OK) {
        uint32_t number = UINT32_MAX;
        if (tag != acl_tags[i].tag)
            continue;
        if (named && find_id(id, who, &number) < 0)
            return -ENOENT;
        *at = put_acl_entry(*at, acl_tags[i].kernel, perm, number);
    }
    return 0;
}

/* An ACL of names without numbers is left out, as other unpackers leave out all of them. */
static int copy_acl(struct tar_header *h, struct archive_entry *ae, int which, const char *name)
{
    int n = archive_entry_acl_count(ae, which);
    size_t len = 4 + 8 * ((size_t)n + 3); /* the three of the mode may not be counted */
    uint8_t *bytes, *at;
    int r = 0;

    if (n <= 0)
        return 0;
    bytes = malloc(len);
    if (!bytes)
        return -ENOMEM;
    memcpy(bytes, "\2\0\0\0", 4);
    at = bytes + 4;
    for (size_t i = 0; r == 0 && i < sizeof(acl_tags) / sizeof(acl_tags[0]); i++)
        r = put_acl_tag(ae, which, i, &at, bytes + len);
    if (r == 0)
        r = add_xattr(h, name, bytes, (size_t)(at - bytes));
    free(bytes);
    return r == -ENOENT ? 0 : r;
}

static int copy_entry(struct tar_header *h, struct archive_entry *ae)
{
    int r = copy_xattrs(h, ae);

    if (r == 0)
        r = copy_acl(h, ae, ARCHIVE_ENTRY_ACL_TYPE_ACCESS, "system.posix_acl_access");
    if (r == 0)
        r = copy_acl(h, ae, ARCHIVE_ENTRY_ACL_TYPE_DEFAULT, "system.posix_acl_default");
    if (r == 0 && (h->entry.type == TAR_CHAR || h->entry.type == TAR_BLOCK)) {
        h->entry.rdev_major = (uint32_t)archive_entry_rdevmajor(ae);
        h->entry.rdev_minor = (uint32_t)archive_entry_rdevminor(ae);
    }
    return r;
}

static int read_with_libarchive(struct tar_header *h, const struct tar_run *run,
                                struct clip_error *err)
{
    struct archive *a = archive_read_new();
    struct archive_entry *ae;
    const char *why = NULL;
    int r;

    if (!a)
        return -ENOMEM;
    r = open_run(a, run, &ae);
    if (r < 0)
        why = archive_error_string(a);
    else
        r = copy_entry(h, ae);
    if (r == -EBADMSG)
        err_set(err, CLIP_EFORMAT, "tar: %s", why ? why : "extended attributes that cannot be");
    archive_read_free(a);
    return r;
}

/* ---- public */

static int read_names(struct tar_header *h, const struct tar_run *run, uint8_t flag)
{
    int r = read_path(h, run);

    if (r == 0)
        r = read_link(h, run);
    if (r < 0)
        return r;
    h->entry.path = h->path;
    if (h->entry.type == TAR_HARDLINK || h->entry.type == TAR_SYMLINK)
        h->entry.link = h->link;
    /* V7 marks a directory by its name alone; so do GNU and libarchive with a '0', but Go does not,
     * and all who unpack images are written in Go */
    if (flag == '\0' && h->path[0] && h->path[strlen(h->path) - 1] == '/')
        h->entry.type = TAR_DIR;
    return 0;
}

int tar_header_read(struct tar_header *h, const struct tar_run *run, uint64_t data_off,
                    uint64_t stored, struct clip_error *err)
{
    uint8_t flag = run->bytes[run->own + TYPE];
    const char *complaint;
    int r;

    reset(h);
    complaint = complain_type(flag, &h->entry.type);
    if (!complaint)
        complaint = complain_numbers(run, &h->entry);
    if (complaint)
        return err_set(err, CLIP_EFORMAT, "tar: %s", complaint);
    r = read_names(h, run, flag);
    if (r == -EBADMSG)
        return err_set(err, r, "tar: a name with a NUL, or longer than %u bytes", TAR_PATH_MAX);
    if (r == 0 && h->entry.type == TAR_FILE)
        h->entry.size = stored;
    if (r == 0 && h->entry.type == TAR_FILE && (flag == 'S' || run->own_pax.sparse))
        r = read_sparse(h, run, data_off, stored, err);
    else if (r == 0 && h->entry.size > 0)
        r = add_extent(h, 0, data_off, stored);
    if (r == 0 && run->own_pax.vendor)
        r = read_with_libarchive(h, run, err);
    return r;
}
