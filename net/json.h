/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON from outside, bounded before it is parsed: size, nesting, and the number of values, which
 * is what costs memory. Getters check type and form. Pure; any thread.
 */
#ifndef CLIP_NET_JSON_H
#define CLIP_NET_JSON_H

#include "engine/err.h"

#include <jansson.h>

#define JSON_CONTAINERS_MAX 32768u  /* arrays and objects in one text */
#define JSON_VALUES_MAX     262144u /* commas and colons in one text */
#define JSON_NESTING_MAX    64u

/* An object, the caller's to json_decref(). Keys that stand twice in an object are refused. */
int json_object_load(const void *text, size_t len, json_t **out, struct clip_error *err);
/* An array, by the same rules. */
int json_array_load(const void *text, size_t len, json_t **out, struct clip_error *err);

/* The member's string if it is one of 1 to `max` bytes, all of them printable ASCII; else NULL. */
const char *json_get_printable(const json_t *object, const char *key, size_t max);
/* 0, -ENOENT if it is missing, -EINVAL if it is not a whole number from 0 to INT64_MAX. */
int json_get_size(const json_t *object, const char *key, uint64_t *out);

#endif
