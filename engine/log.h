/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One line per event to the host: noun, id, what, numbers. On the loop's thread. Who returns an
 * error does not log it; above debug only what has no caller to tell. No secrets, nothing per byte.
 */
#ifndef CLIP_ENGINE_LOG_H
#define CLIP_ENGINE_LOG_H

#include "engine/engine.h"

bool log_enabled(const struct clip_engine *engine, enum clip_log_level level);
void log_write(const struct clip_engine *engine, enum clip_log_level level, const char *fmt, ...)
    CLIP_PRINTF(3, 4);

#define log_at(engine, level, ...)                                                                 \
    do {                                                                                           \
        if (log_enabled(engine, level))                                                            \
            log_write(engine, level, __VA_ARGS__);                                                 \
    } while (0)
#define log_error(engine, ...) log_at(engine, CLIP_LOG_ERROR, __VA_ARGS__)
#define log_warn(engine, ...)  log_at(engine, CLIP_LOG_WARN, __VA_ARGS__)
#define log_info(engine, ...)  log_at(engine, CLIP_LOG_INFO, __VA_ARGS__)
#define log_debug(engine, ...) log_at(engine, CLIP_LOG_DEBUG, __VA_ARGS__)

#endif
