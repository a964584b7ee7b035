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

#define DESCRIBING_MAX 64u         /* headers that describe one entry */
#define MAP_LEN_MAX    (32u << 20) /* bytes of one sparse map */

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

    uint8_t *run;
    size_t run_len, run_cap;
    struct tar_run where;
    struct tar_globals globals;
    uint64_t run_off;      /* in the layer */
    unsigned n_describing; /* headers of the run that describe the next one */
    size_t need;           /* bytes of the block or payload that are still to come */
    uint8_t flag;          /* type of the header whose payload comes */
    size_t payload, payload_len;
    size_t map_line;              /* GNU 1.0: where the line begins that is not whole yet */
    uint64_t map_lines, map_want; /* whole lines behind the first one; how many there have to be */
    bool map_counted;             /* the first line was there */

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
    tar->run_len = 0;
    tar->where = (struct tar_run){.globals = &tar->globals};
    tar->n_describing = 0;
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
    if ((uint64_t)size > TAR_META_MAX || tar->run_len > 4 * TAR_META_MAX ||
        ++tar->n_describing > DESCRIBING_MAX)
        return bad(tar, err, "metadata without end");
    tar->flag = flag;
    tar->payload = tar->run_len;
    tar->payload_len = (size_t)size;
    tar->need = (size_t)size + padding_of((uint64_t)size);
    tar->state = IN_PAYLOAD;
    return grow_run(tar, tar->need + TAR_BLOCK_LEN);
}

/* A g header says its part and leaves the run. */
static int keep_globals(struct tar *tar, struct clip_error *err)
{
    const uint8_t *records = tar->run + tar->payload;
    struct tar_pax pax;
    int r = tar_pax_read(records, tar->payload_len, &pax, err);

    if (r == 0)
        r = tar_globals_update(&tar->globals, records, &pax);
    if (r == -EBADMSG)
        return err_prefix(err, "tar: header at byte %" PRIu64, tar->run_off);
    tar->run_len = tar->payload - TAR_BLOCK_LEN;
    return r;
}

static int keep_pax(struct tar *tar, struct clip_error *err)
{
    int r = tar_pax_read(tar->run + tar->payload, tar->payload_len, &tar->where.own_pax, err);

    tar->where.pax = tar->payload;
    tar->where.pax_len = tar->payload_len;
    return r < 0 ? err_prefix(err, "tar: header at byte %" PRIu64, tar->run_off) : 0;
}

static int end_payload(struct tar *tar, struct clip_error *err)
{
    size_t len = tar->payload_len;
    int r = 0;

    switch (tar->flag) {
    case 'g':
        r = keep_globals(tar, err);
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
        r = keep_pax(tar, err);
        break;
    }
    return r < 0 ? r : want_block(tar, AT_HEADER);
}

/* ---- an entry's own header */

/* How many bytes of data follow the header in the archive. */
static int stored_size(struct tar *tar, uint64_t *out)
{
    const uint8_t *block = tar->run + tar->where.own;
    const uint8_t *value;
    size_t len;
    int64_t size;
    int r;

    /* links, devices and directories have no data, whatever their size says */
    if (block[156] >= '1' && block[156] <= '6') {
        *out = 0;
        return 0;
    }
    value = tar_run_value(&tar->where, PAX_SIZE, &len);
    r = value ? tar_pax_number(value, len, &size) : tar_number(block + 124, 12, &size);
    if (r < 0 || size < 0 || size > INT64_MAX / 2)
        return -EBADMSG;
    *out = (uint64_t)size;
    return 0;
}

static int tell_entry(struct tar *tar, struct clip_error *err)
{
    int r;

    tar->where.bytes = tar->run; /* it may have grown by a map */
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

/* Goes over the lines that the last block of the GNU 1.0 map ended: decimal numbers, first how many
 * pairs there are. */
static int read_map_lines(struct tar *tar)
{
    const uint8_t *newline;
    int64_t n;

    while ((newline = memchr(tar->run + tar->map_line, '\n', tar->run_len - tar->map_line))) {
        size_t len = (size_t)(newline - tar->run) - tar->map_line;
        if (tar_pax_number(tar->run + tar->map_line, len, &n) < 0 || n < 0)
            return -EBADMSG;
        tar->map_line += len + 1;
        if (tar->map_counted && ++tar->map_lines == tar->map_want)
            return 0; /* the rest of the block is padding */
        if (!tar->map_counted && n > TAR_SPARSE_MAX)
            return -EBADMSG;
        if (!tar->map_counted)
            tar->map_want = 2 * (uint64_t)n;
        tar->map_counted = true;
        if (tar->map_want == 0)
            return 0;
    }
    return tar->run_len - tar->map_line < TAR_BLOCK_LEN ? 0 : -EBADMSG;
}

static int on_map_block(struct tar *tar, struct clip_error *err)
{
    if (tar->run_len - tar->where.own > MAP_LEN_MAX || read_map_lines(tar) < 0)
        return bad(tar, err, "a sparse map that is none");
    if (tar->stored < TAR_BLOCK_LEN)
        return bad(tar, err, "a sparse map that is longer than its file");
    tar->stored -= TAR_BLOCK_LEN;
    if (!tar->map_counted || tar->map_lines < tar->map_want)
        return want_block(tar, AT_MAP);
    return tell_entry(tar, err);
}

static int begin_map(struct tar *tar)
{
    tar->map_line = tar->run_len;
    tar->map_lines = tar->map_want = 0;
    tar->map_counted = false;
    return want_block(tar, AT_MAP);
}

static bool has_map(const struct tar *tar)
{
    size_t len;
    const uint8_t *major = tar_run_value(&tar->where, PAX_SPARSE_MAJOR, &len);

    return tar->where.own_pax.sparse && major && len == 1 && *major == '1';
}

static int on_sparse_block(struct tar *tar, struct clip_error *err)
{
    const uint8_t *block = tar->run + tar->run_len - TAR_BLOCK_LEN;

    if (tar->run_len - tar->where.own > MAP_LEN_MAX)
        return bad(tar, err, "a sparse map without end");
    if (block[504]) /* isextended */
        return want_block(tar, AT_SPARSE);
    return tell_entry(tar, err);
}

static int skip_entry(struct tar *tar)
{
    tar->left = tar->stored + padding_of(tar->stored);
    tar->state = AT_PADDING;
    return 0;
}

static int on_entry_header(struct tar *tar, struct clip_error *err)
{
    const uint8_t *block;

    tar->where.bytes = tar->run;
    tar->where.own = tar->run_len - TAR_BLOCK_LEN;
    block = tar->run + tar->where.own;
    if (stored_size(tar, &tar->stored) < 0)
        return bad(tar, err, "a size that is not a number");
    if (block[156] == 'V') /* the label of a volume: not of the tree */
        return skip_entry(tar);
    if (block[156] == 'S' && block[482]) /* isextended */
        return want_block(tar, AT_SPARSE);
    if (has_map(tar))
        return begin_map(tar);
    return tell_entry(tar, err);
}

static int on_zero_block(struct tar *tar, struct clip_error *err)
{
    if (tar->run_len != TAR_BLOCK_LEN)
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
    bool between = tar->state == AT_END || (tar->state == AT_HEADER && tar->run_len == 0);

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
    tar_globals_fini(&tar->globals);
    free(tar->run);
    free(tar);
}
