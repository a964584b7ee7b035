/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The blocking half of a local source: a layout in a directory, a layout in an archive, or what
 * docker save writes. Pool jobs only, but for init and fini. Opened once, then only read: any
 * number of jobs may resolve and find.
 */
#ifndef CLIP_NET_STORE_H
#define CLIP_NET_STORE_H

#include "net/docker_archive.h"
#include "net/layout.h"

enum store_kind { STORE_LAYOUT, STORE_OCI_ARCHIVE, STORE_DOCKER_ARCHIVE };

struct store {
    /* read-only */
    enum store_kind kind;
    char *name;      /* as the user wrote it */
    char *reference; /* with an absolute path, so that it is found from everywhere */
    char *path, *tag, *platform;
    /* private */
    struct files *files;
    struct docker_archive *docker;
};

/* Which of the prefixes is it? NULL, or what stands behind. */
const char *store_parse_kind(const char *image, enum store_kind *out);
/* No I/O. */
int store_init(struct store *store, const char *image, const char *platform,
               struct clip_error *err);
void store_fini(struct store *store);

/* After a failure it may be tried again. */
int store_open(struct store *store, struct clip_error *err);
int store_resolve(const struct store *store, struct manifest **out, struct clip_error *err);
int store_find(const struct store *store, const struct descriptor *blob, struct file_part *out,
               struct clip_error *err);

#endif
