/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The happy path of a header is: a run that is one plain ustar (or V7, or GNU) block is read here,
 * field by field; any other is given to libarchive as an archive of its own, and its answer is
 * copied. Names are always taken from the raw bytes, so that no locale has a say.
 * Possible failure modes are: a field that is no number, a name or a list past its ceiling,
 * libarchive's refusal, no memory.
 */
#include "index/tar_header.h"

#include <archive.h>
#include <archive_entry.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define NAME_LEN   100u
#define PREFIX_OFF 345u
#define PREFIX_LEN 155u

/* Offsets and lengths of a header block's fields (POSIX.1-2017 pax, ustar interchange format). */
enum { MODE = 100, UID = 108, GID = 116, SIZE = 124, MTIME = 136, CHECKSUM = 148, TYPE = 156 };
enum { LINK = 157, MAGIC = 257, MAJOR = 329, MINOR = 337 };

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

bool tar_checksum_is_right(const uint8_t *block)
{
    int64_t says, is = 0, is_signed = 0;

    for (size_t i = 0; i < TAR_BLOCK_LEN; i++) {
        uint8_t byte = i >= CHECKSUM && i < CHECKSUM + 8 ? ' ' : block[i];
        is += byte;
        is_signed += (int8_t)byte; /* some old tars summed signed chars */
    }
    return tar_number(block + CHECKSUM, 8, &says) == 0 && (says == is || says == is_signed);
}

/* One "LEN KEY=VALUE\n" at *off; false at the end or where the payload is not of that form. */
static bool next_record(const uint8_t *payload, size_t len, size_t *off, const char **out_key,
                        size_t *out_key_len, const char **out_value, size_t *out_value_len)
{
    size_t at = *off, size = 0;
    const uint8_t *equals;

    for (; at < len && payload[at] >= '0' && payload[at] <= '9'; at++) {
        size = size * 10 + (size_t)(payload[at] - '0');
        if (size > len)
            return false;
    }
    if (at >= len || payload[at] != ' ' || size > len - *off || size < at - *off + 3)
        return false;
    at++;
    equals = memchr(payload + at, '=', *off + size - at);
    if (!equals)
        return false;
    *out_key = (const char *)payload + at;
    *out_key_len = (size_t)(equals - payload) - at;
    *out_value = (const char *)equals + 1;
    *out_value_len = *off + size - 1 - (size_t)(equals + 1 - payload);
    *off += size;
    return true;
}

const char *tar_pax_find(const uint8_t *payload, size_t len, const char *key, size_t *out_len)
{
    const char *found = NULL;
    const char *k, *v;
    size_t k_len, v_len, off = 0;

    /* the last of several counts */
    while (next_record(payload, len, &off, &k, &k_len, &v, &v_len)) {
        if (k_len == strlen(key) && memcmp(k, key, k_len) == 0) {
            found = v;
            *out_len = v_len;
        }
    }
    return found;
}

/* ---- strings and lists that are reused */

