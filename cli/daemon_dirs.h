/* SPDX-License-Identifier: Apache-2.0 */
/* What clipd needs before it has a loop. Each returns 0, or 1 after a sentence. */
#ifndef CLIP_CLI_DAEMON_DIRS_H
#define CLIP_CLI_DAEMON_DIRS_H

#include "log.h"

#include <stdint.h>

/* All that is missing of an absolute path; `mode` is the last one's. */
int dirs_make(const char *path, unsigned mode);
int dirs_make_below(const char *dir, const char *name, unsigned mode);

/* DIR/clipd.lock, until the descriptor is closed. */
int dirs_lock(const char *dir, int *out);

/* Removes files and empty directories that begin with `prefix`. */
void dirs_sweep(const char *dir, const char *prefix);

/* Directories of a container that an earlier clipd began and did not get to note down: they go if
 * nothing was written to them. */
void dirs_sweep_container(const char *run, const char *id);

/* As many open files as may be; how many that is. */
uint64_t dirs_raise_files(struct log *log);

#endif
