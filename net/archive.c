/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libarchive lives in index/tar.c, but for this file: an archive is where layers come from, which
 * is net's business, and index, which looks at net, cannot be asked from here. What it is for is
 * small: to find where in the file each entry's bytes begin. They are never read through it.
 *
 * The happy path is: archive_open() steps from header to header, seeking over the bytes between,
 * and keeps names with offsets, sorted; a find is a binary search, and what it returns is a part
 * of the one open file. Links among the entries (docker save makes them for equal layers) are
 * followed, once.
 * Possible failure modes are: not a tar file, compressed, damaged, cut, too many entries or names
 * that are too long. All are refused; nothing in it leads out of the file.
 */
#include "net/archive.h"

#include "engine/queue.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define READ_SIZE 16384

struct member {
    char *name;
    char *target; /* of a link, from the archive's root; else NULL */
    uint64_t off, size;
    unsigned order; /* the last of equal names counts */
};

struct files_archive {
    struct files files;
    int fd;
    uint64_t size;
    struct member *members;
    unsigned n_members, cap;
};

static void members_free(struct files_archive *self)
{
    for (unsigned i = 0; i < self->n_members; i++) {
        free(self->members[i].name);
        free(self->members[i].target);
    }
    free(self->members);
}

static void archive_close(struct files *files)
{
    struct files_archive *self = container_of(files, struct files_archive, files);

    if (self->fd >= 0)
        close(self->fd);
    members_free(self);
    free(files->path);
    free(self);
}

/* -------------------------------------------------------------------- find */

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const struct member *)a)->name, ((const struct member *)b)->name);
}

/* By name, then the latest first. */
static int compare_members(const void *a, const void *b)
{
    const struct member *x = a, *y = b;
    int order = strcmp(x->name, y->name);

    return order ? order : (x->order < y->order) - (x->order > y->order);
}

static const struct member *member_find(const struct files_archive *self, const char *name)
{
    struct member key = {.name = (char *)name};
    const struct member *found;

    if (self->n_members == 0)
        return NULL;
    found = bsearch(&key, self->members, self->n_members, sizeof(key), compare_names);
    while (found && found > self->members && strcmp(found[-1].name, name) == 0)
        found--;
    return found;
}

static int archive_find(const struct files *files, const char *name, struct file_part *out,
                        struct clip_error *err)
{
    const struct files_archive *self = container_of(files, struct files_archive, files);
    const struct member *member = member_find(self, name);

    if (member && member->target)
        member = member_find(self, member->target);
    if (!member)
        return -ENOENT;
    if (member->target)
        return err_set(err, CLIP_EFORMAT, "%s: %s is a link to a link", files->path, name);
    *out = (struct file_part){.fd = self->fd, .off = member->off, .size = member->size};
    return 0;
}

static const struct files_ops archive_ops = {.find = archive_find, .free = archive_close};

/* -------------------------------------------------------------------- scan */

/* "./a//b" is "a/b", and "../b" as seen from a/x is "b"; what climbs out stays at the root. */
static char *normalize(const char *base, size_t base_len, const char *path)
{
    char *out = malloc(base_len + strlen(path) + 2);
    size_t len = base_len;

    if (!out)
        return NULL;
    memcpy(out, base, base_len);
    while (*path) {
        size_t part = strcspn(path, "/");
        if (part == 2 && memcmp(path, "..", 2) == 0) {
            while (len > 0 && out[--len] != '/')
                ;
        } else if (part > 0 && !(part == 1 && *path == '.')) {
            if (len > 0)
                out[len++] = '/';
            memcpy(out + len, path, part);
            len += part;
        }
        path += part + (path[part] == '/');
    }
    out[len] = '\0';
    return out;
}

static int set_target(struct member *member, struct archive_entry *entry)
{
    const char *hardlink = archive_entry_hardlink(entry);
    const char *symlink = archive_entry_symlink(entry);
    const char *slash = strrchr(member->name, '/');

    if (hardlink)
        member->target = normalize("", 0, hardlink);
    else if (symlink)
        member->target =
            normalize(member->name, slash ? (size_t)(slash - member->name) : 0, symlink);
    return (hardlink || symlink) && !member->target ? -ENOMEM : 0;
}

static struct member *member_add(struct files_archive *self)
{
    if (self->n_members == self->cap) {
        unsigned cap = self->cap ? 2 * self->cap : 64;
        struct member *grown = realloc(self->members, cap * sizeof(*grown));
        if (!grown)
            return NULL;
        self->members = grown;
        self->cap = cap;
    }
    self->members[self->n_members] = (struct member){.order = self->n_members};
    return &self->members[self->n_members++];
}

