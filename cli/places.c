/* SPDX-License-Identifier: Apache-2.0 */
/* clipd works wherever it was started, and says in the state and over the socket where things are:
 * so every path is absolute from here on. */
#include "places.h"

#include "fetch.h"
#include "say.h"

#include <stdlib.h>

#define RUN_HELP                                                                                   \
    {                                                                                              \
        "run", 0, ARGS_TEXT, "DIR",                                                                \
            "where clipd's socket and the containers' roots are\n"                                 \
            "(default $CLIP_RUN_DIR, /run/clip)",                                                  \
            offsetof(struct places, run)                                                           \
    }

const struct args_option places_options[] = {
    {"root", 0, ARGS_TEXT, "DIR",
     "where indexes and state are kept (default\n$CLIP_BASE_DIR, /var/lib/clip)",
     offsetof(struct places, root)},
    RUN_HELP,
    {"cache-dir", 0, ARGS_TEXT, "DIR",
     "where decoded spans are kept (default\n$CLIP_CACHE_DIR, /var/cache/clip)",
     offsetof(struct places, cache_dir)},
    {NULL, 0, ARGS_FLAG, NULL, NULL, 0},
};

const struct args_option places_run_options[] = {
    RUN_HELP,
    {NULL, 0, ARGS_FLAG, NULL, NULL, 0},
};

static int fill(const char **path, const char *variable, const char *otherwise)
{
    const char *env = getenv(variable);
    if (!*path)
        *path = env && *env ? env : otherwise;
    *path = fetch_absolute_path(*path);
    if (!*path)
        say_error("out of memory, or the working directory is gone");
    return !*path;
}

int places_fill(struct places *places)
{
    int r = fill(&places->run, "CLIP_RUN_DIR", "/run/clip");
    if (r == 0)
        r = fill(&places->root, "CLIP_BASE_DIR", "/var/lib/clip");
    return r == 0 ? fill(&places->cache_dir, "CLIP_CACHE_DIR", "/var/cache/clip") : r;
}

void places_fini(struct places *places)
{
    free((char *)places->run);
    free((char *)places->root);
    free((char *)places->cache_dir);
    *places = (struct places){0};
}
