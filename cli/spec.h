/* SPDX-License-Identifier: Apache-2.0 */
/* What somebody asks of a container: the body of PUT /v1/containers/ID, and what the state keeps.
 */
#ifndef CLIP_CLI_SPEC_H
#define CLIP_CLI_SPEC_H

#include "fetch.h"

#include <clip.h>
#include <jansson.h>

struct spec {
    char *image; /* one of these two */
    char *index;
    char *upper, *dir;
    char *bundle; /* a directory; "" for one of ours */
    bool read_only;
    bool pull;        /* index again, whatever the store has */
    json_int_t owner; /* the container ends with this process; 0: none */
    json_t *process;  /* an object for bundle.h, or NULL */
    struct fetch fetch;
};

/* Every member is checked, and one that is not known is refused. 0 or -EINVAL with a sentence. */
int spec_read(json_t *object, struct spec *out, struct clip_error *err);
void spec_fini(struct spec *spec);
/* What can be written down: neither credentials nor the owner. NULL: no memory. */
json_t *spec_write(const struct spec *spec);
/* True if the same tree is asked for, over the same upper layer. */
bool spec_same_tree(const struct spec *a, const struct spec *b);

#define SPEC_ID_MAX 128
/* [A-Za-z0-9] first, then also _ . + -, 128 bytes at most, not "clipd.ANYTHING". */
bool spec_id_valid(const char *id);

#endif
