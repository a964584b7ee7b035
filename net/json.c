/* SPDX-License-Identifier: Apache-2.0 */
/*
 * jansson bounds how deep a text nests, but an array of empty objects still takes a hundred bytes
 * of memory for each of its own three. So within_bounds() counts the structure first, in one pass
 * that knows nothing but strings.
 * Possible failure modes are: too much of something, not JSON, not what the top level should be.
 */
#include "net/json.h"

#include <string.h>

static bool within_bounds(const char *text, size_t len)
{
    unsigned n_containers = 0, n_values = 0, depth = 0;
    bool in_string = false;

    for (size_t i = 0; i < len; i++) {
        char c = text[i];

        if (in_string && c == '\\') {
            i++;
        } else if (c == '"') {
            in_string = !in_string;
        } else if (in_string) {
            continue;
        } else if (c == '{' || c == '[') {
            if (++n_containers > JSON_CONTAINERS_MAX || ++depth > JSON_NESTING_MAX)
                return false;
        } else if ((c == '}' || c == ']') && depth > 0) {
            depth--;
        } else if (c == ',' || c == ':') {
            if (++n_values > JSON_VALUES_MAX)
                return false;
        }
    }
    return true;
}

static int load(const void *text, size_t len, json_t **out, struct clip_error *err)
{
    json_error_t why;
    char quoted[2 * sizeof(why.text)];

    if (!within_bounds(text, len))
        return err_set(err, CLIP_EFORMAT, "JSON with too many values or nested too deeply");
    *out = json_loadb(text, len, JSON_REJECT_DUPLICATES, &why);
    if (!*out)
        return err_set(err, CLIP_EFORMAT, "not JSON: line %d: %s", why.line,
                       err_quote(why.text, strlen(why.text), quoted, sizeof(quoted)));
    return 0;
}

int json_object_load(const void *text, size_t len, json_t **out, struct clip_error *err)
{
    json_t *json;
    int r;

    r = load(text, len, &json, err);
    if (r < 0)
        return r;
    if (!json_is_object(json)) {
        json_decref(json);
        return err_set(err, CLIP_EFORMAT, "not a JSON object");
    }
    *out = json;
    return 0;
}

int json_array_load(const void *text, size_t len, json_t **out, struct clip_error *err)
{
    json_t *json;
    int r;

    r = load(text, len, &json, err);
    if (r < 0)
        return r;
    if (!json_is_array(json)) {
        json_decref(json);
        return err_set(err, CLIP_EFORMAT, "not a JSON array");
    }
    *out = json;
    return 0;
}

const char *json_get_printable(const json_t *object, const char *key, size_t max)
{
    const json_t *value = json_object_get(object, key);
    size_t len = json_string_length(value);
    const char *text = json_string_value(value);

    if (!text || len == 0 || len > max)
        return NULL;
    for (size_t i = 0; i < len; i++)
        if (text[i] <= ' ' || text[i] > '~')
            return NULL;
    return text;
}

int json_get_size(const json_t *object, const char *key, uint64_t *out)
{
    const json_t *value = json_object_get(object, key);

    if (!value)
        return -ENOENT;
    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return -EINVAL;
    *out = (uint64_t)json_integer_value(value);
    return 0;
}
