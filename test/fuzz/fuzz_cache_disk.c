/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as what an earlier process left of a layer in a cache directory: header, map, spans,
 * cut anywhere. The first byte says how many spans the layer has, the second whether the header is
 * put right, so that what lies behind it is looked at. What is stored is read again as it was; a
 * span that the map names and that has other bytes is noticed by its checksums; the next open finds
 * what this one left.
 */
#include "fs/cache_disk.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SPANS_MAX  64u
#define SPAN_LEN   5000u
#define HEADER_LEN 72u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static const struct cache_key key = {.digest = {.bytes = {1, 2, 3}}, .spans = {4, 5, 6}};
static char path[] = "/tmp/clip-fuzz-disk-XXXXXX";
static struct disk_dir dir = {.fd = -1};

static void leave(void)
{
    char name[DISK_NAME_LEN + 1];

    disk_dir_remove(&dir, disk_name(&key, name));
    disk_dir_remove(&dir, "lock");
    disk_dir_close(&dir);
    rmdir(path);
}

static void must(bool holds)
{
    if (!holds)
        abort();
}

static void enter(void)
{
    struct clip_error err;

    if (dir.fd >= 0)
        return;
    must(mkdtemp(path) && disk_dir_open(path, &dir, &err) == 0);
    atexit(leave);
}

/* The map lies where the input has it, the rest of the input where the spans begin. */
static void write_left(const uint8_t *data, size_t len, uint64_t n_spans)
{
    char name[DISK_NAME_LEN + 1];
    size_t head = 128 + n_spans * sizeof(uint32_t);
    int fd = openat(dir.fd, disk_name(&key, name), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    must(fd >= 0);
    head = len < head ? len : head;
    must(pwrite(fd, data, head, 0) == (ssize_t)head);
    must(pwrite(fd, data + head, len - head, (off_t)DISK_DATA_OFF) == (ssize_t)(len - head));
    close(fd);
}

static void put_header_right(uint64_t n_spans)
{
    char name[DISK_NAME_LEN + 1], passing[DISK_PARTIAL_LEN];
    uint8_t header[HEADER_LEN];
    uint32_t stamps[SPANS_MAX] = {0};
    struct disk_file file;
    struct disk_dir other = {.fd = dir.fd};
    char left[] = "left";
    int fd;

    must(renameat(dir.fd, disk_name(&key, name), dir.fd, left) == 0);
    must(disk_partial_open(&other, 0, &file, passing) == 0);
    file.n_spans = n_spans;
    must(disk_partial_finish(&other, &key, &file, stamps, passing) == 0);
    fd = openat(dir.fd, name, O_RDONLY | O_CLOEXEC);
    must(fd >= 0 && pread(fd, header, sizeof(header), 0) == sizeof(header));
    close(fd);
    must(renameat(dir.fd, left, dir.fd, name) == 0);
    fd = openat(dir.fd, name, O_WRONLY | O_CLOEXEC);
    must(fd >= 0 && pwrite(fd, header, sizeof(header), 0) == sizeof(header));
    close(fd);
}

static void open_again(uint64_t n_spans, struct disk_file *file, uint32_t *stamps)
{
    struct clip_error err;

    memset(stamps, 0xff, SPANS_MAX * sizeof(stamps[0]));
    must(disk_file_open(&dir, &key, n_spans, n_spans * SPAN_LEN, file, stamps, &err) == 0);
}

/* Whatever lies there, its checksums are of these bytes and of no others. */
static void read_span(const struct disk_file *file, uint64_t index)
{
    uint8_t bytes[SPAN_LEN], now[SPAN_LEN];
    uint64_t sums[1], place = disk_place(index, index * SPAN_LEN);

    must(disk_n_sums(SPAN_LEN) == 1);
    if (disk_file_read(file, place, bytes, sizeof(bytes)) < 0)
        return;
    disk_sums(bytes, sizeof(bytes), sums);
    if (disk_file_read_now(file, place, now, sizeof(now)))
        must(disk_sums_match(now, sizeof(now), sums));
    bytes[index] ^= 1;
    must(!disk_sums_match(bytes, sizeof(bytes), sums));
}

static void store_span(const struct disk_file *file, uint64_t index)
{
    uint8_t bytes[SPAN_LEN], found[SPAN_LEN];
    uint64_t place = disk_place(index, index * SPAN_LEN);

    memset(bytes, (int)index + 1, sizeof(bytes));
    must(disk_file_store(file, index, place, bytes, sizeof(bytes), 77) == 0);
    must(disk_file_read(file, place, found, sizeof(found)) == 0);
    must(memcmp(bytes, found, sizeof(bytes)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    uint32_t stamps[SPANS_MAX], again[SPANS_MAX];
    struct disk_file file;
    uint64_t n_spans;

    if (len < 2)
        return 0;
    enter();
    n_spans = 1 + data[0] % SPANS_MAX;
    write_left(data + 2, len - 2, n_spans);
    if (data[1] & 1)
        put_header_right(n_spans);

    open_again(n_spans, &file, stamps);
    for (uint64_t i = 0; i < n_spans; i++)
        if (stamps[i])
            read_span(&file, i);
    store_span(&file, n_spans / 2);
    stamps[n_spans / 2] = 77;
    disk_file_punch(&file, 0, disk_place(0, 0), SPAN_LEN);
    stamps[0] = 0;
    disk_file_close(&file, data[1] & 2 ? stamps : NULL);

    open_again(n_spans, &file, again);
    must(memcmp(stamps, again, n_spans * sizeof(stamps[0])) == 0);
    disk_file_close(&file, NULL);
    return 0;
}
