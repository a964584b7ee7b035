/* SPDX-License-Identifier: Apache-2.0 */
/* clipd: what stays. */
#include "verb.h"

#include <stddef.h>

static const struct verb verbs[] = {
    {"serve", "", "serve the containers of this host", serve_run},
    {"mount", "FILE.clip|IMAGE DIR", "show an image at DIR; returns when it can be used",
     mount_run},
    {"umount", "DIR", "take a mount away", umount_run},
    {NULL, NULL, NULL, NULL},
};

int main(int argc, char **argv)
{
    static const struct program clipd = {
        "clipd",
        "Mounts images from their indexes (made by 'clip index'). What is read is fetched from\n"
        "the registry, verified, and kept in a cache.",
        verbs,
    };
    return verb_main(&clipd, argc, argv);
}
