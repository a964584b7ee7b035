/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What people are told: one sentence per error on stderr, facts on stdout, and bytes from outside
 * in a form that cannot play tricks on a terminal.
 */
#ifndef CLIP_CLI_SAY_H
#define CLIP_CLI_SAY_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* "clip" or "clipd", before the first sentence. */
void say_program(const char *name);

/* "clip: SENTENCE" on stderr. Control bytes come out as \xNN. */
void say_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Bytes from outside: control bytes, broken UTF-8 and the backslash come out as C escapes. */
void say_quoted(FILE *stream, const char *bytes, size_t len);
/* As say_quoted on a terminal; as they are into files and pipes. */
void say_name(FILE *stream, const char *bytes, size_t len);

/* Length of the UTF-8 character that begins here and may be shown; 0 if none does. */
size_t say_utf8(const char *bytes, size_t len);

#define SAY_SIZE_LEN 16
/* "28.3 MB". Returns `out`. */
const char *say_size(uint64_t bytes, char out[SAY_SIZE_LEN]);

#define SAY_TIME_LEN 32
/* "2026-11-24T02:45:00Z", UTC. Returns `out`. */
const char *say_time(int64_t seconds, char out[SAY_TIME_LEN]);

#endif
