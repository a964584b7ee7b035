/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Directories in directories are moved up under the top, then emptied there: so no depth costs
 * memory or descriptors, and no path is longer than a name. Ends because every step removes an
 * entry or brings one nearer to the top, and nobody adds any.
 */
#include "fs/remove.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct removal {
    int top;
    uint64_t n_moved;
};

static bool is_dots(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

/* 0: gone. -ENOTEMPTY: a directory that has to be emptied. */
static int remove_one(int dir, const char *name)
{
    int r = unlinkat(dir, name, 0);

    if (r < 0 && (errno == EISDIR || errno == EPERM))
        r = unlinkat(dir, name, AT_REMOVEDIR);
    if (r == 0 || errno == ENOENT)
        return 0;
    return errno == EEXIST ? -ENOTEMPTY : -errno;
}

static int move_up(struct removal *removal, int dir, const char *name)
{
    char moved[40];

    for (;;) {
        snprintf(moved, sizeof(moved), "clip-removes-%" PRIu64, removal->n_moved++);
        if (renameat2(dir, name, removal->top, moved, RENAME_NOREPLACE) == 0)
            return 0;
        if (errno != EEXIST)
            return -errno;
    }
}

static int open_dir(int dir, const char *name, DIR **out)
{
    int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

    if (fd < 0)
        return -errno;
    *out = fdopendir(fd);
    if (*out)
        return 0;
    close(fd);
    return -ENOMEM;
}

/* What is no directory, or an empty one, goes; the rest is moved up. */
static int empty(struct removal *removal, const char *name)
{
    const struct dirent *entry;
    DIR *dir = NULL;
    int r = open_dir(removal->top, name, &dir);

    if (r < 0)
        return r;
    while (r == 0 && (entry = readdir(dir))) {
        if (is_dots(entry->d_name))
            continue;
        r = remove_one(dirfd(dir), entry->d_name);
        if (r == -ENOTEMPTY)
            r = move_up(removal, dirfd(dir), entry->d_name);
    }
    closedir(dir);
    return r;
}

/* One pass over the top; true in `again` if there may be more. */
static int sweep(struct removal *removal, DIR *top, bool *again)
{
    const struct dirent *entry;
    int r = 0;

    *again = false;
    rewinddir(top);
    while (r == 0 && (entry = readdir(top))) {
        if (is_dots(entry->d_name))
            continue;
        *again = true;
        r = remove_one(removal->top, entry->d_name);
        if (r == -ENOTEMPTY)
            r = empty(removal, entry->d_name);
    }
    return r;
}

int remove_tree(const char *path, struct clip_error *err)
{
    struct removal removal = {.n_moved = 0};
    bool again = true;
    DIR *top = NULL;
    int r = open_dir(AT_FDCWD, path, &top);

    if (r == -ENOENT)
        return 0;
    if (r < 0)
        return err_sys(err, r, "cannot remove %s", path);
    removal.top = dirfd(top);
    while (r == 0 && again)
        r = sweep(&removal, top, &again);
    closedir(top);
    if (r == 0 && rmdir(path) < 0)
        r = -errno;
    return r < 0 ? err_sys(err, r, "cannot remove %s", path) : 0;
}
