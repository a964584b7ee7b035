/* SPDX-License-Identifier: Apache-2.0 */
/* Formatting happens only for a level that the host asked for; a line that is too long is cut. */
#include "engine/log.h"

#include "engine/engine_private.h"

#include <stdarg.h>
#include <stdio.h>

bool log_enabled(const struct clip_engine *engine, enum clip_log_level level)
{
    return engine->options.on_log && level <= engine->options.log_level;
}

void log_write(const struct clip_engine *engine, enum clip_log_level level, const char *fmt, ...)
{
    char text[1024];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    engine->options.on_log(engine->options.log_data, level, text);
}
