/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The happy path of a file is:
 * - a layer comes: if those below it are merged, a job merges it and all above it that are there;
 *   the job that merges the uppermost numbers the nodes, too.
 * - build_file_save(), when that is done: two jobs write the sections, and when both are through
 *   one puts the file on the disk.
 * Possible failure modes are: the tree cannot be made, the sections cannot, the disk's. The first
 * is kept, and on_end fires when the last job has ended. Nothing is left behind.
 * On cancel: likewise, with -ECANCELED.
 */
#include "index/build_file.h"

#include "engine/work.h"
#include "index/writer_file.h"

#include <assert.h>
#include <stdlib.h>

/* A job, and what became of it. */
struct step {
    struct build_file *file;
    struct work work;
    int (*run)(struct build_file *file, struct clip_error *err);
    int status;
    struct clip_error err;
};

enum file_state { FILE_MERGES, FILE_ENCODES, FILE_SAVES };

struct build_file {
    struct build_file_options options;
    enum file_state state;
    struct layer **layers; /* NULL: not there yet */
    unsigned n_ready;      /* so many are there without a gap, from the lowest */
    bool saving;           /* build_file_save() was called */

    struct step step, beside;
    unsigned n_running; /* of these two */

    /* the running job's */
    struct tree_builder *builder;
    unsigned n_merged, n_to_merge;
    struct tree *tree; /* NULL: not made yet */
    struct writer_layer *results;
    struct writer_image image;
    struct writer writer;
    uint64_t size;

    struct later later;
    int status;
    struct clip_error err;
};

static void go_on(struct build_file *file);

/* ---- jobs */

static int merge(struct build_file *file, struct clip_error *err)
{
    int r = 0;

    while (r == 0 && file->n_merged < file->n_to_merge)
        r = tree_builder_add(file->builder, layer_tree(file->layers[file->n_merged++]), err);
    if (r < 0 || file->n_merged < file->options.manifest->n_layers)
        return r;
    return tree_builder_end(file->builder, &file->tree, err);
}

static int put_nodes(struct build_file *file, struct clip_error *err)
{
    return writer_put_nodes(&file->writer, err);
}

static int put_digests(struct build_file *file, struct clip_error *err)
{
    return writer_put_digests(&file->writer, err);
}

static int save(struct build_file *file, struct clip_error *err)
{
    int r = writer_end(&file->writer, err);

    return r < 0 ? r : writer_file_save(&file->writer, file->options.path, &file->size, err);
}

static void step_run(struct work *work)
{
    struct step *step = container_of(work, struct step, work);

    step->status = step->run(step->file, &step->err);
}

static void step_done(struct work *work, int status)
{
    struct step *step = container_of(work, struct step, work);
    struct build_file *file = step->file;

    if (status < 0)
        step->status = err_set(&step->err, status, "cancelled");
    if (step->status < 0 && file->status == 0) {
        file->status = step->status;
        file->err = step->err;
    }
    file->n_running--;
    go_on(file);
}

static void start(struct step *step, int (*run)(struct build_file *file, struct clip_error *err))
{
    step->run = run;
    step->file->n_running++;
    work_submit(step->file->options.engine, &step->work, WORK_BULK, step_run, step_done);
}

/* ---- the order of them */

static void set_image(struct build_file *file)
{
    const struct manifest *manifest = file->options.manifest;

    for (unsigned i = 0; i < manifest->n_layers; i++)
        file->results[i] = *layer_result(file->layers[i]);
    file->image = (struct writer_image){
        .reference = file->options.reference,
        .manifest_digest = manifest->digest,
        .manifest_media_type = manifest->media_type,
        .platform = manifest->platform,
        .config = manifest->config,
        .config_len = manifest->config_len,
        .span_size = file->options.span_size,
        .keep_runtime_dirs = file->options.keep_runtime_dirs,
        .layers = file->results,
        .n_layers = manifest->n_layers,
        .tree = file->tree,
    };
}

