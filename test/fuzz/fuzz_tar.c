/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a tar, twice: in one piece and in short ones, which must give the same; and by
 * libarchive, which must agree on what both accept: types, names, sizes, owners, times, targets.
 *
 * Both may stop where the other goes on (we refuse what nobody unpacks in the same way), and what
 * POSIX has and libarchive 3.6 has not is left out of the comparison: see may_be_compared().
 */
#include "index/tar.h"

#include <archive.h>
#include <archive_entry.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define ENTRIES_MAX 64u
#define SIZE        124u
#define SIZE_LEN    12u
#define MAGIC       257u
#define SPARSE      386u /* of a GNU header, as the next */
#define REALSIZE    483u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* What is compared of an entry. */
struct seen {
    uint32_t type; /* S_IFMT; 0: a hard link */
    char *path, *link;
    uint64_t size, uid, gid, checksum;
    int64_t mtime;
    uint32_t nsec, perm;
};

struct list {
    struct seen entries[ENTRIES_MAX];
    unsigned n;
    int end; /* the last event */
};

static char *copy(const char *text)
{
    char *c = strdup(text ? text : "");

    if (!c)
        abort();
    return c;
}

static void list_fini(struct list *list)
{
    for (unsigned i = 0; i < list->n; i++) {
        free(list->entries[i].path);
        free(list->entries[i].link);
    }
}

/* ---- ours */

static const uint32_t type_bits[] = {
    [TAR_FILE] = S_IFREG,  [TAR_HARDLINK] = 0,  [TAR_SYMLINK] = S_IFLNK, [TAR_CHAR] = S_IFCHR,
    [TAR_BLOCK] = S_IFBLK, [TAR_DIR] = S_IFDIR, [TAR_FIFO] = S_IFIFO,
};

static void take_entry(struct list *list, const struct tar_entry *entry)
{
    uint64_t end = 0;

    list->entries[list->n++] = (struct seen){
        .type = type_bits[entry->type],
        .path = copy(entry->path),
        .link = copy(entry->link),
        .size = entry->size,
        .uid = entry->uid,
        .gid = entry->gid,
        .mtime = entry->mtime_sec,
        .nsec = entry->mtime_nsec,
        .perm = entry->mode,
    };
    for (size_t i = 0; i < entry->n_extents; i++) {
        if (entry->extents[i].file_off < end || entry->extents[i].len == 0)
            abort();
        end = entry->extents[i].file_off + entry->extents[i].len;
    }
    if (end > entry->size || entry->size > INT64_MAX || entry->mtime_nsec > 999999999)
        abort();
    for (size_t i = 0; i < entry->n_xattrs; i++)
        if (entry->xattrs[i].value_len > TAR_XATTRS_MAX)
            abort();
}

static void take_data(struct tar *tar, struct list *list)
{
    struct seen *seen = &list->entries[list->n - 1];
    const void *bytes;
    uint64_t off;
    size_t len;

    tar_data(tar, &bytes, &len, &off);
    for (size_t i = 0; i < len; i++)
        seen->checksum += (off + i + 1) * ((const uint8_t *)bytes)[i];
}

static void step_all(struct tar *tar, struct list *list)
{
    struct clip_error err;

    for (;;) {
        int event = tar_step(tar, &err);
        list->end = event;
        if (event == TAR_ENTRY && list->n == ENTRIES_MAX)
            list->end = TAR_END;
        else if (event == TAR_ENTRY)
            take_entry(list, tar_entry(tar));
        else if (event == TAR_DATA)
            take_data(tar, list);
        if (event < 0 && !err.message[0])
            abort();
        if (event < 0 || event == TAR_MORE_IN || list->end == TAR_END)
            return;
    }
}

static void read_ours(const uint8_t *data, size_t len, size_t piece, struct list *list)
{
    struct tar *tar;

    list->n = 0;
    list->end = TAR_MORE_IN;
    if (tar_new(&tar) < 0)
        abort();
    for (size_t off = 0; off < len && list->end == TAR_MORE_IN; off += piece) {
        tar_feed(tar, data + off, piece < len - off ? piece : len - off);
        step_all(tar, list);
    }
    tar_finish(tar);
    if (list->end == TAR_MORE_IN)
        step_all(tar, list);
    tar_free(tar);
}

/* libarchive puts no slash behind a prefix that ends with one. To the tree both are the same. */
static bool same_path(const char *a, const char *b)
{
    for (; *a && *a == *b; a++, b++) {
        while (a[0] == '/' && a[1] == '/')
            a++;
        while (b[0] == '/' && b[1] == '/')
            b++;
    }
    return *a == *b;
}

static void compare(const char *what, const struct seen *a, const struct seen *b)
{
    bool same = a->type == b->type && same_path(a->path, b->path) &&
                strcmp(a->link, b->link) == 0 && a->size == b->size && a->uid == b->uid &&
                a->gid == b->gid && a->mtime == b->mtime && a->nsec == b->nsec &&
                a->perm == b->perm && a->checksum == b->checksum;

    if (same)
        return;
    fprintf(stderr, "%s:\n", what);
    for (int i = 0; i < 2; i++, a = b)
        fprintf(stderr,
                "  type %o path \"%s\" link \"%s\" size %ju owner %ju:%ju mtime %jd.%09u"
                " mode %o sum %ju\n",
                a->type, a->path, a->link, (uintmax_t)a->size, (uintmax_t)a->uid, (uintmax_t)a->gid,
                (intmax_t)a->mtime, a->nsec, a->perm, (uintmax_t)a->checksum);
    abort();
}

