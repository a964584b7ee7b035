/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The happy path of a build is:
 * - the source resolves the manifest; then go_on() keeps `jobs` layers in flight until all
 *   are through (index/build_layer.h does the work of one). Each that is through goes to the file
 *   (index/build_file.h), which merges it.
 * - the file is saved when all are there, and tells the result.
 * Possible failure modes are: the image cannot be resolved, a layer fails (its sentence names the
 * layer), the tree or the file cannot be made. The first failure is kept, the other layers are
 * cancelled, and `done` fires when the last of them has ended. The writer leaves nothing behind.
 * On cancel, and when the engine closes: the same with -ECANCELED. A save that has begun ends
 * first; if it succeeded before the cancel came, the build has succeeded.
 */
#include "index/build.h"

#include "engine/log.h"
#include "engine/slab.h"
#include "index/build_file.h"
#include "index/build_layer.h"
#include "index/writer_file.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define PROGRESS_EVERY_NS 100000000ull

enum slot_state { SLOT_WAITS, SLOT_RUNS, SLOT_DONE };

/* A layer of the image, waiting for its turn, on its way, or done. */
struct slot {
    struct clip_index *index;
    enum slot_state state;
    struct build_layer *running;
    struct layer_sink *sink;
    struct layer *layer;
    uint64_t done; /* compressed bytes */
    uint64_t told_ns;
};

struct clip_index {
    struct engine_child child;
    struct clip_engine *engine;
    struct clip_index_options options; /* strings below are ours */
    char *output, *store_ref;
    clip_index_cb done;
    void *data;
    const struct build_sink *sink; /* NULL: none */

    struct source *source;
    struct source_resolve resolve;
    bool resolving;
    struct manifest *manifest;
    struct slot *slots;
    unsigned n_running, n_done;
    uint64_t total; /* compressed bytes of all layers */

    struct build_file *file; /* NULL: not begun, or through */
    bool saving;
    struct clip_index_result result;

    bool closing_source;
    struct later later;
    int status;
    struct clip_error err;
};

static void go_on(struct clip_index *index);

static void fail(struct clip_index *index, int status, const struct clip_error *err)
{
    if (index->status == 0) {
        index->status = status;
        index->err = *err;
    }
    if (index->resolving)
        source_resolve_cancel(&index->resolve);
    for (unsigned i = 0; index->slots && i < index->manifest->n_layers; i++)
        if (index->slots[i].state == SLOT_RUNS)
            build_layer_cancel(index->slots[i].running);
    if (index->file)
        build_file_cancel(index->file);
}

/* ---- the end */

static void build_free(struct clip_index *index)
{
    for (unsigned i = 0; index->slots && i < index->manifest->n_layers; i++)
        layer_free(index->slots[i].layer);
    free(index->slots);
    manifest_free(index->manifest);
    free(index->output);
    free(index->store_ref);
    free(index);
}

static void on_source_closed(void *data)
{
    struct clip_index *index = data;
    struct clip_index_result result = index->result;
    struct clip_error err = index->err;
    clip_index_cb done = index->done;
    int status = index->status;
    void *done_data = index->data;

    later_cancel(&index->later);
    engine_remove(index->engine, &index->child);
    build_free(index);
    done(done_data, status, status < 0 ? &err : NULL, status < 0 ? NULL : &result);
}

static void end(struct clip_index *index)
{
    if (index->closing_source)
        return;
    index->closing_source = true;
    source_close(index->source, on_source_closed, index);
}

/* ---- the file */

static void on_file_end(void *owner, int status, const struct clip_error *err,
                        const struct clip_index_result *result)
{
    struct clip_index *index = owner;

    index->file = NULL;
    if (status < 0)
        fail(index, status, err);
    else
        index->result = *result;
    go_on(index);
}

static int open_file(struct clip_index *index)
{
    const struct build_file_options options = {
        .engine = index->engine,
        .manifest = index->manifest,
        .path = index->output,
        .reference = index->store_ref ? index->store_ref : index->manifest->reference,
        .span_size = index->options.span_size,
        .keep_runtime_dirs = index->options.keep_runtime_dirs,
        .on_end = on_file_end,
        .owner = index,
    };

    return build_file_open(&options, &index->file, &index->err);
}

static void tell_phase(struct clip_index *index, enum clip_index_phase phase)
{
    struct clip_index_progress progress = {
        .phase = phase,
        .n_layers = index->manifest ? index->manifest->n_layers : 0,
        .done = phase == CLIP_INDEX_WRITE ? index->total : 0,
        .total = index->total,
    };

    if (index->options.on_progress)
        index->options.on_progress(index->options.progress_data, &progress);
}

static void start_save(struct clip_index *index)
{
    tell_phase(index, CLIP_INDEX_WRITE);
    slab_trim(index->engine); /* from here on memory is for the tree */
    index->saving = true;
    build_file_save(index->file);
}