static void start_merge(struct build_file *file)
{
    file->n_to_merge = file->n_ready;
    start(&file->step, merge);
}

static void start_halves(struct build_file *file)
{
    set_image(file);
    writer_init(&file->writer, &file->image);
    file->state = FILE_ENCODES;
    start(&file->step, put_nodes);
    start(&file->beside, put_digests);
}

static void start_save(struct build_file *file)
{
    file->state = FILE_SAVES;
    start(&file->step, save);
}

static void count_result(const struct build_file *file, struct clip_index_result *result)
{
    *result = (struct clip_index_result){
        .n_entries = file->writer.facts.n_entries,
        .n_files = file->writer.facts.n_files, /* one with many names is one */
        .n_layers = file->options.manifest->n_layers,
        .index_size = file->size,
    };
    for (unsigned i = 0; i < file->options.manifest->n_layers; i++) {
        result->n_checkpoints += file->results[i].n_spans;
        result->compressed_size += file->results[i].size;
        result->uncompressed_size += file->results[i].uncompressed_size;
    }
}

static void file_free(struct build_file *file)
{
    writer_fini(&file->writer);
    tree_builder_free(file->builder);
    tree_free(file->tree);
    free(file->layers);
    free(file->results);
    free(file);
}

static void end(struct build_file *file)
{
    const struct build_file_options options = file->options;
    struct clip_error err = file->err;
    struct clip_index_result result;
    int status = file->status;

    count_result(file, &result);
    later_cancel(&file->later);
    file_free(file);
    options.on_end(options.owner, status, status < 0 ? &err : NULL, status < 0 ? NULL : &result);
}

/* To be asked wherever a part ends: what is next? */
static void go_on(struct build_file *file)
{
    if (file->n_running > 0)
        return;
    if (file->status < 0 || file->state == FILE_SAVES)
        end(file);
    else if (file->n_merged < file->n_ready || (file->saving && !file->tree))
        start_merge(file);
    else if (file->saving && file->state == FILE_MERGES)
        start_halves(file);
    else if (file->state == FILE_ENCODES)
        start_save(file);
}

static void go_on_later(struct later *later)
{
    go_on(container_of(later, struct build_file, later));
}

/* ---- public */

void build_file_add(struct build_file *file, unsigned i, struct layer *layer)
{
    assert(i < file->options.manifest->n_layers && !file->layers[i]);
    file->layers[i] = layer;
    while (file->n_ready < file->options.manifest->n_layers && file->layers[file->n_ready])
        file->n_ready++;
    later_call(file->options.engine, &file->later, go_on_later);
}

void build_file_save(struct build_file *file)
{
    assert(file->n_ready == file->options.manifest->n_layers && !file->saving);
    file->saving = true;
    later_call(file->options.engine, &file->later, go_on_later);
}

void build_file_cancel(struct build_file *file)
{
    assert(!file->saving);
    if (file->status == 0)
        file->status = err_set(&file->err, -ECANCELED, "cancelled");
    later_call(file->options.engine, &file->later, go_on_later);
}

int build_file_open(const struct build_file_options *options, struct build_file **out,
                    struct clip_error *err)
{
    const struct tree_options tree_options = {.keep_runtime_dirs = options->keep_runtime_dirs};
    size_t n = options->manifest->n_layers ? options->manifest->n_layers : 1;
    struct build_file *file = calloc(1, sizeof(*file));

    if (!file)
        goto no_memory;
    file->options = *options;
    file->step.file = file->beside.file = file;
    later_init(&file->later);
    file->layers = calloc(n, sizeof(file->layers[0]));
    file->results = calloc(n, sizeof(file->results[0]));
    if (!file->layers || !file->results || tree_builder_new(&tree_options, &file->builder) < 0) {
        file_free(file);
        goto no_memory;
    }
    *out = file;
    return 0;
no_memory:
    return err_set(err, -ENOMEM, "out of memory for %zu layers", n);
}