static int put_string(char **string, size_t *cap, const void *bytes, size_t len, size_t at)
{
    if (at + len > TAR_PATH_MAX)
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

/* ---- plain headers */

static bool type_of(uint8_t flag, enum tar_type *out)
{
    switch (flag) {
    case '1':
        *out = TAR_HARDLINK;
        return true;
    case '2':
        *out = TAR_SYMLINK;
        return true;
    case '3':
        *out = TAR_CHAR;
        return true;
    case '4':
        *out = TAR_BLOCK;
        return true;
    case '5':
        *out = TAR_DIR;
        return true;
    case '6':
        *out = TAR_FIFO;
        return true;
    default:
        *out = TAR_FILE;
        return flag != 'S';
    }
}

static bool is_posix(const uint8_t *block)
{
    return memcmp(block + MAGIC,
                  "ustar\0"
                  "00",
                  8) == 0;
}

static int read_names(struct tar_header *h, const uint8_t *block)
{
    size_t prefix_len = is_posix(block) ? strnlen((char *)block + PREFIX_OFF, PREFIX_LEN) : 0;
    size_t at = 0;
    int r = 0;

    if (prefix_len > 0) {
        r = put_string(&h->path, &h->path_cap, block + PREFIX_OFF, prefix_len, 0);
        if (r == 0)
            r = put_string(&h->path, &h->path_cap, "/", 1, prefix_len);
        at = prefix_len + 1;
    }
    if (r == 0)
        r = put_string(&h->path, &h->path_cap, block, strnlen((char *)block, NAME_LEN), at);
    if (r == 0)
        r = put_string(&h->link, &h->link_cap, block + LINK,
                       strnlen((char *)block + LINK, NAME_LEN), 0);
    return r;
}

static int read_numbers(struct tar_entry *entry, const uint8_t *block)
{
    int64_t mode, uid, gid, size, mtime, major, minor;

    if (tar_number(block + MODE, 8, &mode) < 0 || tar_number(block + UID, 8, &uid) < 0 ||
        tar_number(block + GID, 8, &gid) < 0 || tar_number(block + SIZE, 12, &size) < 0 ||
        tar_number(block + MTIME, 12, &mtime) < 0)
        return -EBADMSG;
    if (uid < 0 || uid > UINT32_MAX || gid < 0 || gid > UINT32_MAX || size < 0)
        return -EBADMSG;
    entry->mode = (uint32_t)mode & 07777;
    entry->uid = (uint32_t)uid;
    entry->gid = (uint32_t)gid;
    entry->mtime_sec = mtime;
    if (entry->type != TAR_CHAR && entry->type != TAR_BLOCK)
        return 0;
    if (tar_number(block + MAJOR, 8, &major) < 0 || tar_number(block + MINOR, 8, &minor) < 0 ||
        major < 0 || major > UINT32_MAX || minor < 0 || minor > UINT32_MAX)
        return -EBADMSG;
    entry->rdev_major = (uint32_t)major;
    entry->rdev_minor = (uint32_t)minor;
    return 0;
}

static int read_plain(struct tar_header *h, const uint8_t *block, struct clip_error *err)
{
    int r;

    r = read_names(h, block);
    if (r == 0)
        r = read_numbers(&h->entry, block);
    if (r == -EBADMSG)
        return err_set(err, CLIP_EFORMAT, "tar: a header field is not a number");
    return r;
}

/* ---- libarchive's reading of the rest */

static int open_run(struct archive *a, const struct tar_run *run, struct archive_entry **out)
{
    archive_read_support_format_tar(a);
    archive_read_set_options(a, "tar:hdrcharset=BINARY");
    if (archive_read_open_memory(a, run->bytes, run->len) != ARCHIVE_OK)
        return -EBADMSG;
    /* WARN is about names in another character set: we take the raw bytes */
    return archive_read_next_header(a, out) >= ARCHIVE_WARN ? 0 : -EBADMSG;
}

static int copy_raw_names(struct tar_header *h, const struct tar_run *run)
{
    const uint8_t *pax = run->bytes + run->pax;
    const char *value;
    size_t len;
    int r;

    r = read_names(h, run->bytes + run->own);
    if (r == 0 && run->name_len > 0)
        r = put_string(&h->path, &h->path_cap, run->bytes + run->name, run->name_len, 0);
    if (r == 0 && run->link_len > 0)
        r = put_string(&h->link, &h->link_cap, run->bytes + run->link, run->link_len, 0);
    if (r == 0 && (value = tar_pax_find(pax, run->pax_len, "path", &len)))
        r = put_string(&h->path, &h->path_cap, value, len, 0);
    if (r == 0 && (value = tar_pax_find(pax, run->pax_len, "GNU.sparse.name", &len)))
        r = put_string(&h->path, &h->path_cap, value, len, 0);
    if (r == 0 && (value = tar_pax_find(pax, run->pax_len, "linkpath", &len)))
        r = put_string(&h->link, &h->link_cap, value, len, 0);
    return r;
}

static int copy_numbers(struct tar_entry *entry, struct archive_entry *ae)
{
    int64_t uid = archive_entry_uid(ae), gid = archive_entry_gid(ae);

    if (uid < 0 || uid > UINT32_MAX || gid < 0 || gid > UINT32_MAX)
        return -EBADMSG;
    entry->mode = archive_entry_perm(ae) & 07777;
    entry->uid = (uint32_t)uid;
    entry->gid = (uint32_t)gid;
    entry->mtime_sec = archive_entry_mtime(ae);
    entry->mtime_nsec = (uint32_t)archive_entry_mtime_nsec(ae);
    entry->rdev_major = (uint32_t)archive_entry_rdevmajor(ae);
    entry->rdev_minor = (uint32_t)archive_entry_rdevminor(ae);
    return 0;
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

static int copy_acl(struct tar_header *h, struct archive_entry *ae, int which, const char *name)
{
    int n = archive_entry_acl_count(ae, which);
    int type, perm, tag, id, r;
    const char *who;
    uint8_t *bytes, *at;

    if (n <= 0)
        return 0;
    bytes = malloc(4 + 8 * ((size_t)n + 3)); /* the three of the mode may not be counted */
    if (!bytes)
        return -ENOMEM;
    memcpy(bytes, "\2\0\0\0", 4);
    at = bytes + 4;
    for (size_t i = 0; i < sizeof(acl_tags) / sizeof(acl_tags[0]); i++) {
        bool named = acl_tags[i].kernel == 0x02 || acl_tags[i].kernel == 0x08;
        archive_entry_acl_reset(ae, which);
        while (archive_entry_acl_next(ae, which, &type, &perm, &tag, &id, &who) == ARCHIVE_OK &&
               at < bytes + 4 + 8 * ((size_t)n + 3))
            if (tag == acl_tags[i].tag)
                at = put_acl_entry(at, acl_tags[i].kernel, perm, named ? (uint32_t)id : UINT32_MAX);
    }
    r = add_xattr(h, name, bytes, (size_t)(at - bytes));
    free(bytes);
    return r;
}

/* The map says where in the file the stored bytes belong, one stretch after the other. */
static int copy_sparse(struct tar_header *h, struct archive_entry *ae, uint64_t data_off,
                       uint64_t stored)
{
    uint64_t size = (uint64_t)archive_entry_size(ae), at = 0, end = 0;
    int64_t off, len;
    int r;

    archive_entry_sparse_reset(ae);
    while (archive_entry_sparse_next(ae, &off, &len) == ARCHIVE_OK) {
        if (off < 0 || len < 0 || (uint64_t)off < end || (uint64_t)off > size ||
            (uint64_t)len > size - (uint64_t)off || (uint64_t)len > stored - at)
            return -EBADMSG;
        end = (uint64_t)off + (uint64_t)len;
        if (len == 0)
            continue;
        r = add_extent(h, (uint64_t)off, data_off + at, (uint64_t)len);
        if (r < 0)
            return r;
        at += (uint64_t)len;
    }
    h->entry.size = size;
    return 0;
}

static int copy_entry(struct tar_header *h, struct archive_entry *ae, const struct tar_run *run,
                      uint64_t data_off, uint64_t stored)
{
    bool sparse = archive_entry_sparse_count(ae) > 0;
    int r;

    r = copy_raw_names(h, run);
    if (r == 0)
        r = copy_numbers(&h->entry, ae);
    if (r == 0)
        r = copy_xattrs(h, ae);
    if (r == 0)
        r = copy_acl(h, ae, ARCHIVE_ENTRY_ACL_TYPE_ACCESS, "system.posix_acl_access");
    if (r == 0)
        r = copy_acl(h, ae, ARCHIVE_ENTRY_ACL_TYPE_DEFAULT, "system.posix_acl_default");
    if (r == 0 && h->entry.type == TAR_FILE && sparse)
        r = copy_sparse(h, ae, data_off, stored);
    else if (r == 0 && h->entry.type == TAR_FILE)
        h->entry.size = archive_entry_size_is_set(ae) && archive_entry_size(ae) > (int64_t)stored
                            ? (uint64_t)archive_entry_size(ae)
                            : stored;
    return r;
}

static int read_with_libarchive(struct tar_header *h, const struct tar_run *run, uint64_t data_off,
                                uint64_t stored, struct clip_error *err)
{
    struct archive *a = archive_read_new();
    struct archive_entry *ae;
    int r;

    if (!a)
        return err_set(err, -ENOMEM, "tar: out of memory for a header");
    r = open_run(a, run, &ae);
    if (r < 0)
        err_set(err, CLIP_EFORMAT, "tar: %s",
                archive_error_string(a) ? archive_error_string(a) : "bad header");
    else
        r = copy_entry(h, ae, run, data_off, stored);
    if (r == -EBADMSG && err && err->code == 0)
        err_set(err, CLIP_EFORMAT, "tar: a header field is out of range");
    archive_read_free(a);
    return r;
}

int tar_header_read(struct tar_header *h, const struct tar_run *run, uint64_t data_off,
                    uint64_t stored, struct clip_error *err)
{
    const uint8_t *block = run->bytes + run->own;
    bool plain = type_of(block[TYPE], &h->entry.type) && run->own == 0 && run->len == TAR_BLOCK_LEN;
    int r;

    reset(h);
    type_of(block[TYPE], &h->entry.type);
    err_clear(err);
    if (plain) {
        r = read_plain(h, block, err);
        h->entry.size = h->entry.type == TAR_FILE ? stored : 0;
    } else {
        r = read_with_libarchive(h, run, data_off, stored, err);
    }
    if (r < 0)
        return r;
    h->entry.path = h->path;
    h->entry.link = h->entry.type == TAR_HARDLINK || h->entry.type == TAR_SYMLINK ? h->link : NULL;
    /* V7 marks a directory by its name alone */
    if (h->entry.type == TAR_FILE && h->path[0] && h->path[strlen(h->path) - 1] == '/')
        h->entry.type = TAR_DIR;
    if (h->entry.type == TAR_FILE && h->entry.n_extents == 0 && stored > 0 &&
        h->entry.size == stored)
        return add_extent(h, 0, data_off, stored);
    return 0;
}
