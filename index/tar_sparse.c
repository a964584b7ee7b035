/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The happy path of a map is: the run says of which form it is, how long the file is and, in pax
 * headers, how many pairs there are; then pair after pair is read.
 * Possible failure modes are: no length or two of them, a map of two forms, a number that is none,
 * more or fewer pairs than there should be. In old headers also a pair of which one number is
 * blank: GNU tar ends the map at a blank length and leaves further blocks to the data, Go and
 * libarchive end the block at a blank offset and go on in the next one. libarchive passes over a
 * blank size, which is an error to GNU tar, and 0 to Go.
 */
#include "index/tar_sparse.h"

#include "index/tar_header.h"

#include <errno.h>
#include <string.h>

#define NUMBER_LEN 12u
#define PAIR_LEN   (2 * NUMBER_LEN)

/* Offsets in an old header. */
enum { TYPE = 156, MAGIC = 257, PAIRS = 386, PAIRS_END = 482, SIZE = 483 };
/* In a block behind it. */
enum { MORE_PAIRS_END = 504 };

/* ---- old GNU */

static int read_number(const uint8_t *field, int64_t *out)
{
    size_t i = 0;

    while (i < NUMBER_LEN && field[i] == ' ')
        i++;
    if (i == NUMBER_LEN || field[i] == '\0')
        return -EBADMSG;
    return tar_number(field, NUMBER_LEN, out);
}

static int init_blocks(struct tar_sparse *s, const struct tar_run *run)
{
    const uint8_t *header = run->bytes + run->own;

    if (run->own_pax.sparse || memcmp(header + MAGIC, "ustar  ", 8) != 0)
        return -EBADMSG;
    s->form = SPARSE_BLOCKS;
    s->bytes = header;
    s->len = run->len - run->own;
    s->at = PAIRS;
    return read_number(header + SIZE, &s->size);
}

static int next_of_blocks(struct tar_sparse *s, int64_t *out_off, int64_t *out_len)
{
    size_t end = s->at < TAR_BLOCK_LEN ? PAIRS_END : MORE_PAIRS_END;
    const uint8_t *pair;

    if (s->at % TAR_BLOCK_LEN == end)
        s->at += TAR_BLOCK_LEN - end;
    if (s->at == s->len)
        return 0;
    pair = s->bytes + s->at;
    if (pair[0] == '\0' && pair[NUMBER_LEN] == '\0') /* the end, if in the last block */
        return s->len - s->at <= TAR_BLOCK_LEN ? 0 : -EBADMSG;
    s->at += PAIR_LEN;
    if (read_number(pair, out_off) < 0 || read_number(pair + NUMBER_LEN, out_len) < 0)
        return -EBADMSG;
    return 1;
}

/* ---- pax 0.0: a record for every number */

/* The next record of a number, which must have this key; 0: there is none. */
static int next_record(struct tar_sparse *s, const char *key, int64_t *out)
{
    struct tar_pax_record record;

    while (s->at < s->len) {
        if (tar_pax_next(s->bytes, s->len, &s->at, &record) < 0)
            return -EBADMSG;
        if (tar_pax_is(s->bytes, &record, key))
            return tar_pax_number(s->bytes + record.value, record.value_len, out) < 0 ? -EBADMSG
                                                                                      : 1;
        if (tar_pax_is(s->bytes, &record, "GNU.sparse.offset") ||
            tar_pax_is(s->bytes, &record, "GNU.sparse.numbytes"))
            return -EBADMSG;
    }
    return 0;
}

static int next_of_records(struct tar_sparse *s, int64_t *out_off, int64_t *out_len)
{
    int r = next_record(s, "GNU.sparse.offset", out_off);

    if (r <= 0)
        return r;
    return next_record(s, "GNU.sparse.numbytes", out_len) > 0 ? 1 : -EBADMSG;
}

/* ---- pax 0.1, numbers with commas between them; 1.0, with a newline behind each */

static int next_in_text(struct tar_sparse *s, int64_t *out)
{
    const uint8_t *from = s->bytes + s->at;
    const uint8_t *end = memchr(from, s->form == SPARSE_LIST ? ',' : '\n', s->len - s->at);
    size_t len = end ? (size_t)(end - from) : s->len - s->at;

    s->at += len + (end != NULL);
    return tar_pax_number(from, len, out);
}

