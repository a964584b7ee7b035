/* SPDX-License-Identifier: Apache-2.0 */
/* What a container has read of its image, put into an index of that image. */
#ifndef CLIP_CLI_PROFILE_H
#define CLIP_CLI_PROFILE_H

enum profile_output { PROFILE_TEXT, PROFILE_JSON, PROFILE_SILENT };

/* Asks the clipd in `run`. `path` NULL: the index that the container stands on. 0, or 1 after a
 * sentence. */
int profile_write(const char *run, const char *id, const char *path, enum profile_output output);

#endif
