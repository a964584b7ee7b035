/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The happy path of an entry is:
 * - blocks are collected into a run until the entry's own header is there; headers that only
 *   describe the next one (x, g, L, K) bring a payload into the run first.
 * - old GNU sparse headers continue in further blocks, GNU 1.0 sparse maps lie in front of the
 *   data: both belong to the run.
 * - tar_header_read() says what the run means: ENTRY. Then DATA as pieces of what was fed, never
 *   copied, then the padding, then ENTRY_END.
 * Possible failure modes are: a checksum or a size that is wrong, a run past its ceilings, an end
 * inside an entry. Each names the offset of the header.
 */
#include "index/tar.h"

#include "index/tar_header.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum tar_state {
    AT_HEADER,  /* collecting a header block */
    IN_PAYLOAD, /* of an x, g, L or K header */
    AT_SPARSE,  /* old GNU: a block of more sparse extents */
    AT_MAP,     /* GNU 1.0: a block of the map */
    AT_DATA,
    AT_PADDING,
    AT_END
};

struct tar {
    enum tar_state state;
    const uint8_t *in;
    size_t in_len;
    uint64_t off; /* in the layer, of in[0] */
    bool finished;
    unsigned n_zero_blocks;

    uint8_t *run; /* the run, behind the global headers in force */
    size_t run_len, run_cap;
    size_t global_len;
    struct tar_run where;
    uint64_t run_off; /* in the layer, of the run's first own block */
    size_t need;      /* bytes of the block or payload that are still to come */
    uint8_t flag;     /* type of the header whose payload comes */
    size_t payload, payload_len;

    struct tar_header header;
    uint64_t stored;  /* bytes of content in the archive */
    uint64_t left;    /* of the data or padding */
    uint64_t data_at; /* how many data bytes have passed */
    size_t extent;    /* which one the next data byte belongs to */
    const uint8_t *piece;
    size_t piece_len;
    uint64_t piece_file_off;
};

static int bad(struct tar *tar, struct clip_error *err, const char *what)
{
    return err_set(err, CLIP_EFORMAT, "tar: %s, in the header at byte %" PRIu64, what,
                   tar->run_off);
}

static int grow_run(struct tar *tar, size_t more)
{
    size_t want = tar->run_len + more;
    uint8_t *run;

    if (want <= tar->run_cap)
        return 0;
    want += want / 2;
    run = realloc(tar->run, want);
    if (!run)
        return -ENOMEM;
    tar->run = run;
    tar->run_cap = want;
    return 0;
}

/* Takes what there is of the bytes that are needed; true when all are there. */
static bool collect(struct tar *tar)
{
    size_t n = tar->need < tar->in_len ? tar->need : tar->in_len;

    memcpy(tar->run + tar->run_len, tar->in, n);
    tar->run_len += n;
    tar->need -= n;
    tar->in += n;
    tar->in_len -= n;
    tar->off += n;
    return tar->need == 0;
}

static int want_block(struct tar *tar, enum tar_state state)
{
    tar->state = state;
    tar->need = TAR_BLOCK_LEN;
    return grow_run(tar, TAR_BLOCK_LEN);
}

static int begin_run(struct tar *tar)
{
    tar->run_len = tar->global_len;
    tar->where = (struct tar_run){0};
    tar->run_off = tar->off;
    return want_block(tar, AT_HEADER);
}

static size_t padding_of(uint64_t len)
{
    return (size_t)(-len & (TAR_BLOCK_LEN - 1));
}

/* ---- headers that describe the next one */

static int begin_payload(struct tar *tar, uint8_t flag, struct clip_error *err)
{
    int64_t size;

    if (tar_number(tar->run + tar->run_len - TAR_BLOCK_LEN + 124, 12, &size) < 0 || size < 0)
        return bad(tar, err, "a size that is not a number");
    if ((uint64_t)size > TAR_META_MAX || tar->run_len > 2 * TAR_META_MAX)
        return bad(tar, err, "metadata of more than 4 MiB");
    tar->flag = flag;
    tar->payload = tar->run_len;
    tar->payload_len = (size_t)size;
    tar->need = (size_t)size + padding_of((uint64_t)size);
    tar->state = IN_PAYLOAD;
    return grow_run(tar, tar->need + TAR_BLOCK_LEN);
}

/* A global header stays in front of every later run. */
static int keep_global(struct tar *tar, struct clip_error *err)
{
    if (tar->run_len > TAR_META_MAX)
        return bad(tar, err, "global headers of more than 4 MiB");
    tar->global_len = tar->run_len;
    return begin_run(tar);
}

static int end_payload(struct tar *tar, struct clip_error *err)
{
    size_t len = tar->payload_len;

    switch (tar->flag) {
    case 'x':
    case 'X':
        tar->where.pax = tar->payload;
        tar->where.pax_len = len;
        break;
    case 'L':
        tar->where.name = tar->payload;
        tar->where.name_len = strnlen((char *)tar->run + tar->payload, len);
        break;
    case 'K':
        tar->where.link = tar->payload;
        tar->where.link_len = strnlen((char *)tar->run + tar->payload, len);
        break;
    default:
        /* only one that stands alone: between others it would be cut out of the run */
        if (tar->payload == tar->global_len + TAR_BLOCK_LEN)
            return keep_global(tar, err);
        return bad(tar, err, "a global header between others");
    }
    return want_block(tar, AT_HEADER);
}