/* ---- layers */

static void begin_sink(struct slot *slot)
{
    const struct build_sink *sink = slot->index->sink;

    if (sink)
        slot->sink = sink->begin(sink->owner, (unsigned)(slot - slot->index->slots));
}

/* `layer` NULL: it failed. */
static void end_sink(struct slot *slot, struct layer *layer)
{
    const struct build_sink *sink = slot->index->sink;

    if (slot->sink)
        sink->end(sink->owner, slot->sink, layer ? layer_result(layer) : NULL);
    slot->sink = NULL;
}

static void tell_layer(struct slot *slot)
{
    struct clip_index *index = slot->index;
    struct clip_index_progress progress = {
        .phase = CLIP_INDEX_LAYERS,
        .layer = (unsigned)(slot - index->slots),
        .n_layers = index->manifest->n_layers,
        .layer_done = slot->done,
        .layer_total = index->manifest->layers[slot - index->slots].size,
        .total = index->total,
    };

    slot->told_ns = engine_now_ns();
    for (unsigned i = 0; i < index->manifest->n_layers; i++)
        progress.done += index->slots[i].done;
    if (index->options.on_progress)
        index->options.on_progress(index->options.progress_data, &progress);
}

static void on_layer_progress(void *owner, uint64_t done)
{
    struct slot *slot = owner;

    slot->done = done;
    if (engine_now_ns() - slot->told_ns >= PROGRESS_EVERY_NS)
        tell_layer(slot);
}

static void say_which_layer(const struct slot *slot, struct clip_error *err)
{
    const struct manifest *manifest = slot->index->manifest;
    unsigned i = (unsigned)(slot - slot->index->slots);
    char digest[DIGEST_TEXT_LEN + 1];

    err_prefix(err, "layer %u of %u (%s)", i + 1, manifest->n_layers,
               digest_format(&manifest->layers[i].digest, digest));
}

static void on_layer_end(void *owner, int status, const struct clip_error *err, struct layer *layer)
{
    struct slot *slot = owner;
    struct clip_index *index = slot->index;

    slot->state = SLOT_DONE;
    slot->running = NULL;
    slot->layer = layer;
    end_sink(slot, layer);
    index->n_running--;
    index->n_done++;
    if (status < 0) {
        struct clip_error which = *err;
        say_which_layer(slot, &which);
        fail(index, status, &which);
    } else {
        if (index->file)
            build_file_add(index->file, (unsigned)(slot - index->slots), layer);
        tell_layer(slot);
        log_debug(index->engine, "layer %u: decoded", (unsigned)(slot - index->slots) + 1);
    }
    go_on(index);
}

static int start_layer(struct slot *slot)
{
    struct clip_index *index = slot->index;
    unsigned i = (unsigned)(slot - index->slots);
    struct build_layer_options options = {
        .source = index->source,
        .blob = &index->manifest->layers[i],
        .diff_id = &index->manifest->diff_ids[i],
        .span_size = index->options.span_size,
        .on_progress = on_layer_progress,
        .on_end = on_layer_end,
        .owner = slot,
    };
    struct clip_error err;
    int r;

    begin_sink(slot);
    options.sink = slot->sink;
    r = build_layer_open(&options, &slot->running, &err);
    if (r < 0) {
        end_sink(slot, NULL);
        say_which_layer(slot, &err);
        fail(index, r, &err);
        return r;
    }
    slot->state = SLOT_RUNS;
    index->n_running++;
    return 0;
}

/* The largest that waits: it decides when we are through. */
static struct slot *next_slot(struct clip_index *index)
{
    const struct descriptor *layers = index->manifest->layers;
    struct slot *best = NULL;

    for (unsigned i = 0; i < index->manifest->n_layers; i++) {
        struct slot *slot = &index->slots[i];
        if (slot->state == SLOT_WAITS &&
            (!best || layers[i].size > layers[best - index->slots].size))
            best = slot;
    }
    return best;
}

static uint64_t left_of(const struct slot *slot)
{
    uint64_t size = slot->index->manifest->layers[slot - slot->index->slots].size;

    return slot->state == SLOT_DONE || slot->done > size ? 0 : size - slot->done;
}

/* A layer that is more than half of what is left decides when we are through: its stages keep more
 * than one core busy, so only one other goes beside it. */
static bool is_beside_a_large_one(const struct clip_index *index)
{
    uint64_t left = 0, most = 0;

    for (unsigned i = 0; i < index->manifest->n_layers; i++) {
        uint64_t mine = left_of(&index->slots[i]);

        left += mine;
        if (index->slots[i].state == SLOT_RUNS && mine > most)
            most = mine;
    }
    return most > left / 2;
}

