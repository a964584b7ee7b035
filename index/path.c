/* SPDX-License-Identifier: Apache-2.0 */
/* Cleaning is lexical: "a/../b" is "b" whether or not "a" is a symlink, as all unpackers do it. */
#include "index/path.h"

#include <string.h>

bool path_next(struct path_iter *iter, struct path_name *out)
{
    const char *end;

    while (iter->at < iter->end && *iter->at == '/')
        iter->at++;
    if (iter->at == iter->end)
        return false;
    end = memchr(iter->at, '/', (size_t)(iter->end - iter->at));
    if (!end)
        end = iter->end;
    out->bytes = iter->at;
    out->len = (size_t)(end - iter->at);
    iter->at = end;
    return true;
}

bool path_is_dot(const struct path_name *name)
{
    return name->len == 1 && name->bytes[0] == '.';
}

bool path_is_dotdot(const struct path_name *name)
{
    return name->len == 2 && name->bytes[0] == '.' && name->bytes[1] == '.';
}

bool path_is(const struct path_name *name, const char *text)
{
    return name->len == strlen(text) && path_begins(name, text);
}

bool path_begins(const struct path_name *name, const char *text)
{
    size_t len = strlen(text);

    return name->len >= len && memcmp(name->bytes, text, len) == 0;
}

bool path_ends(const struct path_name *name, const char *text)
{
    size_t len = strlen(text);

    return name->len > len && memcmp(name->bytes + name->len - len, text, len) == 0;
}

static size_t without_last(const char *path, size_t len)
{
    const char *slash = memrchr(path, '/', len);

    return slash ? (size_t)(slash - path) : 0;
}

static size_t append(char *path, size_t len, const struct path_name *name)
{
    if (len > 0)
        path[len++] = '/';
    memcpy(path + len, name->bytes, name->len);
    return len + name->len;
}

int path_clean(const char *path, unsigned depth_max, char *out, struct clip_error *err)
{
    struct path_iter iter = {path, path + strlen(path)};
    struct path_name name;
    bool escaped = false;
    unsigned depth = 0;
    size_t len = 0;
    char quoted[200];

    while (path_next(&iter, &name)) {
        if (path_is_dot(&name))
            continue;
        if (path_is_dotdot(&name)) {
            escaped |= depth == 0;
            depth -= depth > 0;
            len = without_last(out, len);
            continue;
        }
        if (name.len > PATH_NAME_MAX)
            return err_set(err, -ENAMETOOLONG, "a name of %zu bytes is longer than %u: %s",
                           name.len, PATH_NAME_MAX,
                           err_quote(name.bytes, name.len, quoted, sizeof(quoted)));
        if (++depth > depth_max)
            return err_set(err, -ENAMETOOLONG, "a path has more than %u components: %s", depth_max,
                           err_quote(path, strlen(path), quoted, sizeof(quoted)));
        len = append(out, len, &name);
    }
    if (escaped && len > 0)
        return err_set(err, CLIP_EFORMAT, "a path leads out of the root: %s",
                       err_quote(path, strlen(path), quoted, sizeof(quoted)));
    out[len] = '\0';
    return (int)len;
}
