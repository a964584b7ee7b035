/* SPDX-License-Identifier: Apache-2.0 */
/* The engine's events as lines: to people on stderr, or with times into a log file, or as JSON. */
#ifndef CLIP_CLI_LOG_H
#define CLIP_CLI_LOG_H

#include "args.h"

#include <clip.h>
#include <stdio.h>

/* Options of every verb that runs an engine. Zeroed, then filled by args_parse(). */
struct log {
    bool verbose, quiet;
    const char *format; /* "text" or "json"; NULL: text */
    const char *path;   /* NULL: stderr */
    /* private */
    FILE *stream;
    bool json;
};

extern const struct args_option log_options[]; /* --verbose, --quiet, --log-format */
extern const struct args_option
    log_file_options[]; /* --log-file, for what goes on in the background */

/* 0, or the exit code after a sentence. CLIP_VERBOSE counts as --verbose. */
int log_open(struct log *log);
void log_close(struct log *log);

enum clip_log_level log_level(const struct log *log);
/* A clip_log_cb; `data` is the log. */
void log_event(void *data, enum clip_log_level level, const char *message);
/* An event of our own. */
void log_say(struct log *log, enum clip_log_level level, const char *fmt, ...) CLIP_PRINTF(3, 4);

#endif