/* ---- an entry's own header */

static const char *pax_value(const struct tar *tar, const char *key, size_t *out_len)
{
    const char *value = tar_pax_find(tar->run + tar->where.pax, tar->where.pax_len, key, out_len);

    if (!value && tar->global_len > TAR_BLOCK_LEN)
        value =
            tar_pax_find(tar->run + TAR_BLOCK_LEN, tar->global_len - TAR_BLOCK_LEN, key, out_len);
    return value;
}

static int parse_decimal(const char *text, size_t len, uint64_t *out)
{
    uint64_t value = 0;

    if (len == 0)
        return -EBADMSG;
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9' || __builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, (uint64_t)(text[i] - '0'), &value))
            return -EBADMSG;
    }
    *out = value;
    return 0;
}

/* How many bytes of data follow the header in the archive. */
static int stored_size(struct tar *tar, uint64_t *out)
{
    const uint8_t *block = tar->run + tar->where.own;
    const char *value;
    size_t len;
    int64_t size;

    /* links, devices and directories have no data, whatever their size says */
    if (block[156] >= '1' && block[156] <= '6') {
        *out = 0;
        return 0;
    }
    value = pax_value(tar, "size", &len);
    if (value)
        return parse_decimal(value, len, out);
    if (tar_number(block + 124, 12, &size) < 0 || size < 0)
        return -EBADMSG;
    *out = (uint64_t)size;
    return 0;
}

static int tell_entry(struct tar *tar, struct clip_error *err)
{
    int r;

    tar->where.bytes = tar->run;
    tar->where.len = tar->run_len;
    r = tar_header_read(&tar->header, &tar->where, tar->off, tar->stored, err);
    if (r < 0)
        return err_prefix(err, "header at byte %" PRIu64, tar->run_off);
    tar->header.entry.header_off = tar->run_off;
    tar->left = tar->stored;
    tar->data_at = 0;
    tar->extent = 0;
    tar->state = AT_DATA;
    return TAR_ENTRY;
}

/* Has the GNU 1.0 map, decimal numbers a line each and first their count, come to its end? */
static int map_is_whole(struct tar *tar, size_t map, bool *out)
{
    uint64_t lines = 0, want = 0;
    bool known = false;
    size_t line = map;

    for (size_t i = map; i < tar->run_len; i++) {
        if (tar->run[i] != '\n')
            continue;
        if (!known) {
            if (parse_decimal((char *)tar->run + line, i - line, &want) < 0 ||
                want > TAR_SPARSE_MAX)
                return -EBADMSG;
            known = true;
        } else {
            lines++;
        }
        line = i + 1;
    }
    *out = known && lines >= 2 * want;
    return 0;
}

static int on_map_block(struct tar *tar, struct clip_error *err)
{
    size_t map = tar->where.own + TAR_BLOCK_LEN;
    bool whole;

    if (tar->run_len - map > 64 * (size_t)TAR_META_MAX / 4 || map_is_whole(tar, map, &whole) < 0)
        return bad(tar, err, "a sparse map that is none");
    if (tar->stored < TAR_BLOCK_LEN)
        return bad(tar, err, "a sparse map that is longer than its file");
    tar->stored -= TAR_BLOCK_LEN;
    if (!whole)
        return want_block(tar, AT_MAP);
    return tell_entry(tar, err);
}

static bool has_map(const struct tar *tar)
{
    size_t len;
    const char *major =
        tar_pax_find(tar->run + tar->where.pax, tar->where.pax_len, "GNU.sparse.major", &len);

    return major && len == 1 && *major == '1';
}

static int on_sparse_block(struct tar *tar, struct clip_error *err)
{
    const uint8_t *block = tar->run + tar->run_len - TAR_BLOCK_LEN;

    if (tar->run_len - tar->where.own > TAR_META_MAX)
        return bad(tar, err, "a sparse map of more than 4 MiB");
    if (block[504]) /* isextended */
        return want_block(tar, AT_SPARSE);
    return tell_entry(tar, err);
}

static int on_entry_header(struct tar *tar, struct clip_error *err)
{
    const uint8_t *block;

    tar->where.own = tar->run_len - TAR_BLOCK_LEN;
    block = tar->run + tar->where.own;
    if (stored_size(tar, &tar->stored) < 0 || tar->stored > INT64_MAX / 2)
        return bad(tar, err, "a size that is not a number");
    if (block[156] == 'S' && block[482]) /* isextended */
        return want_block(tar, AT_SPARSE);
    if (has_map(tar))
        return want_block(tar, AT_MAP);
    return tell_entry(tar, err);
}

static int on_zero_block(struct tar *tar, struct clip_error *err)
{
    if (tar->run_len != tar->global_len + TAR_BLOCK_LEN)
        return bad(tar, err, "an end after a header that describes the next");
    if (++tar->n_zero_blocks < 2)
        return begin_run(tar);
    tar->state = AT_END;
    return TAR_END;
}

