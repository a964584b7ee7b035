/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sentence for people that goes with a negative errno.
 *
 * Written once, where the fact is known, and prefixed on the way up. All functions take NULL for
 * `err` and return the code, so that `return err_set(...)` reads well. Any thread, no allocation.
 */
#ifndef CLIP_ENGINE_ERR_H
#define CLIP_ENGINE_ERR_H

#include "clip.h"

/* Replaces what was there. `code` is negative. */
int err_set(struct clip_error *err, int code, const char *fmt, ...) CLIP_PRINTF(3, 4);

/* As err_set, with ": strerror(-code)" behind it: for syscalls. */
int err_sys(struct clip_error *err, int code, const char *fmt, ...) CLIP_PRINTF(3, 4);

/* Puts "fmt: " before what is there, and cuts the end if it grows too long. Returns err->code. */
int err_prefix(struct clip_error *err, const char *fmt, ...) CLIP_PRINTF(2, 3);

/* code 0, message "". */
void err_clear(struct clip_error *err);

/* Bytes from outside made fit for a message or a log line: printable ASCII, the rest as \xNN, cut
 * with "..." where `out` ends. Returns out. */
const char *err_quote(const void *bytes, size_t len, char *out, size_t out_len);

#endif
