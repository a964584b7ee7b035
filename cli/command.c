/* SPDX-License-Identifier: Apache-2.0 */
/* What was opened is closed whatever comes after it; nothing is begun before the command line is
 * known to be right. */
#include "command.h"

static int work_at_places(const struct command *command)
{
    int r = places_fill(command->places);
    if (r != 0)
        return r;
    r = command->work(command->args, command->fields);
    places_fini(command->places);
    return r;
}

int command_run(struct command *command, int argc, char **argv)
{
    int r = args_parse(command->args, argc, argv);
    if (r != ARGS_GO)
        return r;
    r = command->log ? log_open(command->log) : 0;
    if (r == 0)
        r = command->places ? work_at_places(command)
                            : command->work(command->args, command->fields);
    if (command->log)
        log_close(command->log);
    return r;
}
