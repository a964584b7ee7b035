/* SPDX-License-Identifier: Apache-2.0 */
#include "test/lib/packed.h"

#include "test/lib/drip.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>
#ifdef CLIP_HAVE_ISAL
#include <isa-l/igzip_lib.h>
#endif

/* ---- bytes */

static void *must(void *memory)
{
    if (!memory)
        abort();
    return memory;
}

static struct bytes bytes_new(size_t len)
{
    return (struct bytes){must(calloc(1, len ? len : 1)), len};
}

void bytes_free(struct bytes *bytes)
{
    free(bytes->at);
    *bytes = (struct bytes){NULL, 0};
}

void bytes_add(struct bytes *bytes, const void *more, size_t len)
{
    bytes->at = must(realloc(bytes->at, bytes->len + len + 1));
    if (len)
        memcpy(bytes->at + bytes->len, more, len);
    bytes->len += len;
}

void bytes_join(struct bytes *bytes, struct bytes more)
{
    bytes_add(bytes, more.at, more.len);
    bytes_free(&more);
}

/* ---- plain bytes */

static size_t put_words(uint8_t *out, size_t room, uint64_t *seed)
{
    static const char *const words[] = {"usr",     "share",    "libclip", "\n", "the span",
                                        "0000644", "\0\0\0\0", "ELF",     "of", "checkpoint"};
    const char *word = words[drip_random(seed) % 10];
    size_t len = strlen(word);

    len = len ? len : 4;
    len = len < room ? len : room;
    memcpy(out, word, len);
    return len;
}

static size_t put_piece(uint8_t *out, size_t room, uint64_t *seed)
{
    size_t len = drip_random(seed) % 20000, done = 0;
    unsigned kind = drip_random(seed) % 8;

    len = len < room ? len : room;
    if (kind == 0)
        return len; /* zeros */
    while (done < len) {
        if (kind == 1)
            out[done++] = (uint8_t)drip_random(seed);
        else if (kind == 2)
            out[done++] = (uint8_t)('0' + drip_random(seed) % 10);
        else
            done += put_words(out + done, len - done, seed);
    }
    return len;
}

struct bytes packed_plain(size_t len, uint64_t seed)
{
    struct bytes plain = bytes_new(len);

    seed |= 1;
    for (size_t done = 0; done < len;)
        done += put_piece(plain.at + done, len - done, &seed);
    return plain;
}

/* ---- gzip */

/* Everything but the last `every` bytes, flushed so often. Returns how many that were. */
static size_t deflate_flushed(z_stream *z, const uint8_t *plain, size_t len, struct gzip_how how)
{
    size_t done = 0;

    while (how.flush && len - done > how.flush_every) {
        z->next_in = (Bytef *)plain + done;
        z->avail_in = (uInt)how.flush_every;
        must(deflate(z, how.flush) == Z_OK && z->avail_in == 0 ? z : NULL);
        done += how.flush_every;
    }
    return done;
}

static struct bytes zlib_made(const uint8_t *plain, size_t len, struct gzip_how how, int bits)
{
    size_t n_flushes = how.flush ? len / how.flush_every + 1 : 1, done;
    struct bytes out = bytes_new(len + len / 2 + n_flushes * 16 + 1024);
    z_stream z = {.next_out = out.at, .avail_out = (uInt)out.len};
    int r = deflateInit2(&z, how.level, Z_DEFLATED, bits, how.mem_level ? how.mem_level : 8,
                         how.strategy);

    must(r == Z_OK ? out.at : NULL);
    done = deflate_flushed(&z, plain, len, how);
    z.next_in = (Bytef *)plain + done;
    z.avail_in = (uInt)(len - done);
    must(deflate(&z, Z_FINISH) == Z_STREAM_END ? out.at : NULL);
    out.len -= z.avail_out;
    deflateEnd(&z);
    return out;
}

struct bytes packed_gzip(const void *plain, size_t len, struct gzip_how how)
{
    return zlib_made(plain, len, how, 15 + 16);
}

struct bytes packed_deflate(const void *plain, size_t len, struct gzip_how how)
{
    return zlib_made(plain, len, how, -15);
}

struct bytes packed_isal(const void *plain, size_t len, int level)
{
#ifdef CLIP_HAVE_ISAL
    static const uint32_t work_len[] = {ISAL_DEF_LVL0_DEFAULT, ISAL_DEF_LVL1_DEFAULT,
                                        ISAL_DEF_LVL2_DEFAULT, ISAL_DEF_LVL3_DEFAULT};
    struct bytes out = bytes_new(len + len / 8 + 4096), work = bytes_new(work_len[level]);
    struct isal_zstream *z = must(malloc(sizeof(*z)));

    isal_deflate_init(z);
    z->gzip_flag = IGZIP_GZIP;
    z->level = (uint32_t)level;
    z->level_buf = work.at;
    z->level_buf_size = (uint32_t)work.len;
    z->end_of_stream = 1;
    z->next_in = (uint8_t *)plain;
    z->avail_in = (uint32_t)len;
    z->next_out = out.at;
    z->avail_out = (uint32_t)out.len;
    must(isal_deflate(z) == COMP_OK && z->internal_state.state == ZSTATE_END ? z : NULL);
    out.len = z->total_out;
    free(z);
    bytes_free(&work);
    return out;
#else
    (void)plain, (void)len, (void)level;
    return (struct bytes){NULL, 0};
#endif
}

