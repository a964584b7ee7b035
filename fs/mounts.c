/* SPDX-License-Identifier: Apache-2.0 */
/* A walk over /proc/self/mountinfo, whose lines stand in the order of mounting: the last one of a
 * path is the one that is seen. Paths are escaped there, as \ooo. */
#include "fs/mounts.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

/* In place. */
static void unescape(char *text)
{
    char *out = text;

    while (*text) {
        if (text[0] == '\\' && text[1] && text[2] && text[3]) {
            *out++ = (char)((text[1] - '0') << 6 | (text[2] - '0') << 3 | (text[3] - '0'));
            text += 4;
        } else {
            *out++ = *text++;
        }
    }
    *out = '\0';
}

/* "36 35 0:41 ROOT PATH OPTIONS [FIELD...] - TYPE SOURCE OPTIONS" */
static bool read_line(char *line, char **path, struct mounts_entry *out)
{
    char *rest = strstr(line, " - ");
    unsigned dev_major, dev_minor;
    int at = 0;

    if (!rest || sscanf(line, "%*d %*d %u:%u %*s %n", &dev_major, &dev_minor, &at) != 2 || !at)
        return false;
    *path = line + at;
    (*path)[strcspn(*path, " ")] = '\0';
    unescape(*path);
    out->dev = makedev(dev_major, dev_minor);
    return sscanf(rest, " - %63s", out->type) == 1;
}

int mounts_find(const char *path, struct mounts_entry *out)
{
    FILE *file = fopen("/proc/self/mountinfo", "re");
    struct mounts_entry entry;
    char *line = NULL, *at;
    size_t cap = 0;
    int r = -ENOENT;

    if (!file)
        return -errno;
    while (getline(&line, &cap, file) > 0) {
        if (!read_line(line, &at, &entry) || strcmp(at, path) != 0)
            continue;
        *out = entry;
        r = 0;
    }
    free(line);
    fclose(file);
    return r;
}