static bool is_zero(const uint8_t *block)
{
    return block[0] == 0 && memcmp(block, block + 1, TAR_BLOCK_LEN - 1) == 0;
}

static int on_header(struct tar *tar, struct clip_error *err)
{
    const uint8_t *block = tar->run + tar->run_len - TAR_BLOCK_LEN;

    if (is_zero(block))
        return on_zero_block(tar, err);
    tar->n_zero_blocks = 0;
    if (!tar_checksum_is_right(block))
        return bad(tar, err, "a checksum that is wrong");
    switch (block[156]) {
    case 'x':
    case 'X':
    case 'g':
    case 'L':
    case 'K':
        return begin_payload(tar, block[156], err);
    default:
        return on_entry_header(tar, err);
    }
}

/* ---- data */

/* A piece lies in one extent, so that its place in the file is one number. */
static int tell_data(struct tar *tar)
{
    const struct tar_entry *entry = &tar->header.entry;
    uint64_t n = tar->left < tar->in_len ? tar->left : tar->in_len;
    bool known = tar->extent < entry->n_extents;

    if (known) {
        const struct tar_extent *extent = &entry->extents[tar->extent];
        uint64_t into = tar->off - extent->layer_off;
        if (n > extent->len - into)
            n = extent->len - into;
        tar->piece = tar->in;
        tar->piece_len = (size_t)n;
        tar->piece_file_off = extent->file_off + into;
        if (into + n == extent->len)
            tar->extent++;
    }
    tar->in += n;
    tar->in_len -= (size_t)n;
    tar->off += n;
    tar->left -= n;
    return known ? TAR_DATA : TAR_MORE_IN;
}

static int on_data(struct tar *tar)
{
    if (tar->left > 0)
        return tell_data(tar);
    tar->left = padding_of(tar->stored);
    tar->state = AT_PADDING;
    return TAR_ENTRY_END;
}

static int on_padding(struct tar *tar)
{
    uint64_t n = tar->left < tar->in_len ? tar->left : tar->in_len;

    tar->in += n;
    tar->in_len -= (size_t)n;
    tar->off += n;
    tar->left -= n;
    return tar->left > 0 ? 0 : begin_run(tar);
}

/* ---- public */

/* What the bytes that are whole now mean: an event, 0 for none yet, or a negative errno. */
static int advance(struct tar *tar, struct clip_error *err)
{
    switch (tar->state) {
    case AT_HEADER:
        return collect(tar) ? on_header(tar, err) : 0;
    case IN_PAYLOAD:
        return collect(tar) ? end_payload(tar, err) : 0;
    case AT_SPARSE:
        return collect(tar) ? on_sparse_block(tar, err) : 0;
    case AT_MAP:
        return collect(tar) ? on_map_block(tar, err) : 0;
    case AT_DATA:
        return on_data(tar);
    case AT_PADDING:
        return on_padding(tar);
    case AT_END:
        break;
    }
    tar->off += tar->in_len;
    tar->in_len = 0;
    return TAR_END;
}

static int at_end_of_input(struct tar *tar, struct clip_error *err)
{
    bool between =
        tar->state == AT_END || (tar->state == AT_HEADER && tar->run_len == tar->global_len);

    /* an archive without its end blocks is read as far as it goes; padding may be missing too */
    if (!between && tar->state != AT_PADDING)
        return bad(tar, err, "the archive ends inside of an entry");
    tar->state = AT_END;
    return TAR_END;
}

int tar_step(struct tar *tar, struct clip_error *err)
{
    /* an entry without data is told and ended without any input */
    while (tar->in_len > 0 || (tar->state == AT_DATA && tar->left == 0) ||
           (tar->state == IN_PAYLOAD && tar->need == 0) || tar->state == AT_END) {
        int event = advance(tar, err);
        if (event == -ENOMEM)
            return err_set(err, event, "tar: out of memory for a header");
        if (event != 0) /* TAR_MORE_IN is 0 too: data that belongs to no extent */
            return event;
    }
    if (tar->finished)
        return at_end_of_input(tar, err);
    return TAR_MORE_IN;
}

void tar_feed(struct tar *tar, const void *in, size_t len)
{
    tar->in = in;
    tar->in_len = len;
}

void tar_finish(struct tar *tar)
{
    tar->finished = true;
}

const struct tar_entry *tar_entry(const struct tar *tar)
{
    return &tar->header.entry;
}

void tar_data(const struct tar *tar, const void **out, size_t *out_len, uint64_t *out_file_off)
{
    *out = tar->piece;
    *out_len = tar->piece_len;
    *out_file_off = tar->piece_file_off;
}

int tar_new(struct tar **out)
{
    struct tar *tar = calloc(1, sizeof(*tar));

    if (!tar)
        return -ENOMEM;
    if (begin_run(tar) < 0) {
        free(tar);
        return -ENOMEM;
    }
    *out = tar;
    return 0;
}

void tar_free(struct tar *tar)
{
    if (!tar)
        return;
    tar_header_fini(&tar->header);
    free(tar->run);
    free(tar);
}
