/* SPDX-License-Identifier: Apache-2.0 */
/* One line per event. On stderr people read along, so a line is a sentence behind our name; in a
 * file somebody looks for what happened when, so a line begins with time and level. Each line is
 * flushed: the last one before a crash is the one that is wanted. */
#include "log.h"

#include "say.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

const struct args_option log_options[] = {
    {"verbose", 'v', ARGS_FLAG, NULL, "say more on stderr (or CLIP_VERBOSE=1)",
     offsetof(struct log, verbose)},
    {"quiet", 'q', ARGS_FLAG, NULL, "say nothing but errors", offsetof(struct log, quiet)},
    {"log-format", 0, ARGS_CHOICE, "text|json", "how an event is written",
     offsetof(struct log, format)},
    {NULL, 0, ARGS_FLAG, NULL, NULL, 0},
};

const struct args_option log_file_options[] = {
    {"log-file", 0, ARGS_TEXT, "FILE", "append events to FILE instead of stderr",
     offsetof(struct log, path)},
    {NULL, 0, ARGS_FLAG, NULL, NULL, 0},
};

int log_open(struct log *log)
{
    const char *env = getenv("CLIP_VERBOSE");
    log->verbose |= env && *env && strcmp(env, "0") != 0;
    log->json = log->format && strcmp(log->format, "json") == 0;
    log->stream = log->path ? fopen(log->path, "ae") : stderr;
    if (!log->stream) {
        say_error("cannot open the log file %s: %s", log->path, strerror(errno));
        return 1;
    }
    return 0;
}

void log_close(struct log *log)
{
    if (log->stream && log->stream != stderr)
        fclose(log->stream);
    log->stream = NULL;
}

enum clip_log_level log_level(const struct log *log)
{
    if (log->quiet)
        return CLIP_LOG_ERROR;
    if (log->verbose)
        return CLIP_LOG_DEBUG;
    return log->path ? CLIP_LOG_INFO : CLIP_LOG_WARN;
}

static const char *name_level(enum clip_log_level level)
{
    static const char *const names[] = {"error", "warning", "info", "debug"};
    return names[level];
}

static void write_json(struct log *log, const char *time, enum clip_log_level level,
                       const char *message)
{
    json_t *line =
        json_pack("{s:s, s:s, s:s}", "time", time, "level", name_level(level), "message", message);
    if (line)
        json_dumpf(line, log->stream, JSON_COMPACT | JSON_PRESERVE_ORDER);
    json_decref(line);
    fputc('\n', log->stream);
}

static void write_text(struct log *log, const char *time, enum clip_log_level level,
                       const char *message)
{
    fprintf(log->stream, "%s %s ", time, name_level(level));
    say_quoted(log->stream, message, strlen(message));
    fputc('\n', log->stream);
}

void log_event(void *data, enum clip_log_level level, const char *message)
{
    struct log *log = data;
    char time_text[SAY_TIME_LEN];
    if (level > log_level(log))
        return;
    say_time(time(NULL), time_text);
    if (log->json)
        write_json(log, time_text, level, message);
    else if (log->path)
        write_text(log, time_text, level, message);
    else
        say_error("%s%s%s", level <= CLIP_LOG_WARN ? name_level(level) : "",
                  level <= CLIP_LOG_WARN ? ": " : "", message);
    fflush(log->stream);
}

void log_say(struct log *log, enum clip_log_level level, const char *fmt, ...)
{
    char message[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(message, sizeof(message), fmt, ap);
    va_end(ap);
    log_event(log, level, message);
}