/* Only what a layout may have: files and links to them. */
static bool is_wanted(struct archive_entry *entry)
{
    const char *name = archive_entry_pathname(entry);

    if (!name || strlen(name) > ARCHIVE_NAME_MAX)
        return false;
    if (archive_entry_hardlink(entry))
        return strlen(archive_entry_hardlink(entry)) <= ARCHIVE_NAME_MAX;
    if (archive_entry_filetype(entry) == AE_IFLNK)
        return archive_entry_symlink(entry) &&
               strlen(archive_entry_symlink(entry)) <= ARCHIVE_NAME_MAX;
    /* the bytes of a sparse entry do not lie in one piece */
    return archive_entry_filetype(entry) == AE_IFREG && archive_entry_sparse_count(entry) == 0;
}

static int on_member(struct files_archive *self, struct archive_entry *entry, int64_t off,
                     struct clip_error *err)
{
    int64_t size = archive_entry_size(entry);
    struct member *member;

    if (!is_wanted(entry))
        return 0;
    if (self->n_members == ARCHIVE_FILES_MAX)
        return err_set(err, CLIP_EFORMAT, "more than %u files", ARCHIVE_FILES_MAX);
    member = member_add(self);
    if (!member || !(member->name = normalize("", 0, archive_entry_pathname(entry))) ||
        set_target(member, entry) < 0)
        return err_set(err, -ENOMEM, "out of memory for %u files", self->n_members);
    if (member->target)
        return 0;
    if (off < 0 || size < 0 || (uint64_t)off > self->size ||
        (uint64_t)size > self->size - (uint64_t)off)
        return err_set(err, CLIP_EFORMAT, "cut short: %s lacks bytes", member->name);
    member->off = (uint64_t)off;
    member->size = (uint64_t)size;
    return 0;
}

static int scan_entries(struct files_archive *self, struct archive *tar, struct clip_error *err)
{
    struct archive_entry *entry;
    char quoted[128];
    const char *why;
    int r;

    for (;;) {
        r = archive_read_next_header(tar, &entry);
        if (r == ARCHIVE_EOF)
            return 0;
        if (r != ARCHIVE_OK && r != ARCHIVE_WARN)
            break;
        /* after a header, what the filter has handed out ends where the entry's bytes begin */
        r = on_member(self, entry, archive_filter_bytes(tar, 0), err);
        if (r < 0)
            return r;
    }
    why = archive_error_string(tar);
    why = why ? why : "damaged";
    return err_set(err, CLIP_EFORMAT, "not a good tar file: %s",
                   err_quote(why, strlen(why), quoted, sizeof(quoted)));
}

static int scan(struct files_archive *self, struct clip_error *err)
{
    struct archive *tar = archive_read_new();
    int r;

    if (!tar)
        return err_set(err, -ENOMEM, "out of memory for an archive");
    if (archive_read_support_format_tar(tar) != ARCHIVE_OK ||
        archive_read_open_fd(tar, self->fd, READ_SIZE) != ARCHIVE_OK)
        r = err_set(err, CLIP_EFORMAT, "cannot be read as a tar file");
    else
        r = scan_entries(self, tar, err);
    archive_read_free(tar);
    if (r < 0)
        return r;
    if (self->n_members > 0)
        qsort(self->members, self->n_members, sizeof(self->members[0]), compare_members);
    return 0;
}

/* -------------------------------------------------------------------- open */

static int refuse_compressed(int fd, struct clip_error *err)
{
    static const struct {
        const char *magic;
        size_t len;
        const char *tool;
    } kinds[] = {
        {"\x1f\x8b", 2, "gunzip"},
        {"\x28\xb5\x2f\xfd", 4, "unzstd"},
        {"\xfd"
         "7zXZ",
         5, "unxz"},
        {"BZh", 3, "bunzip2"},
    };
    char bytes[8] = {0};

    if (pread(fd, bytes, sizeof(bytes), 0) < 0)
        return err_sys(err, -errno, "reading");
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        if (memcmp(bytes, kinds[i].magic, kinds[i].len) == 0)
            return err_set(err, CLIP_EFORMAT, "a compressed archive cannot be read in place: %s it",
                           kinds[i].tool);
    return 0;
}

static int open_file(struct files_archive *self, struct clip_error *err)
{
    struct stat st;

    self->fd = open(self->files.path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (self->fd < 0 || fstat(self->fd, &st) < 0)
        return err_sys(err, -errno, "cannot open");
    if (!S_ISREG(st.st_mode))
        return err_set(err, -EINVAL, "not a regular file");
    self->size = (uint64_t)st.st_size;
    return refuse_compressed(self->fd, err);
}

int archive_open(const char *path, struct files **out, struct clip_error *err)
{
    struct files_archive *self;
    int r;

    self = calloc(1, sizeof(*self));
    if (!self || !(self->files.path = strdup(path))) {
        free(self);
        return err_set(err, -ENOMEM, "out of memory for %s", path);
    }
    self->files.ops = &archive_ops;
    r = open_file(self, err);
    if (r == 0)
        r = scan(self, err);
    if (r < 0) {
        archive_close(&self->files);
        return err ? err_prefix(err, "%s", path) : r;
    }
    *out = &self->files;
    return 0;
}