static int next_of_text(struct tar_sparse *s, int64_t *out_off, int64_t *out_len)
{
    if (s->at == s->len || (s->form == SPARSE_LINES && s->left == 0)) /* the rest is padding */
        return 0;
    if (next_in_text(s, out_off) < 0 || next_in_text(s, out_len) < 0)
        return -EBADMSG;
    return 1;
}

/* ---- which form */

/* Is that its value? "": it has none. */
static bool is_text(const struct tar_run *run, enum tar_pax_key key, const char *text)
{
    size_t len;
    const uint8_t *value = tar_run_value(run, key, &len);

    return value ? len == strlen(text) && memcmp(value, text, len) == 0 : !text[0];
}

static int read_value(const struct tar_run *run, enum tar_pax_key key, int64_t *out)
{
    size_t len;
    const uint8_t *value = tar_run_value(run, key, &len);

    return value ? tar_pax_number(value, len, out) : -EBADMSG;
}

static int init_lines(struct tar_sparse *s, const struct tar_run *run)
{
    s->form = SPARSE_LINES;
    s->bytes = run->bytes + run->own + TAR_BLOCK_LEN;
    s->len = run->len - run->own - TAR_BLOCK_LEN;
    return is_text(run, PAX_SPARSE_MINOR, "0") ? next_in_text(s, &s->left) : -EBADMSG;
}

/* pax 0.0 or 0.1, which may say so or not. */
static bool is_0(const struct tar_run *run)
{
    if (is_text(run, PAX_SPARSE_MAJOR, ""))
        return is_text(run, PAX_SPARSE_MINOR, "");
    return is_text(run, PAX_SPARSE_MAJOR, "0") &&
           (is_text(run, PAX_SPARSE_MINOR, "0") || is_text(run, PAX_SPARSE_MINOR, "1"));
}

static int init_records(struct tar_sparse *s, const struct tar_run *run)
{
    size_t len;
    const uint8_t *map = tar_run_value(run, PAX_SPARSE_MAP, &len);
    int64_t number;

    s->form = SPARSE_RECORDS;
    s->bytes = run->bytes + run->pax;
    s->len = run->pax_len;
    if (map) {
        if (next_record(s, "GNU.sparse.offset", &number) != 0)
            return -EBADMSG;
        *s = (struct tar_sparse){.size = s->size, .form = SPARSE_LIST, .bytes = map, .len = len};
    }
    return read_value(run, PAX_SPARSE_BLOCKS, &s->left);
}

static int init_pax(struct tar_sparse *s, const struct tar_run *run)
{
    bool has_size = !is_text(run, PAX_SPARSE_SIZE, "");
    bool has_real_size = !is_text(run, PAX_SPARSE_REAL_SIZE, "");

    if (has_size == has_real_size ||
        read_value(run, has_size ? PAX_SPARSE_SIZE : PAX_SPARSE_REAL_SIZE, &s->size) < 0)
        return -EBADMSG;
    if (is_text(run, PAX_SPARSE_MAJOR, "1"))
        return init_lines(s, run);
    return is_0(run) ? init_records(s, run) : -EBADMSG;
}

/* ---- public */

int tar_sparse_init(struct tar_sparse *sparse, const struct tar_run *run)
{
    struct tar_sparse s = {0};
    int r = run->bytes[run->own + TYPE] == 'S' ? init_blocks(&s, run) : init_pax(&s, run);

    if (r < 0 || s.size < 0)
        return -EBADMSG;
    *sparse = s;
    return 0;
}

int tar_sparse_next(struct tar_sparse *sparse, int64_t *out_off, int64_t *out_len)
{
    int r;

    if (sparse->form == SPARSE_BLOCKS)
        return next_of_blocks(sparse, out_off, out_len);
    r = sparse->form == SPARSE_RECORDS ? next_of_records(sparse, out_off, out_len)
                                       : next_of_text(sparse, out_off, out_len);
    if (r > 0)
        return sparse->left-- > 0 ? r : -EBADMSG;
    return r == 0 && sparse->left != 0 ? -EBADMSG : r;
}
