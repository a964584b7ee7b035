/* SPDX-License-Identifier: Apache-2.0 */
/* Users and groups as an image's /etc/passwd and /etc/group name them. Pure: the files' bytes in,
 * numbers out; what is broken in a file is passed over. */
#ifndef CLIP_CLI_ACCOUNTS_H
#define CLIP_CLI_ACCOUNTS_H

#include <clip.h>

#define ACCOUNTS_GROUPS_MAX 64

struct account {
    uint32_t uid, gid;
    uint32_t groups[ACCOUNTS_GROUPS_MAX]; /* additional */
    unsigned n_groups;
    char home[1024]; /* "" if it is not known */
};

/* `user` is USER[:GROUP], each a name or a number, as an image's config has it; NULL or "": root.
 * `passwd` and `group` are NUL terminated, or NULL. -EINVAL with a sentence: no such name. */
int accounts_find(const char *user, const char *passwd, const char *group, struct account *out,
                  struct clip_error *err);

#endif
