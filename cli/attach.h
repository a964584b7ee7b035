/* SPDX-License-Identifier: Apache-2.0 */
/* Asking clipd for a container: what `clip mount` and `clip run` have in common. */
#ifndef CLIP_CLI_ATTACH_H
#define CLIP_CLI_ATTACH_H

#include "args.h"
#include "source.h"

#include <jansson.h>

struct attach_args {
    const char *cid, *upper, *source, *platform, *progress;
    bool read_only, read_write, pull;
};

extern const struct args_option attach_options[];

#define ATTACH_ID_LEN 13
/* Twelve random hexadecimal digits. */
void attach_new_id(char out[ATTACH_ID_LEN]);

/* The body of the call for FILE.clip or IMAGE. NULL after a sentence. */
json_t *attach_request(const struct attach_args *args, const struct source *source,
                       const char *image);
/* Waits until it is mounted, with a bar while it is indexed. 0 and the container as clipd describes
 * it, or 1 after a sentence. */
int attach_ask(const struct attach_args *args, const char *run, const char *id, bool quiet,
               json_t *request, json_t **out);

#endif