static bool may_start_another(const struct clip_index *index)
{
    return index->n_running < index->options.jobs &&
           (index->n_running < 2 || !is_beside_a_large_one(index));
}

/* To be asked wherever a part ends: what is next? */
static void go_on(struct clip_index *index)
{
    struct slot *slot;

    if (index->resolving || index->closing_source)
        return;
    if (index->saving) {
        if (!index->file)
            end(index);
        return;
    }
    if (index->sink && index->sink->is_busy(index->sink->owner))
        return;
    while (index->status == 0 && may_start_another(index) && (slot = next_slot(index)))
        start_layer(slot);
    if (index->n_running > 0)
        return;
    if (index->status == 0)
        start_save(index);
    else if (!index->file)
        end(index);
}

static int prepare_slots(struct clip_index *index)
{
    const struct manifest *manifest = index->manifest;

    index->slots = calloc(manifest->n_layers ? manifest->n_layers : 1, sizeof(index->slots[0]));
    if (!index->slots)
        return err_set(&index->err, -ENOMEM, "out of memory for %u layers", manifest->n_layers);
    for (unsigned i = 0; i < manifest->n_layers; i++) {
        index->slots[i].index = index;
        index->total += manifest->layers[i].size; /* manifest.c has checked that this fits */
    }
    return 0;
}

static void on_resolved(struct source_resolve *req, int status)
{
    struct clip_index *index = container_of(req, struct clip_index, resolve);

    index->resolving = false;
    if (status < 0) {
        fail(index, status, &req->err);
    } else {
        index->manifest = req->manifest;
        if (index->status == 0)
            index->status = prepare_slots(index);
        if (index->status == 0)
            index->status = open_file(index);
    }
    if (index->status == 0)
        tell_phase(index, CLIP_INDEX_LAYERS);
    go_on(index);
}

/* ---- public */

static void cancel_later(struct later *later)
{
    go_on(container_of(later, struct clip_index, later));
}

void clip_index_cancel(struct clip_index *index)
{
    struct clip_error err;

    if (index->closing_source || index->saving)
        return;
    err_set(&err, -ECANCELED, "cancelled");
    fail(index, -ECANCELED, &err);
    later_call(index->engine, &index->later, cancel_later);
}

static void on_engine_close(struct engine_child *child)
{
    clip_index_cancel(container_of(child, struct clip_index, child));
}

static int check_options(const struct clip_index_options *options, struct clip_error *err)
{
    if (!options->image || !options->output)
        return err_set(err, -EINVAL, "an image and an output file are needed");
    if (options->span_size != 0 &&
        (options->span_size < BUILD_SPAN_MIN || options->span_size > BUILD_SPAN_MAX))
        return err_set(err, -EINVAL, "span size %" PRIu64 " is not between 64 KiB and 64 MiB",
                       options->span_size);
    if (options->jobs > BUILD_JOBS_MAX)
        return err_set(err, -EINVAL, "%u jobs are more than %u", options->jobs, BUILD_JOBS_MAX);
    return 0;
}

static int copy_options(struct clip_index *index, const struct clip_index_options *options)
{
    index->options = *options;
    if (options->span_size == 0)
        index->options.span_size = BUILD_SPAN_DEFAULT;
    if (options->jobs == 0)
        index->options.jobs = BUILD_JOBS_DEFAULT;
    index->output = strdup(options->output);
    index->store_ref = options->store_ref ? strdup(options->store_ref) : NULL;
    return index->output && (index->store_ref || !options->store_ref) ? 0 : -ENOMEM;
}

void build_go_on(struct clip_index *index)
{
    go_on(index);
}

int build_start(struct clip_engine *engine, const struct clip_index_options *options,
                const struct build_sink *sink, clip_index_cb done, void *data,
                struct clip_index **out, struct clip_error *err)
{
    struct clip_index *index;
    int r;

    r = check_options(options, err);
    if (r == 0)
        r = writer_file_check(options->output, err);
    if (r < 0)
        return r;
    index = calloc(1, sizeof(*index));
    if (!index || copy_options(index, options) < 0) {
        r = err_set(err, -ENOMEM, "out of memory");
        goto fail;
    }
    index->engine = engine;
    index->done = done;
    index->data = data;
    index->sink = sink;
    later_init(&index->later);
    r = source_open(engine, options->image, &options->source, &index->source, err);
    if (r < 0)
        goto fail;
    r = engine_add(engine, &index->child, ENGINE_USER, NULL, on_engine_close);
    if (r < 0) {
        err_set(err, r, "the engine is closing");
        source_close(index->source, NULL, NULL);
        goto fail;
    }
    index->resolving = true;
    source_resolve(index->source, &index->resolve, on_resolved);
    *out = index;
    return 0;
fail:
    if (index)
        build_free(index);
    return r;
}
