/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a later clipd shall know: ROOT/state/ID.json, a file per container, each written whole or
 * not at all. All but state_text() blocks and belongs on the pool, or before there is a loop.
 */
#ifndef CLIP_CLI_STATE_H
#define CLIP_CLI_STATE_H

#include "spec.h"

struct log;

/* The text of a file, malloc'ed; and writing it (NULL: -ENOMEM). */
char *state_text(const char *id, int64_t created_s, const struct spec *spec);
int state_write(const char *root, const char *id, const char *text, struct clip_error *err);
void state_remove(const char *root, const char *id);

/* Takes `spec`. A broken file is set aside as ID.json.broken and logged. */
typedef int (*state_fn)(void *data, const char *id, struct spec *spec, int64_t created_s);
int state_read_all(const char *root, struct log *log, state_fn each, void *data);

/* Unmounts all that an earlier clipd left below `run`, dead or alive. How many it were. */
unsigned state_clear_mounts(const char *run, struct log *log);

/* DIR/NAME, if it is there. */
void state_unlink(const char *dir, const char *name);

#endif