/* ---- one block with the fixed codes (RFC 1951, 3.2.6) */

struct bit_writer {
    struct bytes to;
    uint64_t n_bits;
};

static void put_bits(struct bit_writer *w, unsigned value, unsigned n)
{
    for (unsigned i = 0; i < n; i++, w->n_bits++)
        w->to.at[w->n_bits / 8] |= (uint8_t)((value >> i & 1) << (w->n_bits % 8));
}

/* Codes are written from their highest bit on. */
static void put_code(struct bit_writer *w, unsigned code, unsigned n)
{
    while (n--)
        put_bits(w, code >> n, 1);
}

static void put_symbol(struct bit_writer *w, unsigned symbol)
{
    if (symbol < 144)
        put_code(w, 0x30 + symbol, 8);
    else if (symbol < 256)
        put_code(w, 0x190 + symbol - 144, 9);
    else if (symbol < 280)
        put_code(w, symbol - 256, 7);
    else
        put_code(w, 0xc0 + symbol - 280, 8);
}

#define MATCH_LEN      258u
#define MATCH_DISTANCE 5000u

static void put_match(struct bit_writer *w)
{
    put_symbol(w, 285);
    put_code(w, 24, 5); /* 4097 and what 11 bits add */
    put_bits(w, MATCH_DISTANCE - 4097, 11);
}

struct bytes packed_fixed_block(const void *plain, size_t len)
{
    struct bit_writer w = {.to = bytes_new(len + len / 4 + 64)};
    const uint8_t *at = plain;

    put_bits(&w, 3, 3); /* final, fixed */
    for (size_t i = 0; i < len;) {
        if (i >= MATCH_DISTANCE && len - i >= MATCH_LEN &&
            memcmp(at + i, at + i - MATCH_DISTANCE, MATCH_LEN) == 0) {
            put_match(&w);
            i += MATCH_LEN;
        } else {
            put_symbol(&w, at[i++]);
        }
    }
    put_symbol(&w, 256);
    w.to.len = (size_t)(w.n_bits + 7) / 8;
    return w.to;
}

/* ---- a member of its own making */

static void add_number(struct bytes *bytes, uint32_t value, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        uint8_t byte = (uint8_t)(value >> (8 * i));
        bytes_add(bytes, &byte, 1);
    }
}

struct bytes packed_member(uint8_t flags, struct bytes deflated, const void *plain, size_t len)
{
    const uint8_t head[] = {0x1f, 0x8b, 8, flags, 1, 2, 3, 4, 0, 3};
    struct bytes member = bytes_new(0);

    bytes_add(&member, head, sizeof(head));
    if (flags & 4)
        bytes_add(&member, "\6\0BC\2\0\0\0", 8);
    if (flags & 8)
        bytes_add(&member, "layer.tar", 10);
    if (flags & 16)
        bytes_add(&member, "a comment, \xe9", 13);
    if (flags & 2)
        add_number(&member, (uint32_t)crc32(0, member.at, (uInt)member.len), 2);
    bytes_join(&member, deflated);
    add_number(&member, (uint32_t)crc32_z(0, plain, len), 4);
    add_number(&member, (uint32_t)len, 4);
    return member;
}

/* ---- zstd */

struct bytes packed_zstd(const void *plain, size_t len, int level, int window_log)
{
    struct bytes out = bytes_new(ZSTD_compressBound(len));
    ZSTD_CCtx *zstd = must(ZSTD_createCCtx());
    size_t n;

    ZSTD_CCtx_setParameter(zstd, ZSTD_c_compressionLevel, level);
    ZSTD_CCtx_setParameter(zstd, ZSTD_c_checksumFlag, level & 1);
    if (window_log)
        ZSTD_CCtx_setParameter(zstd, ZSTD_c_windowLog, window_log);
    n = ZSTD_compress2(zstd, out.at, out.len, plain, len);
    must(ZSTD_isError(n) ? NULL : out.at);
    out.len = n;
    ZSTD_freeCCtx(zstd);
    return out;
}

struct bytes packed_skippable(size_t len)
{
    struct bytes frame = bytes_new(0), zeros = bytes_new(len);

    add_number(&frame, ZSTD_MAGIC_SKIPPABLE_START + 7, 4);
    add_number(&frame, (uint32_t)len, 4);
    bytes_join(&frame, zeros);
    return frame;
}

/* ---- by other programs */

static struct bytes read_all(FILE *file)
{
    struct bytes bytes = bytes_new(0);
    uint8_t piece[65536];
    size_t n;

    while ((n = fread(piece, 1, sizeof(piece), file)) > 0)
        bytes_add(&bytes, piece, n);
    return bytes;
}

struct bytes packed_by(const char *command, const void *plain, size_t len)
{
    char path[] = "/tmp/clip_test_packed.XXXXXX", line[256];
    int fd = mkstemp(path);
    struct bytes out;
    FILE *file;

    must(fd >= 0 && write(fd, plain, len) == (ssize_t)len ? path : NULL);
    close(fd);
    snprintf(line, sizeof(line), "(%s) <%s 2>/dev/null", command, path);
    file = must(popen(line, "r"));
    out = read_all(file);
    if (pclose(file) != 0)
        out.len = 0;
    unlink(path);
    return out;
}
