/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The happy path of a file is:
 * - its header is what the key says; the map behind it is read; spans come and go; the map is
 *   written once more at the end, with when each span was last used.
 * - a span's bytes are written before it is entered in the map, and it leaves the map before its
 *   bytes do. Nothing is synced: what a crash tears does not have the right checksum.
 * Possible failure modes are: a header that differs (begun anew), a map that is cut (taken as
 * empty from there), and what the disk says.
 */
#include "fs/cache_disk.h"

#include "engine/xxh3.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define MAGIC     "clipspan"
#define VERSION   1u
#define MAP_OFF   128u
#define FILE_MAX  (1ull << 62)
#define SPANS_MAX ((DISK_DATA_OFF - MAP_OFF) / sizeof(uint32_t))

#ifndef RWF_NOWAIT
#define RWF_NOWAIT 0x00000008
#endif

struct disk_header {
    char magic[8];
    uint32_t version;
    uint32_t block;
    uint64_t n_spans;
    struct cache_key key;
};

static uint64_t round_up(uint64_t n)
{
    return (n + DISK_BLOCK - 1) / DISK_BLOCK * DISK_BLOCK;
}

uint64_t disk_size(uint64_t len)
{
    return round_up(len);
}

/* A block more for each span before it: so no two share one, wherever they are cut. */
uint64_t disk_place(uint64_t index, uint64_t out_off)
{
    return DISK_DATA_OFF + round_up(out_off) + index * DISK_BLOCK;
}

char *disk_name(const struct cache_key *key, char out[DISK_NAME_LEN + 1])
{
    char *at = out;

    for (size_t i = 0; i < sizeof(key->digest.bytes); i++)
        at += sprintf(at, "%02x", key->digest.bytes[i]);
    *at++ = '-';
    for (size_t i = 0; i < sizeof(key->spans); i++)
        at += sprintf(at, "%02x", key->spans[i]);
    return out;
}

/* ---- plain reads and writes */

static int read_all(int fd, void *out, size_t len, uint64_t off)
{
    uint8_t *to = out;

    while (len > 0) {
        ssize_t n = pread(fd, to, len, (off_t)off);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -ENODATA;
        to += n;
        off += (uint64_t)n;
        len -= (size_t)n;
    }
    return 0;
}

static int write_all(int fd, const void *bytes, size_t len, uint64_t off)
{
    const uint8_t *from = bytes;

    while (len > 0) {
        ssize_t n = pwrite(fd, from, len, (off_t)off);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -ENOSPC;
        from += n;
        off += (uint64_t)n;
        len -= (size_t)n;
    }
    return 0;
}

/* ---- files */

static void write_header(const struct cache_key *key, uint64_t n_spans, struct disk_header *out)
{
    memset(out, 0, sizeof(*out));
    memcpy(out->magic, MAGIC, sizeof(out->magic));
    out->version = VERSION;
    out->block = DISK_BLOCK;
    out->n_spans = n_spans;
    out->key = *key;
}

static int begin_anew(int fd, const struct disk_header *header)
{
    if (ftruncate(fd, 0) < 0)
        return -errno;
    return write_all(fd, header, sizeof(*header), 0);
}

/* What cannot be read of the map is not there. */
static int read_map(const struct disk_file *file, const struct disk_header *want, uint32_t *stamps)
{
    struct disk_header have;

    memset(stamps, 0, file->n_spans * sizeof(stamps[0]));
    if (read_all(file->fd, &have, sizeof(have), 0) < 0 || memcmp(&have, want, sizeof(have)) != 0)
        return begin_anew(file->fd, want);
    read_all(file->fd, stamps, file->n_spans * sizeof(stamps[0]), MAP_OFF);
    return 0;
}

static int open_file(const struct disk_dir *dir, const char *name)
{
    int fd = openat(dir->fd, name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
    struct stat st;

    if (fd < 0)
        return -errno;
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        close(fd);
        return -EINVAL;
    }
    /* spans are read as a whole: what the kernel would read beyond one is not wanted yet */
    posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM);
    return fd;
}

int disk_file_open(const struct disk_dir *dir, const struct cache_key *key, uint64_t n_spans,
                   uint64_t layer_size, struct disk_file *out, uint32_t *stamps,
                   struct clip_error *err)
{
    struct disk_file file = {.n_spans = n_spans};
    struct disk_header header;
    char name[DISK_NAME_LEN + 1];
    int r;

    if (layer_size > FILE_MAX || n_spans > SPANS_MAX)
        return err_set(err, -EFBIG, "the layer is too large for a file");
    file.fd = open_file(dir, disk_name(key, name));
    if (file.fd < 0)
        return err_sys(err, file.fd, "%s cannot be opened", name);
    write_header(key, n_spans, &header);
    r = read_map(&file, &header, stamps);
    if (r < 0) {
        close(file.fd);
        return err_sys(err, r, "%s cannot be written", name);
    }
    *out = file;
    return 0;
}

uint64_t disk_file_size(const struct disk_file *file)
{
    struct stat st;

    return fstat(file->fd, &st) == 0 ? (uint64_t)st.st_blocks * 512 : 0;
}

