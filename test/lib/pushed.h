/* SPDX-License-Identifier: Apache-2.0 */
/* An OCI layout pushed to a test registry. */
#ifndef CLIP_TEST_PUSHED_H
#define CLIP_TEST_PUSHED_H

#include "test/lib/registry.h"

/* All blobs of `dir`, also as manifests; `tag` is what index.json names first. */
void pushed(struct test_registry *registry, const char *dir, const char *tag);

#endif
