/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What makes the kernel ask once and never again, each as a switch, so that bench/mount can measure
 * what it is worth. All are on but those that CLIP_FUSE_OFF names ("timeouts,open"): that variable
 * is for measuring only, and no promise.
 */
#ifndef CLIP_FS_SETTINGS_H
#define CLIP_FS_SETTINGS_H

#include <stdbool.h>

enum setting {
    SETTING_TIMEOUTS,    /* entries and attributes without end */
    SETTING_NEGATIVE,    /* and names that are not there */
    SETTING_READDIRPLUS, /* a directory's entries with their attributes */
    SETTING_OPEN,        /* ENOSYS to OPEN */
    SETTING_OPENDIR,     /* ENOSYS to OPENDIR, and so directories in the page cache */
    SETTING_SYMLINKS,    /* targets in the page cache */
    SETTING_XATTR,       /* ENOSYS to GETXATTR where the image has none */
    SETTING_READAHEAD,   /* more than the 128 KiB that INIT allows */
    SETTING_BACKGROUND,  /* 512 reads under way instead of 12 */
    SETTING_PAGES,       /* reads of 1 MiB instead of 128 KiB */
    SETTING_DIROPS,      /* look-ups in one directory side by side */
    SETTINGS
};

/* A bit for each that is on. */
unsigned settings_get(void);

static inline bool settings_has(unsigned settings, enum setting setting)
{
    return settings & (1u << setting);
}

#endif
