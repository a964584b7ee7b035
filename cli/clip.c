/* SPDX-License-Identifier: Apache-2.0 */
/* clip: what is done once and then over. */
#include "verb.h"

#include <stddef.h>

static const struct verb verbs[] = {
    {"index", "IMAGE OUT.clip", "read an image once, keep where everything is", index_run},
    {"inspect", "FILE.clip", "the image, its layers, checkpoints and sizes", inspect_run},
    {"ls", "FILE.clip [PATH]", "list a directory of the image", ls_run},
    {"cat", "FILE.clip PATH", "write a file of the image to stdout", cat_run},
    {"extract", "FILE.clip DIR", "write the files of the image into a directory", extract_run},
    {"stat", "FILE.clip PATH", "all that is known of one path", stat_run},
    {"verify", "FILE.clip", "check an index, alone or against its blobs", verify_run},
    {"mount", "FILE.clip|IMAGE [DIR]", "a container's root, through clipd", attach_run},
    {"umount", "ID|DIR", "take a container away", detach_run},
    {"run", "IMAGE [CMD...]", "run a program in a container", run_run},
    {"ps", "", "list the containers", ps_run},
    {"stats", "[ID]", "what was read and fetched", stats_run},
    {"profile", "ID [FILE.clip]", "what was read is fetched ahead from now on", profile_run},
    {NULL, NULL, NULL, NULL},
};

int main(int argc, char **argv)
{
    static const struct program clip = {
        "clip",
        "Starts containers from OCI images without pulling them. An index says where every\n"
        "file of an image lies in its compressed layers; 'clipd mount' shows the image from it\n"
        "and fetches only what is read.",
        verbs,
    };
    return verb_main(&clip, argc, argv);
}
