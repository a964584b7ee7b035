/* SPDX-License-Identifier: Apache-2.0 */
/* The happy path of clip cat is:
 * - ask() keeps two pieces of 1 MiB in flight; on_read() marks one as there;
 * - write_next() writes the piece whose turn it is, on the pool, because a pipe may be slow;
 * - on_written() gives the piece back to ask(), until the file's size is written.
 * Possible failure modes are: a read fails (the library says why), stdout is full or gone, or the
 * file ends before its size. The first one ends the command, when what is in flight is back.
 * SIGINT kills as usual: there is nothing to clean up. */
#include "command.h"
#include "facts.h"
#include "host.h"
#include "say.h"
#include "source.h"
#include "verb.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PIECE_LEN (1024 * 1024)
#define N_PIECES  2

struct cat_args {
    struct reading reading;
    struct source source;
    struct log log;
};

struct cat;

struct piece {
    struct cat *cat;
    char *buf;
    uint64_t off;
    size_t len, written;
    enum { PIECE_FREE, PIECE_READING, PIECE_READ } state;
};

struct cat {
    struct host host;
    struct clip_reader *reader;
    const char *path;
    uint64_t ino, size;
    uint64_t asked, written; /* offsets */
    struct piece pieces[N_PIECES];
    uv_fs_t write;
    bool writing, failed, done;
};

static void go_on(struct cat *cat);

static void fail(struct cat *cat, const char *why)
{
    if (!cat->failed && why)
        say_error("cannot read %s: %s", cat->path, why);
    cat->failed = true;
}

static size_t piece_want(const struct cat *cat, uint64_t off)
{
    uint64_t left = cat->size - off;
    return left < PIECE_LEN ? (size_t)left : PIECE_LEN;
}

static void on_read(void *data, int status, const struct clip_error *err)
{
    struct piece *piece = data;
    struct cat *cat = piece->cat;
    piece->state = PIECE_READ;
    if (status < 0)
        fail(cat, err->message);
    else if ((size_t)status != piece->len)
        fail(cat, "the file is shorter than the index says");
    go_on(cat);
}

static void ask(struct cat *cat, struct piece *piece)
{
    piece->off = cat->asked;
    piece->len = piece_want(cat, cat->asked);
    piece->written = 0;
    int r =
        clip_reader_read(cat->reader, cat->ino, piece->off, piece->buf, piece->len, on_read, piece);
    if (r < 0) {
        fail(cat, strerror(-r));
        return;
    }
    piece->state = PIECE_READING;
    cat->asked += piece->len;
}

static void on_written(uv_fs_t *req)
{
    struct piece *piece = req->data;
    struct cat *cat = piece->cat;
    ssize_t n = req->result;
    uv_fs_req_cleanup(req);
    cat->writing = false;
    if (n < 0) {
        if (n != UV_EPIPE)
            say_error("cannot write the output: %s", uv_strerror((int)n));
        cat->failed = true;
    } else {
        piece->written += (size_t)n;
        cat->written += (uint64_t)n;
    }
    if (piece->written == piece->len)
        piece->state = PIECE_FREE;
    go_on(cat);
}

static void write_piece(struct cat *cat, struct piece *piece)
{
    uv_buf_t buf =
        uv_buf_init(piece->buf + piece->written, (unsigned)(piece->len - piece->written));
    cat->write.data = piece;
    cat->writing = true;
    uv_fs_write(&cat->host.loop, &cat->write, STDOUT_FILENO, &buf, 1, -1, on_written);
}

static void write_next(struct cat *cat)
{
    for (int i = 0; i < N_PIECES && !cat->writing; i++) {
        struct piece *piece = &cat->pieces[i];
        if (piece->state == PIECE_READ && piece->off + piece->written == cat->written)
            write_piece(cat, piece);
    }
}

static bool is_idle(const struct cat *cat)
{
    for (int i = 0; i < N_PIECES; i++) {
        if (cat->pieces[i].state == PIECE_READING)
            return false;
    }
    return !cat->writing;
}

static void go_on(struct cat *cat)
{
    for (int i = 0; i < N_PIECES; i++) {
        if (cat->pieces[i].state == PIECE_FREE && !cat->failed && cat->asked < cat->size)
            ask(cat, &cat->pieces[i]);
    }
    if (!cat->failed)
        write_next(cat);
    cat->done = is_idle(cat) && (cat->failed || cat->written == cat->size);
}

static int stream(struct cat *cat)
{
    for (int i = 0; i < N_PIECES; i++) {
        cat->pieces[i].cat = cat;
        cat->pieces[i].buf = malloc(PIECE_LEN);
        if (!cat->pieces[i].buf)
            fail(cat, strerror(ENOMEM));
    }
    go_on(cat);
    host_run(&cat->host, &cat->done);
    for (int i = 0; i < N_PIECES; i++)
        free(cat->pieces[i].buf);
    return cat->failed;
}

static int run_reader(struct cat *cat, struct clip_image *image, const struct cat_args *fields)
{
    struct clip_error err;
    struct clip_reader_options options = source_reader(&fields->source, &fields->reading);
    int r = clip_reader_open(cat->host.engine, image, &options, &cat->reader, &err);
    if (r < 0) {
        say_error("%s", err.message);
        return 1;
    }
    return stream(cat);
}

static int run_image(struct cat_args *fields, struct clip_image *image, const char *path,
                     uint64_t ino)
{
    struct clip_stat st;
    struct cat cat = {.path = path, .ino = ino};
    int r = clip_image_stat(image, ino, &st);
    if (r < 0 || !S_ISREG(st.mode)) {
        say_error("%s is a %s, not a regular file", path, facts_type(st.mode));
        return 1;
    }
    cat.size = st.size;
    r = host_open(&cat.host, &fields->log, NULL);
    if (r != 0)
        return r;
    r = run_reader(&cat, image, fields);
    host_close(&cat.host);
    return r;
}

static int cat_file(const struct args *args, void *fields)
{
    struct clip_image *image;
    uint64_t ino;
    int r = facts_open(args->operand[0], args->operand[1], true, &image, &ino);
    if (r != 0)
        return r;
    r = run_image(fields, image, args->operand[1], ino);
    clip_image_unref(image);
    return r;
}

int cat_run(int argc, char **argv)
{
    struct cat_args fields = {0};
    struct args args = {
        .program = "clip",
        .verb = "cat",
        .operands = "FILE.clip PATH",
        .about =
            "Writes a file of the image to stdout; only the spans that it lies in are fetched.",
        .min_operands = 2,
        .max_operands = 2,
        .groups = {{"Reading", reading_options, &fields.reading},
                   {"Registry", source_options, &fields.source},
                   {"Talk", log_options, &fields.log}},
    };
    struct command command = {
        .args = &args, .log = &fields.log, .work = cat_file, .fields = &fields};
    return command_run(&command, argc, argv);
}
