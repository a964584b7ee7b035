/* SPDX-License-Identifier: Apache-2.0 */
/* The directories that clipd and its clients agree on, by option, environment or default. */
#ifndef CLIP_CLI_PLACES_H
#define CLIP_CLI_PLACES_H

#include "args.h"

struct places {
    const char *root;      /* indexes and state: $CLIP_BASE_DIR, /var/lib/clip */
    const char *run;       /* the socket and the containers' roots: $CLIP_RUN_DIR, /run/clip */
    const char *cache_dir; /* decoded spans: $CLIP_CACHE_DIR, /var/cache/clip */
};

extern const struct args_option places_options[];     /* all three */
extern const struct args_option places_run_options[]; /* --run alone, for those who only ask */

/* Makes all of them absolute, and ours until places_fini(). 0, or 1 after a sentence. */
int places_fill(struct places *places);
void places_fini(struct places *places);

#endif