/* ---- libarchive's */

static void take_theirs(struct archive *a, struct archive_entry *ae, struct seen *seen)
{
    const char *hardlink = archive_entry_hardlink(ae);
    const char *link = hardlink ? hardlink : archive_entry_symlink(ae);
    const void *bytes;
    int64_t off;
    size_t len;

    *seen = (struct seen){
        .type = hardlink ? 0 : archive_entry_filetype(ae),
        .path = copy(archive_entry_pathname(ae)),
        .link = copy(link),
        .uid = (uint64_t)archive_entry_uid(ae),
        .gid = (uint64_t)archive_entry_gid(ae),
        .mtime = archive_entry_mtime(ae),
        .nsec = (uint32_t)archive_entry_mtime_nsec(ae),
        .perm = archive_entry_perm(ae) & 07777,
    };
    if (seen->type != S_IFREG)
        return;
    seen->size = (uint64_t)archive_entry_size(ae);
    while (archive_read_data_block(a, &bytes, &len, &off) == ARCHIVE_OK)
        for (size_t i = 0; i < len; i++)
            seen->checksum += ((uint64_t)off + i + 1) * ((const uint8_t *)bytes)[i];
}

static void read_theirs(const uint8_t *data, size_t len, struct list *list)
{
    struct archive *a = archive_read_new();
    struct archive_entry *ae;

    list->n = 0;
    archive_read_support_format_tar(a);
    archive_read_set_options(a, "tar:hdrcharset=BINARY");
    if (archive_read_open_memory(a, data, len) == ARCHIVE_OK)
        while (list->n < ENTRIES_MAX && archive_read_next_header(a, &ae) == ARCHIVE_OK)
            take_theirs(a, ae, &list->entries[list->n++]);
    archive_read_free(a);
}

static bool has_size(const uint8_t *header)
{
    for (unsigned i = SIZE; i < SIZE + SIZE_LEN; i++)
        if (header[i] != '0' && header[i] != ' ' && header[i] != 0)
            return true;
    return false;
}

/* Not with blocks that look like headers which libarchive 3.6 passes over or reads in another way:
 * global headers, labels, dumps; hard links with a size, behind which it looks for a header before
 * it says that there is no data; GNU headers with the size or the map of a sparse file that are
 * none; other magics; and only up to the first entry without a name or target, or whose name ends
 * with a slash. Nor when the last block is cut.
 */
static bool may_be_compared(const uint8_t *data, size_t len)
{
    unsigned n_describing = 0;

    for (size_t off = 0; off + 512 <= len; off += 512) {
        uint8_t type = data[off + 156];
        if (type == 'g' || type == 'X' || type == 'V' || type == 'D' || type == 'N' || type == 'A')
            return false;
        if (type == '1' && has_size(data + off))
            return false;
        if (memcmp(data + off + MAGIC, "ustar", 5) == 0 &&
            memcmp(data + off + MAGIC, "ustar", 6) != 0 &&
            memcmp(data + off + MAGIC, "ustar  ", 8) != 0)
            return false;
        if (type != 'S' && data[off + REALSIZE] != 0)
            return false;
        if (type != 'S' && data[off + SPARSE] != 0 && memcmp(data + off + MAGIC, "ustar  ", 8) == 0)
            return false;
        if (type == 'x' || type == 'L' || type == 'K')
            n_describing++;
    }
    return n_describing < 8 && len % 512 == 0;
}

static bool has_names(const struct seen *seen)
{
    size_t len = strlen(seen->path);

    return len > 0 && seen->path[len - 1] != '/' &&
           (seen->link[0] || (seen->type != 0 && seen->type != S_IFLNK));
}

static void try(const uint8_t *data, size_t len)
{
    static struct list whole, pieces, theirs;

    read_ours(data, len, len ? len : 1, &whole);
    read_ours(data, len, 1 + len % 97, &pieces);
    if (whole.n != pieces.n || whole.end != pieces.end)
        abort();
    for (unsigned i = 0; i < whole.n; i++)
        compare("cut otherwise", &whole.entries[i], &pieces.entries[i]);
    if (may_be_compared(data, len) && whole.end == TAR_END) {
        read_theirs(data, len, &theirs);
        for (unsigned i = 0; i < whole.n && i < theirs.n && has_names(&theirs.entries[i]); i++)
            compare("libarchive", &whole.entries[i], &theirs.entries[i]);
        list_fini(&theirs);
    }
    list_fini(&whole);
    list_fini(&pieces);
}

/* Of every block that has the magic of a header. */
static void fix_sums(uint8_t *bytes, size_t len)
{
    for (uint8_t *block = bytes; block + 512 <= bytes + len; block += 512) {
        unsigned sum = 0;
        if (memcmp(block + 257, "usta", 4) != 0)
            continue;
        memset(block + 148, ' ', 8);
        for (int i = 0; i < 512; i++)
            sum += block[i];
        snprintf((char *)block + 148, 7, "%06o", sum);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    uint8_t *bytes = malloc(len + 1);

    if (!bytes)
        return 0;
    memcpy(bytes, data, len);
    try(data, len);
    fix_sums(bytes, len);
    try(bytes, len & ~(size_t)511);
    free(bytes);
    return 0;
}
