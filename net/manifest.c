/* SPDX-License-Identifier: Apache-2.0 */
#include "net/manifest.h"

#include <stdlib.h>

void manifest_free(struct manifest *manifest)
{
    if (!manifest)
        return;
    for (unsigned i = 0; manifest->layers && i < manifest->n_layers; i++)
        free(manifest->layers[i].media_type);
    free(manifest->layers);
    free(manifest->diff_ids);
    free(manifest->reference);
    free(manifest->media_type);
    free(manifest->platform);
    free(manifest->config);
    free(manifest);
}
