/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The happy path of a file is: where each section goes, with its checksum; the header; then all of
 * them one behind the other. Saving: a temporary file beside the target takes its name only when it
 * is on the disk.
 * Possible failure modes are: more than FORMAT_SIZE_MAX, no memory, and those of the disk.
 */
#include "index/writer_file.h"

#include "engine/xxh3.h"

#include <assert.h>
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

/* ---- the layout */

/* What the file begins with. */
struct head {
    struct format_header header;
    struct format_section table[FORMAT_SECTIONS_MAX];
    size_t len; /* of what is used of these two */
};

static uint64_t aligned(uint64_t off)
{
    return (off + FORMAT_ALIGN - 1) / FORMAT_ALIGN * FORMAT_ALIGN;
}

/* Where each section goes; returns the file's size. */
static uint64_t lay_out(const struct writer_part *parts, unsigned n, struct head *head)
{
    uint64_t off = head->len;

    for (unsigned i = 0; i < n; i++) {
        off = aligned(off);
        head->table[i] = (struct format_section){
            .type = parts[i].type,
            .flags = parts[i].flags,
            .off = off,
            .len = parts[i].len,
            .checksum = XXH3_64bits(parts[i].bytes, parts[i].len),
        };
        off += parts[i].len;
    }
    return off;
}

static int make_head(const struct writer_part *parts, unsigned n, struct head *head,
                     struct clip_error *err)
{
    assert(n <= FORMAT_SECTIONS_MAX);
    head->len = sizeof(head->header) + n * sizeof(head->table[0]);
    head->header = (struct format_header){
        .version = FORMAT_VERSION,
        .n_sections = n,
        .file_size = lay_out(parts, n, head),
    };
    if (head->header.file_size > FORMAT_SIZE_MAX)
        return err_set(err, -EFBIG, "the image is too large for an index");
    memcpy(head->header.magic, FORMAT_MAGIC, FORMAT_MAGIC_LEN);
    head->header.checksum = format_checksum(&head->header, head->table);
    return 0;
}

#define N_PARTS (FORMAT_PROFILE - 1u) /* those that have to be there */

/* At most N_PARTS + 1: an older clip passes over the needs, and no image has to have any. */
static unsigned to_parts(const struct writer *w, struct writer_part parts[N_PARTS + 1])
{
    const struct section *needs = &w->sections[FORMAT_NEEDS];
    unsigned n = 0;

    for (; n < N_PARTS; n++) {
        const struct section *section = &w->sections[n + 1];

        parts[n] = (struct writer_part){n + 1, FORMAT_SECTION_NEEDED, section->bytes, section->len};
    }
    if (needs->len > 0)
        parts[n++] = (struct writer_part){FORMAT_NEEDS, 0, needs->bytes, needs->len};
    return n;
}

static int assemble(const struct writer *w, uint8_t **out, size_t *out_len, struct clip_error *err)
{
    struct writer_part parts[N_PARTS + 1];
    unsigned n = to_parts(w, parts);
    struct head head;
    uint8_t *file;
    int r;

    r = make_head(parts, n, &head, err);
    if (r < 0)
        return r;
    file = calloc(1, head.header.file_size);
    if (!file)
        return err_set(err, -ENOMEM, "out of memory for the index");
    memcpy(file, &head, head.len);
    for (unsigned i = 0; i < n; i++)
        if (parts[i].len > 0)
            memcpy(file + head.table[i].off, parts[i].bytes, parts[i].len);
    *out = file;
    *out_len = head.header.file_size;
    return 0;
}

static int encode(struct writer *w, uint8_t **out, size_t *out_len, struct clip_error *err)
{
    int r = writer_put_nodes(w, err);

    if (r == 0)
        r = writer_put_digests(w, err);
    if (r == 0)
        r = writer_end(w, err);
    return r < 0 ? r : assemble(w, out, out_len, err);
}

int writer_file_encode(const struct writer_image *image, uint8_t **out, size_t *out_len,
                       struct clip_error *err)
{
    struct writer w;
    int r;

    writer_init(&w, image);
    r = encode(&w, out, out_len, err);
    writer_fini(&w);
    return r;
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
static int write_parts(int fd, const struct writer_part *parts, const struct head *head)
{
    static const uint8_t padding[FORMAT_ALIGN];
    uint64_t off = head->len;
    int r = write_all(fd, head, head->len);

    for (unsigned i = 0; r == 0 && i < head->header.n_sections; i++) {
        r = write_all(fd, padding, (size_t)(head->table[i].off - off));
        if (r == 0)
            r = write_all(fd, parts[i].bytes, parts[i].len);
        off = head->table[i].off + parts[i].len;
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

static int write_and_rename(int fd, const char *temporary, const char *path,
                            const struct writer_part *parts, const struct head *head)
{
    int r = write_parts(fd, parts, head);

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

int writer_file_check(const char *path, struct clip_error *err)
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

static int save(const struct writer_part *parts, const struct head *head, const char *path,
                struct clip_error *err)
{
    char temporary[PATH_MAX];
    int fd, r = check_name(path, err);

    if (r < 0)
        return r;
    fd = open_temporary(path, temporary);
    if (fd < 0)
        return err_sys(err, fd, "%s: cannot make a file beside it", path);
    r = write_and_rename(fd, temporary, path, parts, head);
    if (r < 0)
        return err_sys(err, r, "%s: cannot be written", path);
    r = sync_dir_of(path);
    if (r < 0)
        return err_sys(err, r, "%s: its directory cannot be synced", path);
    return 0;
}

int writer_file_save_parts(const struct writer_part *parts, unsigned n, const char *path,
                           uint64_t *out_size, struct clip_error *err)
{
    struct head head;
    int r = make_head(parts, n, &head, err);

    if (r == 0)
        r = save(parts, &head, path, err);
    if (r == 0)
        *out_size = head.header.file_size;
    return r;
}

int writer_file_save(const struct writer *w, const char *path, uint64_t *out_size,
                     struct clip_error *err)
{
    struct writer_part parts[N_PARTS + 1];
    unsigned n = to_parts(w, parts);

    return writer_file_save_parts(parts, n, path, out_size, err);
}
