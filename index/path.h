/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Paths of an image: cleaning what an archive says, and stepping through components. Pure.
 */
#ifndef CLIP_INDEX_PATH_H
#define CLIP_INDEX_PATH_H

#include "engine/err.h"

#include <stdbool.h>
#include <stddef.h>

#define PATH_NAME_MAX   255u  /* bytes of a component, as on Linux */
#define PATH_TARGET_MAX 4095u /* bytes of a symlink's target, as on Linux */
#define PATH_LINKS_MAX  40u   /* symlinks followed in one walk, as on Linux */

/*
 * Makes "/a//./b/../c/" into "a/c": no empty, "." or ".." component is left, nor a slash at
 * either end; the root is "". `out` has room for strlen(path) + 1 bytes. Returns the length.
 * -ENAMETOOLONG: a component longer than PATH_NAME_MAX, or more than `depth_max` of them.
 * CLIP_EFORMAT: ".." leads out of the root (to something else than the root itself).
 */
int path_clean(const char *path, unsigned depth_max, char *out, struct clip_error *err);

/* One component after the other, as they are ("." and ".." too); empty ones are skipped. */
struct path_iter {
    const char *at, *end;
};

struct path_name {
    const char *bytes; /* not NUL terminated */
    size_t len;
};

bool path_next(struct path_iter *iter, struct path_name *out);
bool path_is_dot(const struct path_name *name);
bool path_is_dotdot(const struct path_name *name);
bool path_is(const struct path_name *name, const char *text);
bool path_begins(const struct path_name *name, const char *text);
bool path_ends(const struct path_name *name, const char *text); /* with something before that */

#endif
