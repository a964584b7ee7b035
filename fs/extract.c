/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The happy path of an extraction is, phase by phase:
 * - PLAN: a pool job opens the directory and lists what has to be made (fs/extract_plan.h).
 * - DIRS, NODES: pool jobs make them, BATCH entries each.
 * - FILES: WRITERS files are under way at once, in the order of their bytes. A writer reads a
 *   piece (fs/read.h), and a pool job writes it; one job is enough for most files.
 * - LINKS, FACTS: pool jobs link further names and give directories their rights and times, the
 *   deepest first, so that nothing changes them afterwards.
 * Possible failure modes are: a read or a call that fails; the first one is kept and nothing new is
 * begun. What is there stays, but for the file that was not whole, and the sentence says so.
 * On close of the reader: the same with -ECANCELED.
 */
#include "engine/log.h"
#include "engine/work.h"
#include "fs/extract_write.h"
#include "fs/read.h"
#include "fs/reader.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BATCH   256u
#define WRITERS 8u

enum extract_phase {
    EXTRACT_PLAN,
    EXTRACT_DIRS,
    EXTRACT_NODES,
    EXTRACT_FILES,
    EXTRACT_LINKS,
    EXTRACT_FACTS,
    EXTRACT_END
};

struct extract;

struct writer {
    struct extract *extract;
    const struct plan_entry *entry; /* NULL: idle */
    struct read read;
    bool reading, writing;
    bool is_last; /* the piece ends the file */
    struct write_file file;
    struct work work;
    int status;
    struct clip_error err;
};

struct extract {
    struct reader_user user;
    struct clip_engine *engine;
    char *path;
    uint64_t root_ino;
    enum extract_phase phase;
    struct plan plan;
    struct write_root root;
    struct work work;
    bool working;
    size_t next; /* of the phase's entries */
    struct writer writers[WRITERS];
    unsigned n_busy;
    struct later later;
    clip_done_cb done;
    void *data;
    int job_status;
    struct clip_error job_err;
    int status; /* the first failure */
    struct clip_error err;
};

static void go_on(struct extract *x);

static void fail(struct extract *x, int status, const struct clip_error *err)
{
    if (x->status < 0)
        return;
    x->status = status;
    x->err = *err;
    for (unsigned i = 0; i < WRITERS; i++)
        if (x->writers[i].reading)
            read_cancel(&x->writers[i].read);
}

/* ---- the end */

static void end_now(struct later *later)
{
    struct extract *x = container_of(later, struct extract, later);
    clip_done_cb done = x->done;
    void *data = x->data;
    int status = x->status;
    struct clip_error err = x->err;

    if (status < 0 && x->root.fd >= 0)
        err_prefix(&err, "%s is not complete", x->path);
    if (status == 0 && x->root.n_left_out > 0)
        log_warn(x->engine, "extract: %u devices and attributes were left out: they need root",
                 x->root.n_left_out);
    if (x->root.fd >= 0)
        close(x->root.fd);
    plan_fini(&x->plan);
    free(x->path);
    reader_unuse(&x->user);
    free(x);
    done(data, status, status < 0 ? &err : NULL);
}

/* ---- files */

static void write_piece(struct writer *w)
{
    struct write_root *root = &w->extract->root;

    w->status = 0;
    if (w->file.fd < 0)
        w->status = write_file_begin(root, w->entry, &w->file, &w->err);
    if (w->status == 0)
        w->status =
            write_file_piece(root, w->entry, &w->file, w->read.pieces, w->read.n_pieces, &w->err);
    if (w->status == 0 && w->is_last)
        w->status = write_file_end(root, w->entry, &w->file, &w->err);
    if (w->status < 0)
        write_file_drop(root, w->entry, &w->file);
}

static void write_run(struct work *work)
{
    write_piece(container_of(work, struct writer, work));
}

static void drop_run(struct work *work)
{
    struct writer *w = container_of(work, struct writer, work);

    write_file_drop(&w->extract->root, w->entry, &w->file);
}

static void idle(struct writer *w)
{
    w->entry = NULL;
    w->extract->n_busy--;
}

static void drop_done(struct work *work, int status)
{
    struct writer *w = container_of(work, struct writer, work);
    struct extract *x = w->extract;

    (void)status; /* nobody cancels it */
    w->writing = false;
    idle(w);
    go_on(x);
}

/* The file will not be whole. */
static void give_up(struct writer *w)
{
    if (w->file.fd < 0) {
        idle(w);
        return;
    }
    w->writing = true;
    work_submit(w->extract->engine, &w->work, WORK_BULK, drop_run, drop_done);
}

static void read_next(struct writer *w);

static void write_done(struct work *work, int status)
{
    struct writer *w = container_of(work, struct writer, work);
    struct extract *x = w->extract;

    (void)status; /* nobody cancels it */
    w->writing = false;
    read_release(&w->read);
    if (w->status < 0) {
        fail(x, w->status, &w->err);
        idle(w);
    } else if (w->is_last) {
        idle(w);
    } else if (x->status < 0) {
        give_up(w);
    } else {
        read_next(w);
    }
    go_on(x);
}

static void take_piece(struct writer *w)
{
    if (w->extract->status < 0) {
        read_release(&w->read);
        give_up(w);
        return;
    }
    w->is_last = w->read.n_bytes < w->read.len;
    w->writing = true;
    work_submit(w->extract->engine, &w->work, WORK_BULK, write_run, write_done);
}

static void say_which(struct writer *w)
{
    char path[CLIP_ERROR_LEN / 2];

    err_prefix(&w->err, "%s", plan_path(&w->extract->plan, w->entry, path, sizeof(path)));
}

