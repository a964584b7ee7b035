/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files inside of an uncompressed tar file, as parts of it: what is in an oci-archive or a
 * docker-archive is read in place. Blocking: pool jobs only.
 */
#ifndef CLIP_NET_ARCHIVE_H
#define CLIP_NET_ARCHIVE_H

#include "net/files.h"

#define ARCHIVE_FILES_MAX 65536u
#define ARCHIVE_NAME_MAX  4096u

/* Goes through all headers once. A compressed archive is refused with a sentence. */
int archive_open(const char *path, struct files **out, struct clip_error *err);

#endif
