/* SPDX-License-Identifier: Apache-2.0 */
/* The names of the settings, as bench/mount spells them. */
#include "fs/settings.h"

#include <stdlib.h>
#include <string.h>

static const char *const names[SETTINGS] = {
    "timeouts", "negative",  "readdirplus", "open",  "opendir", "symlinks",
    "xattr",    "readahead", "background",  "pages", "dirops",
};

static unsigned setting_named(const char *name, size_t len)
{
    for (unsigned i = 0; i < SETTINGS; i++)
        if (strlen(names[i]) == len && memcmp(names[i], name, len) == 0)
            return 1u << i;
    return 0;
}

unsigned settings_get(void)
{
    const char *off = getenv("CLIP_FUSE_OFF");
    unsigned settings = (1u << SETTINGS) - 1;

    while (off && *off) {
        size_t len = strcspn(off, ",");
        settings &= ~setting_named(off, len);
        off += len + (off[len] == ',');
    }
    return settings;
}
