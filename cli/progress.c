/* SPDX-License-Identifier: Apache-2.0 */
/* The library tells of layers in any order, several moving at a time; how far each is, is kept
 * here: a layer that moves has a bar, a finished one gets its line exactly once. The bars are
 * redrawn in place, never wider than the terminal and never more than fit, with one for all of
 * them below; they are wiped before any other line. */
#include "progress.h"

#include "say.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <uv.h>

#define BAR_WIDTH  24
#define LINE_WIDTH 120
#define BARS_MAX   8 /* of layers, at a time */

struct progress_layer {
    uint64_t done, total;
    bool finished;
};

static enum progress_mode mode_of(const char *how)
{
    if (!how || strcmp(how, "auto") == 0)
        return isatty(STDERR_FILENO) ? PROGRESS_BAR : PROGRESS_PLAIN;
    if (strcmp(how, "none") == 0)
        return PROGRESS_NONE;
    return strcmp(how, "json") == 0 ? PROGRESS_JSON : PROGRESS_PLAIN;
}

void progress_init(struct progress *progress, const char *how, bool quiet)
{
    *progress = (struct progress){
        .began_ns = uv_hrtime(),
        .mode = quiet ? PROGRESS_NONE : mode_of(how),
    };
}

void progress_fini(struct progress *progress)
{
    progress_clear(progress);
    free(progress->layers);
    progress->layers = NULL;
}

/* ---- bars */

void progress_clear(struct progress *progress)
{
    if (progress->n_lines > 0)
        fprintf(stderr, "\033[%uA\r\033[J", progress->n_lines);
    progress->n_lines = 0;
}

static void terminal_size(unsigned *out_width, unsigned *out_height)
{
    struct winsize size;
    bool known = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0;
    *out_width = known && size.ws_col ? size.ws_col : 80;
    *out_height = known && size.ws_row ? size.ws_row : 24;
}

static void draw_line(struct progress *progress, const char *line, unsigned width)
{
    fprintf(stderr, "%.*s\033[K\n", (int)width - 1, line);
    progress->n_lines++;
}

static char *format_bar(double part, char bar[BAR_WIDTH + 1])
{
    int full = part >= 1 ? BAR_WIDTH : (int)(part * BAR_WIDTH);
    memset(bar, '.', BAR_WIDTH);
    memset(bar, '#', (size_t)full);
    bar[BAR_WIDTH] = '\0';
    return bar;
}

static double part_of(uint64_t done, uint64_t total)
{
    return total ? (double)done / (double)total : 0;
}

static void draw_layer(struct progress *progress, unsigned i, unsigned width)
{
    const struct progress_layer *layer = &progress->layers[i];
    char line[LINE_WIDTH], bar[BAR_WIDTH + 1], done[SAY_SIZE_LEN], total[SAY_SIZE_LEN];
    double part = part_of(layer->done, layer->total);
    snprintf(line, sizeof(line), "layer %3u  [%s] %3.0f %%  %s of %s", i + 1, format_bar(part, bar),
             part * 100, say_size(layer->done, done), say_size(layer->total, total));
    draw_line(progress, line, width);
}

static void draw_total(struct progress *progress, const struct clip_index_progress *event,
                       unsigned width)
{
    char line[LINE_WIDTH], bar[BAR_WIDTH + 1], done[SAY_SIZE_LEN], total[SAY_SIZE_LEN];
    char rate[SAY_SIZE_LEN];
    double seconds = (double)(uv_hrtime() - progress->began_ns) / 1e9;
    double part = part_of(event->done, event->total);
    say_size(seconds > 0.1 ? (uint64_t)((double)event->done / seconds) : 0, rate);
    snprintf(line, sizeof(line), "all        [%s] %3.0f %%  %s of %s  %s/s  %u of %u layers",
             format_bar(part, bar), part * 100, say_size(event->done, done),
             say_size(event->total, total), rate, progress->n_finished, event->n_layers);
    draw_line(progress, line, width);
}

static void draw(struct progress *progress, const struct clip_index_progress *event)
{
    unsigned width, height, n = 0;
    terminal_size(&width, &height);
    unsigned room = height > 3 ? height - 3 : 0;
    progress_clear(progress);
    for (unsigned i = 0; i < progress->n_layers && n < BARS_MAX && n < room; i++) {
        if (progress->layers[i].done == 0 || progress->layers[i].finished)
            continue;
        draw_layer(progress, i, width);
        n++;
    }
    draw_total(progress, event, width);
}

/* ---- lines */

static void tell_layer(struct progress *progress, const struct clip_index_progress *event)
{
    char size[SAY_SIZE_LEN];
    if (progress->mode == PROGRESS_JSON)
        return;
    progress_clear(progress);
    fprintf(stderr, "layer %u of %u: %s\n", event->layer + 1, event->n_layers,
            say_size(event->layer_total, size));
}

static void tell_json(const struct clip_index_progress *event)
{
    static const char *const phases[] = {"resolve", "layers", "write"};
    json_t *line =
        json_pack("{s:s, s:i, s:i, s:I, s:I, s:I, s:I}", "phase", phases[event->phase], "layer",
                  (int)event->layer, "layers", (int)event->n_layers, "layer_done",
                  (json_int_t)event->layer_done, "layer_total", (json_int_t)event->layer_total,
                  "done", (json_int_t)event->done, "total", (json_int_t)event->total);
    if (line)
        json_dumpf(line, stderr, JSON_COMPACT | JSON_PRESERVE_ORDER);
    json_decref(line);
    fputc('\n', stderr);
}

static void note_layer(struct progress *progress, const struct clip_index_progress *event)
{
    if (!progress->layers && event->n_layers > 0) {
        progress->layers = calloc(event->n_layers, sizeof(progress->layers[0]));
        progress->n_layers = progress->layers ? event->n_layers : 0;
    }
    if (event->layer >= progress->n_layers)
        return;
    struct progress_layer *layer = &progress->layers[event->layer];
    layer->done = event->layer_done;
    layer->total = event->layer_total;
    if (layer->finished || layer->total == 0 || layer->done < layer->total)
        return;
    layer->finished = true;
    progress->n_finished++;
    tell_layer(progress, event);
}

void progress_event(void *data, const struct clip_index_progress *event)
{
    struct progress *progress = data;
    if (progress->mode == PROGRESS_NONE)
        return;
    if (progress->mode == PROGRESS_JSON)
        tell_json(event);
    if (event->phase == CLIP_INDEX_LAYERS)
        note_layer(progress, event);
    if (progress->mode == PROGRESS_BAR && event->total > 0)
        draw(progress, event);
}
