/* SPDX-License-Identifier: Apache-2.0 */
/* What stands in a bundle's config.json. Pure: JSON in, JSON out. */
#ifndef CLIP_CLI_BUNDLE_CONFIG_H
#define CLIP_CLI_BUNDLE_CONFIG_H

#include "accounts.h"

#include <jansson.h>

struct bundle_config {
    json_t *image;   /* the image's config JSON; may be anything */
    json_t *process; /* checked; or NULL */
    const struct account *account;
    const char *id, *root;
    bool read_only;
};

/* -EINVAL with a sentence. */
int bundle_config_check(json_t *process, struct clip_error *err);
/* "USER:GROUP" that the container shall run as; borrowed; NULL: root. */
const char *bundle_config_user(json_t *image, json_t *process);
/* NULL: no memory. */
json_t *bundle_config_make(const struct bundle_config *config);

#endif
