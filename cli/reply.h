/* SPDX-License-Identifier: Apache-2.0 */
/* JSON of the control socket: members of a request that are what they should be, and errors as the
 * library writes them, one sentence in a struct clip_error. */
#ifndef CLIP_CLI_REPLY_H
#define CLIP_CLI_REPLY_H

#include <clip.h>
#include <jansson.h>

/* Writes the sentence, returns `code`. */
int reply_error(struct clip_error *err, int code, const char *fmt, ...) CLIP_PRINTF(3, 4);

/* Members that may be missing or null; `*out` is untouched then. -EINVAL with a sentence. */
int reply_text(json_t *object, const char *name, char **out, struct clip_error *err);
int reply_flag(json_t *object, const char *name, bool *out, struct clip_error *err);
int reply_number(json_t *object, const char *name, json_int_t *out, struct clip_error *err);
/* As reply_text, and it must begin with a slash. */
int reply_path(json_t *object, const char *name, char **out, struct clip_error *err);

/* "EEXIST" and the like; the HTTP status that goes with a negative errno. */
const char *reply_name(int code);
int reply_status(int code);
/* {"error": ..., "code": ...}. NULL: no memory. */
json_t *reply_failure(const struct clip_error *err);

#endif