static int enter(const struct disk_file *file, uint64_t index, uint32_t stamp)
{
    return write_all(file->fd, &stamp, sizeof(stamp), MAP_OFF + index * sizeof(stamp));
}

void disk_file_punch_range(const struct disk_file *file, uint64_t place, uint64_t end)
{
    if (end > place)
        fallocate(file->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)place,
                  (off_t)(end - place));
}

int disk_file_store(const struct disk_file *file, uint64_t index, uint64_t place, const void *bytes,
                    size_t len, uint32_t stamp)
{
    int r = write_all(file->fd, bytes, len, place);

    if (r == 0)
        r = enter(file, index, stamp);
    if (r < 0)
        disk_file_punch_range(file, place, place + disk_size(len));
    return r;
}

void disk_file_punch(const struct disk_file *file, uint64_t index, uint64_t place, size_t len)
{
    enter(file, index, 0);
    disk_file_punch_range(file, place, place + disk_size(len));
}

int disk_file_read(const struct disk_file *file, uint64_t place, void *out, size_t len)
{
    return read_all(file->fd, out, len, place);
}

void disk_file_write_out(const struct disk_file *file, uint64_t place, uint64_t len)
{
    sync_file_range(file->fd, (off_t)place, (off_t)len, SYNC_FILE_RANGE_WRITE);
}

void disk_file_drop_pages(const struct disk_file *file, uint64_t place, uint64_t len)
{
    posix_fadvise(file->fd, (off_t)place, (off_t)len, POSIX_FADV_DONTNEED);
}

size_t disk_n_sums(uint64_t len)
{
    return (size_t)((len + DISK_SUM_LEN - 1) / DISK_SUM_LEN);
}

void disk_sums(const void *bytes, size_t len, uint64_t *out)
{
    const uint8_t *at = bytes;

    for (size_t off = 0; off < len; off += DISK_SUM_LEN) {
        size_t n = len - off < DISK_SUM_LEN ? len - off : DISK_SUM_LEN;
        *out++ = XXH3_64bits(at + off, n);
    }
}

bool disk_sums_match(const void *bytes, size_t len, const uint64_t *sums)
{
    const uint8_t *at = bytes;

    for (size_t off = 0; off < len; off += DISK_SUM_LEN) {
        size_t n = len - off < DISK_SUM_LEN ? len - off : DISK_SUM_LEN;
        if (XXH3_64bits(at + off, n) != *sums++)
            return false;
    }
    return true;
}

bool disk_file_read_now(const struct disk_file *file, uint64_t place, void *out, size_t len)
{
    struct iovec iov = {out, len};

    return preadv2(file->fd, &iov, 1, (off_t)place, RWF_NOWAIT) == (ssize_t)len;
}

void disk_file_close(struct disk_file *file, const uint32_t *stamps)
{
    if (file->fd < 0)
        return;
    if (stamps)
        write_all(file->fd, stamps, file->n_spans * sizeof(stamps[0]), MAP_OFF);
    close(file->fd);
    file->fd = -1;
}

/* ---- files that are not whole yet */

int disk_partial_open(const struct disk_dir *dir, unsigned number, struct disk_file *out,
                      char out_name[DISK_PARTIAL_LEN])
{
    static _Atomic unsigned n;
    int fd;

    snprintf(out_name, DISK_PARTIAL_LEN, DISK_PARTIAL "%u-%u-%u", (unsigned)getpid(), number, n++);
    fd = openat(dir->fd, out_name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return -errno;
    *out = (struct disk_file){.fd = fd};
    return 0;
}

int disk_partial_clear(const struct disk_file *file)
{
    return ftruncate(file->fd, 0) < 0 ? -errno : 0;
}

int disk_partial_write(const struct disk_file *file, uint64_t place, const void *bytes, size_t len)
{
    return write_all(file->fd, bytes, len, place);
}

int disk_partial_finish(const struct disk_dir *dir, const struct cache_key *key,
                        struct disk_file *file, const uint32_t *stamps, const char *name)
{
    char whole[DISK_NAME_LEN + 1];
    struct disk_header header;
    int r = file->n_spans > SPANS_MAX ? -EFBIG : 0;

    write_header(key, file->n_spans, &header);
    if (r == 0)
        r = write_all(file->fd, &header, sizeof(header), 0);
    if (r == 0)
        r = write_all(file->fd, stamps, file->n_spans * sizeof(stamps[0]), MAP_OFF);
    if (r == 0 && renameat(dir->fd, name, dir->fd, disk_name(key, whole)) < 0)
        r = -errno;
    if (r < 0) {
        disk_partial_discard(dir, file, name);
        return r;
    }
    close(file->fd);
    file->fd = -1;
    return 0;
}

void disk_partial_discard(const struct disk_dir *dir, struct disk_file *file, const char *name)
{
    if (file->fd < 0)
        return;
    close(file->fd);
    file->fd = -1;
    unlinkat(dir->fd, name, 0);
}
