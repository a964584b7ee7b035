/* SPDX-License-Identifier: Apache-2.0 */
/* clipd umount: asks the kernel to let go; the process that serves the mount sees that and ends. */
#include "command.h"
#include "say.h"
#include "verb.h"

#include <clip.h>

static int umount(const struct args *args, void *fields)
{
    (void)fields;
    struct clip_error err;
    int r = clip_unmount(args->operand[0], &err);
    if (r < 0)
        say_error("%s", err.message);
    return r < 0;
}

int umount_run(int argc, char **argv)
{
    struct args args = {
        .program = "clipd",
        .verb = "umount",
        .operands = "DIR",
        .about = "Takes away what 'clipd mount' mounted at DIR. It fails if something in DIR is in "
                 "use.",
        .min_operands = 1,
        .max_operands = 1,
    };
    struct command command = {.args = &args, .work = umount};
    return command_run(&command, argc, argv);
}
