/* SPDX-License-Identifier: Apache-2.0 */
/* What verbs say about an image: opening it, one entry as JSON, names as JSON strings. */
#ifndef CLIP_CLI_FACTS_H
#define CLIP_CLI_FACTS_H

#include <clip.h>
#include <jansson.h>
#include <stdio.h>

/* Opens `path` and looks `inside` up in it (NULL: the root). 0, or 1 after a sentence. The caller
 * unrefs the image. */
int facts_open(const char *path, const char *inside, bool follow, struct clip_image **out_image,
               uint64_t *out_ino);

/* "regular file", "directory", ... and the letters of ls: "-rwsr-xr-x". */
const char *facts_type(uint32_t mode);
#define FACTS_MODE_LEN 11
const char *facts_mode(uint32_t mode, char out[FACTS_MODE_LEN]);

/* Sets `key` to the bytes, and where they are not UTF-8 `key`_hex to all of them: JSON has no way
 * to hold them. */
int facts_set_bytes(json_t *object, const char *key, const void *bytes, size_t len);
/* "sha256:..." of the content; "" where there is none. Returns `out`. */
#define FACTS_DIGEST_LEN 72
const char *facts_content(const struct clip_image *image, uint64_t ino, char out[FACTS_DIGEST_LEN]);
/* path, type, mode, ino, nlink, uid, gid, size, mtime, rdev, content, xattrs, target. NULL: no
 * memory. */
json_t *facts_entry(const struct clip_image *image, const char *path, uint64_t ino);
/* On one line, and frees it. NULL is fine. */
void facts_print(json_t *object, size_t flags);

/* Hexadecimal into `out`, which has 2 * len + 1 bytes. */
void facts_hex(const void *bytes, size_t len, char *out);

#endif
