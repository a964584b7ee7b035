/* SPDX-License-Identifier: Apache-2.0 */
/* How far an index is: a bar for each layer that moves on a terminal, a line per finished layer
 * elsewhere, or one JSON object per event for programs. All on stderr. */
#ifndef CLIP_CLI_PROGRESS_H
#define CLIP_CLI_PROGRESS_H

#include <clip.h>

struct progress_layer;

enum progress_mode { PROGRESS_NONE, PROGRESS_PLAIN, PROGRESS_BAR, PROGRESS_JSON };

struct progress {
    /* private */
    enum progress_mode mode;
    struct progress_layer *layers;
    unsigned n_layers, n_finished;
    uint64_t began_ns;
    unsigned n_lines; /* of bars, on the screen */
};

/* `how` is auto, plain, none, json or NULL (auto). */
void progress_init(struct progress *progress, const char *how, bool quiet);
void progress_fini(struct progress *progress);
/* A clip_progress_cb; `data` is the progress. */
void progress_event(void *data, const struct clip_index_progress *event);
/* Wipes the bars away, so that something else can be written. */
void progress_clear(struct progress *progress);

#endif
