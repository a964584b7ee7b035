/* SPDX-License-Identifier: Apache-2.0 */
/* A clipd for commands that find none. */
#ifndef CLIP_CLI_SERVE_H
#define CLIP_CLI_SERVE_H

#include "places.h"

/* Forks one that ends when it is idle for so many seconds; to be called before there is a loop.
 * 0 when it serves, or 1 after a sentence. Does not return in the child. */
int serve_in_background(const struct places *places, unsigned exit_idle);

#endif
