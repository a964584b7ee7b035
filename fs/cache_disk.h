/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What lies in a cache directory (docs/cache.md), and the calls that wait for the disk: all of
 * them are for pool jobs, but disk_file_read_now(). Nothing that is read here is trusted: a map
 * says which spans may be there, and whoever reads one checks it.
 */
#ifndef CLIP_FS_CACHE_DISK_H
#define CLIP_FS_CACHE_DISK_H

#include "engine/digest.h"
#include "engine/err.h"

#define DISK_BLOCK    4096u /* spans lie in blocks of their own, so that each can be punched out */
#define DISK_DATA_OFF (64ull << 20) /* where spans begin: the map before them is sparse */
#define DISK_NAME_LEN 97            /* 64 hex digits, a dash, 32 hex digits; without the NUL */

/* Spans of one layer as cut by one index: others may cut it differently. */
struct cache_key {
    struct digest digest;
    uint8_t spans[16]; /* XXH3-128 of where they are and what they hold */
};

#define DISK_PARTIAL "fill-" /* what names of files begin with that are not whole yet */

/* ---- the directory */

struct disk_dir {
    int fd;      /* -1: not open */
    int lock_fd; /* held while it is open */
    int parent_fd;
    char name[32]; /* of a private one in the parent; else "" */
};

/* Makes it if it is missing, locks it, sweeps away what crashed processes left half done. Where
 * another process holds the lock, it is a private directory below. */
int disk_dir_open(const char *path, struct disk_dir *out, struct clip_error *err);
/* A private one is removed. */
void disk_dir_close(struct disk_dir *dir);

/* A file that an earlier process left. */
struct disk_left {
    char name[DISK_NAME_LEN + 1];
    uint64_t size;    /* bytes on disk */
    uint32_t used_at; /* seconds */
};
/* Longest unused first; malloc'ed, the caller frees. */
int disk_dir_scan(const struct disk_dir *dir, struct disk_left **out, size_t *out_n);
void disk_dir_remove(const struct disk_dir *dir, const char *name);

/* ---- a layer's file */

struct disk_file {
    int fd; /* -1: not open */
    uint64_t n_spans;
};

char *disk_name(const struct cache_key *key, char out[DISK_NAME_LEN + 1]);
/* Bytes that a span takes, and where it lies. */
uint64_t disk_size(uint64_t len);
uint64_t disk_place(uint64_t index, uint64_t out_off);

/* `stamps` (n_spans of them) is set from the map: when a span was last used, 0 for one that is not
 * there. A file that is not what the key says is begun anew. */
int disk_file_open(const struct disk_dir *dir, const struct cache_key *key, uint64_t n_spans,
                   uint64_t layer_size, struct disk_file *out, uint32_t *stamps,
                   struct clip_error *err);
/* Bytes on disk now. */
uint64_t disk_file_size(const struct disk_file *file);
/* Stores a span and enters it in the map. What fails leaves nothing there. */
int disk_file_store(const struct disk_file *file, uint64_t index, uint64_t place, const void *bytes,
                    size_t len, uint32_t stamp);
/* Takes a span out of the map, then its bytes off the disk. */
void disk_file_punch(const struct disk_file *file, uint64_t index, uint64_t place, size_t len);
/* Bytes between spans of the map, or of nobody. */
void disk_file_punch_range(const struct disk_file *file, uint64_t place, uint64_t end);
int disk_file_read(const struct disk_file *file, uint64_t place, void *out, size_t len);
/* Hints to the kernel: begin to write these bytes; their pages in its cache are not needed. */
void disk_file_write_out(const struct disk_file *file, uint64_t place, uint64_t len);
void disk_file_drop_pages(const struct disk_file *file, uint64_t place, uint64_t len);

/* Checksums of a span's blocks of DISK_SUM_LEN, so that a part of it can be checked when it is read
 * again. Kept in memory alone. */
#define DISK_SUM_LEN 65536u
size_t disk_n_sums(uint64_t len);
void disk_sums(const void *bytes, size_t len, uint64_t *out);
bool disk_sums_match(const void *bytes, size_t len, const uint64_t *sums);
/* Any thread, never waits: false if it would, or if the bytes are not all there. */
bool disk_file_read_now(const struct disk_file *file, uint64_t place, void *out, size_t len);
/* Writes the whole map (n_spans stamps; NULL: it stays as it is), and closes. */
void disk_file_close(struct disk_file *file, const uint32_t *stamps);

/* ---- a layer's file that is not whole yet */

#define DISK_PARTIAL_LEN 40

int disk_partial_open(const struct disk_dir *dir, unsigned number, struct disk_file *out,
                      char out_name[DISK_PARTIAL_LEN]);
int disk_partial_clear(const struct disk_file *file);
int disk_partial_write(const struct disk_file *file, uint64_t place, const void *bytes, size_t len);
/* Header and map are written, and it gets its name. It is closed in any case, and removed if that
 * fails. */
int disk_partial_finish(const struct disk_dir *dir, const struct cache_key *key,
                        struct disk_file *file, const uint32_t *stamps, const char *name);
void disk_partial_discard(const struct disk_dir *dir, struct disk_file *file, const char *name);

#endif
