/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bytes of an index file; docs/format.md says what they mean. The two change together.
 *
 * Little-endian, fixed width, mapped as they are: a big-endian host would have to convert, and
 * none is built for.
 */
#ifndef CLIP_INDEX_FORMAT_H
#define CLIP_INDEX_FORMAT_H

#include "engine/xxh3.h"

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the index is mapped, not parsed");

#define FORMAT_MAGIC                                                                               \
    "\x89"                                                                                         \
    "CLIP\r\n\x1a\n"
#define FORMAT_MAGIC_LEN 9u
#define FORMAT_VERSION   2u
#define FORMAT_ALIGN     8u /* of every section */

#define FORMAT_SIZE_MAX     (16ull << 30) /* bytes of a file */
#define FORMAT_SECTIONS_MAX 64u
#define FORMAT_NONE         UINT32_MAX

struct format_header {
    uint8_t magic[FORMAT_MAGIC_LEN];
    uint8_t version;
    uint16_t reserved; /* 0 */
    uint32_t n_sections;
    uint64_t file_size;
    uint64_t checksum; /* format_checksum(); the section table follows */
};

enum format_section_type {
    FORMAT_IMAGE = 1,
    FORMAT_STRINGS,
    FORMAT_NODES,
    FORMAT_ATTRS,
    FORMAT_DIGESTS,
    FORMAT_EXTENTS,
    FORMAT_XATTR_SETS,
    FORMAT_XATTRS,
    FORMAT_LAYERS,
    FORMAT_SPANS,
    FORMAT_WINDOWS,
    FORMAT_PROFILE, /* may be missing; the first that may */
    FORMAT_NEEDS,   /* likewise */
    FORMAT_SECTIONS_END
};

#define FORMAT_SECTION_NEEDED 1u /* who does not know the type must refuse the file */

struct format_section {
    uint32_t type;
    uint32_t flags;
    uint64_t off; /* in the file */
    uint64_t len;
    uint64_t checksum; /* XXH3-64 of its bytes */
};

/* XXH3-64 of the section table, with that of the header's other bytes as its seed. */
static inline uint64_t format_checksum(const struct format_header *header,
                                       const struct format_section *table)
{
    uint64_t seed = XXH3_64bits(header, offsetof(struct format_header, checksum));

    return XXH3_64bits_withSeed(table, header->n_sections * sizeof(*table), seed);
}

/* A place in the section STRINGS. */
struct format_string {
    uint32_t off;
    uint32_t len;
};

#define FORMAT_KEEPS_RUNTIME_DIRS 1u

/* The strings have a NUL behind them, not counted in len. */
struct format_image {
    uint8_t manifest_digest[32];
    uint64_t span_size;
    uint64_t content_size;
    uint32_t n_entries, n_files, n_dirs, n_symlinks, n_hardlinks, n_others;
    uint32_t flags;
    uint32_t reserved; /* 0 */
    struct format_string reference, manifest_media_type, platform, config;
};

enum format_kind {
    FORMAT_FILE,     /* one extent, of less than 4 GiB, at a block: `file` */
    FORMAT_EXTENDED, /* any other regular file: `extended` */
    FORMAT_DIR,
    FORMAT_SYMLINK,
    FORMAT_CHAR,
    FORMAT_BLOCK,
    FORMAT_FIFO,
    FORMAT_LINK, /* a further name of an earlier node that is no directory */
    FORMAT_KINDS
};

#define FORMAT_BLOCK_LEN 512u

/* Unused bytes of the union are 0. */
struct format_node {
    uint32_t name;   /* in STRINGS */
    uint32_t parent; /* index of a node */
    uint32_t attr;   /* index in ATTRS; 0 of a link */
    uint8_t kind;
    uint8_t name_len;
    uint16_t layer; /* of a regular file with bytes, else 0 */
    union {
        struct {
            uint32_t size;
            uint32_t block;  /* layer offset / FORMAT_BLOCK_LEN; 0 when empty */
            uint32_t digest; /* index in DIGESTS; FORMAT_NONE when empty */
        } file;
        struct {
            uint32_t first; /* index in EXTENTS of the size, which n extents follow */
            uint32_t n;
            uint32_t digest;
        } extended;
        struct {
            uint32_t first; /* index of a node; 0 when empty */
            uint32_t n;
            uint32_t n_dirs;
        } dir;
        struct format_string symlink;
        struct {
            uint32_t major, minor;
        } device;
        struct {
            uint32_t target; /* index of a node */
        } link;
        uint32_t words[3];
    };
};

struct format_attr {
    int64_t mtime_sec;
    uint32_t mtime_nsec;
    uint32_t mode; /* 07777 */
    uint32_t uid, gid;
    uint32_t nlink;  /* of a directory 0: it follows from n_dirs */
    uint32_t xattrs; /* index in XATTR_SETS, or FORMAT_NONE */
};

struct format_digest {
    uint8_t bytes[32];
};

/* The record before a file's extents has its size in file_off, and zeros. */
struct format_extent {
    uint64_t file_off;
    uint64_t layer_off;
    uint64_t len;
};

struct format_xattr_set {
    uint32_t first; /* index in XATTRS */
    uint32_t n;
};

struct format_xattr {
    struct format_string name, value;
};

/* The media type has a NUL behind it, not counted. */
struct format_layer {
    uint8_t digest[32];
    uint8_t diff_id[32];
    uint64_t size;
    uint64_t uncompressed_size;
    struct format_string media_type;
    uint32_t codec;      /* 0 tar, 1 gzip, 2 zstd */
    uint32_t first_span; /* index in SPANS */
    uint32_t n_spans;
    uint32_t reserved; /* 0 */
};

#define FORMAT_SPAN_FRESH      1u
#define FORMAT_SPAN_MIDBLOCK   2u
#define FORMAT_SPAN_CHAINED    4u
#define FORMAT_SPAN_LEN_MAX    (256u << 20) /* decoded bytes */
#define FORMAT_WINDOW_MAX      65536u       /* packed bytes */
#define FORMAT_HEADER_BITS_MAX 65536u

struct format_span {
    uint64_t in_bit;
    uint64_t in_end;
    uint64_t out_off;
    uint64_t data; /* in WINDOWS: the packed window, then the block header's bytes */
    uint32_t window_len;
    uint32_t header_bits;
    uint32_t flags;
    uint32_t header_bit; /* of the first byte to skip, 0 to 7 */
    uint8_t fetched[32];
    uint8_t decoded[16];
};

/* A span that will be read, in the order of that. */
struct format_profile {
    uint32_t layer;
    uint32_t span; /* of the layer's */
};

/* A file needs another one to run: indexes of nodes, sorted by the first; those of one file in the
 * order in which it will read them, none twice. */
struct format_need {
    uint32_t node;
    uint32_t needed;
};

static_assert(sizeof(struct format_header) == 32, "no padding");
static_assert(sizeof(struct format_section) == 32, "no padding");
static_assert(sizeof(struct format_image) == 112, "no padding");
static_assert(sizeof(struct format_node) == 28, "no padding");
static_assert(sizeof(struct format_attr) == 32, "no padding");
static_assert(sizeof(struct format_layer) == 104, "no padding");
static_assert(sizeof(struct format_span) == 96, "no padding");

#endif