static void read_failed(struct writer *w, int status, const struct clip_error *err)
{
    if (err)
        w->err = *err;
    else
        err_set(&w->err, status, status == -ECANCELED ? "cancelled" : "it cannot be read");
    say_which(w);
    fail(w->extract, status, &w->err);
    give_up(w);
}

static void on_read(struct read *read, int status)
{
    struct writer *w = container_of(read, struct writer, read);
    struct extract *x = w->extract;

    w->reading = false;
    if (status < 0)
        read_failed(w, status, read->err);
    else
        take_piece(w);
    go_on(x);
}

/* One byte more than a piece of a file of READ_MAX would be a second read: the last one is that
 * which is not full. */
static void read_next(struct writer *w)
{
    int r;

    w->read.ino = w->entry->ino;
    w->read.off += w->read.len;
    w->read.len = READ_MAX;
    r = read_start(w->extract->user.reader, &w->read, on_read);
    if (r > 0)
        take_piece(w);
    else if (r < 0)
        read_failed(w, r, NULL);
    else
        w->reading = true;
}

static void begin_file(struct writer *w, const struct plan_entry *entry)
{
    w->entry = entry;
    w->file.fd = -1;
    w->read.off = w->read.len = 0;
    w->read.tells = true;
    w->extract->n_busy++;
    read_next(w);
}

static void start_writers(struct extract *x)
{
    for (unsigned i = 0; i < WRITERS; i++)
        while (x->status == 0 && !x->writers[i].entry && x->next < x->plan.files.n)
            begin_file(&x->writers[i], &x->plan.files.entries[x->next++]);
}

/* ---- what needs no reading: batches */

typedef int (*write_fn)(struct write_root *root, const struct plan_entry *entry,
                        struct clip_error *err);

static int write_batch(struct extract *x, const struct plan_list *list, write_fn write,
                       bool backwards)
{
    size_t end = x->next + BATCH < list->n ? x->next + BATCH : list->n;
    int r = 0;

    for (; r == 0 && x->next < end; x->next++)
        r = write(&x->root, &list->entries[backwards ? list->n - 1 - x->next : x->next],
                  &x->job_err);
    return r;
}

static int make_plan(struct extract *x)
{
    int r = plan_make(x->root.image, x->root_ino, &x->plan, &x->job_err);

    if (r < 0)
        return r;
    return write_root_open(x->path, &x->root.fd, &x->job_err);
}

static int run_phase(struct extract *x)
{
    switch (x->phase) {
    case EXTRACT_PLAN:
        return make_plan(x);
    case EXTRACT_DIRS:
        return write_batch(x, &x->plan.dirs, write_dir, false);
    case EXTRACT_NODES:
        return write_batch(x, &x->plan.nodes, write_node, false);
    case EXTRACT_LINKS:
        return write_batch(x, &x->plan.links, write_link, false);
    case EXTRACT_FACTS:
        if (x->next < x->plan.dirs.n)
            return write_batch(x, &x->plan.dirs, write_dir_facts, true);
        x->next++;
        return write_root_facts(&x->root, &x->job_err);
    default:
        return 0;
    }
}

static void batch_run(struct work *work)
{
    struct extract *x = container_of(work, struct extract, work);

    x->job_status = run_phase(x);
}

static size_t n_entries(const struct extract *x)
{
    switch (x->phase) {
    case EXTRACT_DIRS:
        return x->plan.dirs.n;
    case EXTRACT_NODES:
        return x->plan.nodes.n;
    case EXTRACT_FILES:
        return x->plan.files.n;
    case EXTRACT_LINKS:
        return x->plan.links.n;
    case EXTRACT_FACTS:
        return x->plan.dirs.n + 1; /* the root */
    default:
        return 0;
    }
}

static void batch_done(struct work *work, int status)
{
    struct extract *x = container_of(work, struct extract, work);

    (void)status; /* nobody cancels it */
    x->working = false;
    if (x->job_status < 0)
        fail(x, x->job_status, &x->job_err);
    go_on(x);
}

/* To be asked wherever a part ends: what is next? */
static void go_on(struct extract *x)
{
    if (x->working)
        return;
    if (x->phase == EXTRACT_FILES)
        start_writers(x);
    if (x->n_busy > 0)
        return;
    while (x->status == 0 && x->phase != EXTRACT_END && x->next == n_entries(x)) {
        x->phase++;
        x->next = 0;
    }
    if (x->status < 0 || x->phase == EXTRACT_END) {
        later_call(x->engine, &x->later, end_now);
    } else if (x->phase == EXTRACT_FILES) {
        go_on(x);
    } else {
        x->working = true;
        work_submit(x->engine, &x->work, WORK_BULK, batch_run, batch_done);
    }
}

/* ---- public */

static void stop(struct reader_user *user)
{
    struct extract *x = container_of(user, struct extract, user);
    struct clip_error err;

    err_set(&err, -ECANCELED, "cancelled");
    fail(x, -ECANCELED, &err);
}

int clip_reader_extract(struct clip_reader *reader, uint64_t ino, const char *dir,
                        clip_done_cb done, void *data)
{
    struct extract *x = calloc(1, sizeof(*x));
    int r = -ENOMEM;

    if (x)
        x->path = strdup(dir);
    if (!x || !x->path)
        goto fail;
    r = reader_use(reader, &x->user, stop);
    if (r < 0)
        goto fail;
    x->engine = reader->engine;
    x->root_ino = ino;
    x->root = (struct write_root){reader->image, &x->plan, -1, geteuid() == 0, 0};
    x->done = done;
    x->data = data;
    for (unsigned i = 0; i < WRITERS; i++)
        x->writers[i].extract = x;
    later_init(&x->later);
    x->working = true;
    work_submit(x->engine, &x->work, WORK_BULK, batch_run, batch_done);
    return 0;
fail:
    if (x)
        free(x->path);
    free(x);
    return r;
}
