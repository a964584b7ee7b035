/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What docker save and skopeo's docker-archive: write: a tar file with manifest.json, configs and
 * layers, mostly uncompressed. It has no manifest in the registry's sense and names no blobs by
 * digest, so both are made here, always the same for the same file. Blocking: pool jobs only.
 */
#ifndef CLIP_NET_DOCKER_ARCHIVE_H
#define CLIP_NET_DOCKER_ARCHIVE_H

#include "net/archive.h"
#include "net/manifest.h"

struct docker_archive;

/* `files` is borrowed. `tag` is a reference such as "alpine:3.20"; NULL: there must be one image
 * only. `name` is for messages. */
int docker_archive_open(const struct files *files, const char *name, const char *tag,
                        struct docker_archive **out, struct clip_error *err);
void docker_archive_free(struct docker_archive *archive); /* NULL is allowed */

/* The manifest's digest and type are those of the config, which is docker's image ID. */
int docker_archive_resolve(const struct docker_archive *archive, const char *platform,
                           struct manifest **out, struct clip_error *err);
int docker_archive_find(const struct docker_archive *archive, const struct descriptor *blob,
                        struct file_part *out, struct clip_error *err);

#endif
