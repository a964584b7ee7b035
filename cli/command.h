/* SPDX-License-Identifier: Apache-2.0 */
/* The frame of a verb: its command line is read, its log opened, clipd's directories are found;
 * then it does its work; then all that is given back. */
#ifndef CLIP_CLI_COMMAND_H
#define CLIP_CLI_COMMAND_H

#include "args.h"
#include "log.h"
#include "places.h"

/* The exit code. `fields` is the struct that the options filled. */
typedef int (*command_fn)(const struct args *args, void *fields);

struct command {
    struct args *args;
    struct log *log;       /* in the verb's fields; NULL: it runs no engine */
    struct places *places; /* in the verb's fields; NULL: clipd's directories are nothing to it */
    command_fn work;
    void *fields;
};

/* argv[0] is the verb. The exit code: 2 for a command line that is wrong, else what `work` says. */
int command_run(struct command *command, int argc, char **argv);

#endif
