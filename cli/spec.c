/* SPDX-License-Identifier: Apache-2.0 */
/* An ID becomes the name of directories and files, so what is not harmless there is refused here,
 * at the only door: no slash, no leading dot, nothing a shell or a terminal could mind. */
#include "spec.h"

#include "reply.h"

#include <ctype.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

static const char *const members[] = {
    "image",    "index",   "upper",     "dir",     "bundle",     "read_only",
    "pull",     "owner",   "process",   "source",  "creds",      "platform",
    "authfile", "ca_file", "certs_dir", "mirrors", "plain_http",
};

static int check_members(json_t *object, struct clip_error *err)
{
    const char *key;
    json_t *value;
    json_object_foreach(object, key, value)
    {
        size_t i = 0, n = sizeof(members) / sizeof(members[0]);
        while (i < n && strcmp(members[i], key) != 0)
            i++;
        if (i == n)
            return reply_error(err, -EINVAL, "there is no member '%.100s'", key);
    }
    return 0;
}

static int read_bundle(json_t *object, struct spec *spec, struct clip_error *err)
{
    json_t *member = json_object_get(object, "bundle");
    if (!json_is_boolean(member))
        return reply_path(object, "bundle", &spec->bundle, err);
    spec->bundle = json_is_true(member) ? strdup("") : NULL;
    return 0;
}

static int read_process(json_t *object, struct spec *spec, struct clip_error *err)
{
    json_t *process = json_object_get(object, "process");
    if (!process || json_is_null(process))
        return 0;
    if (!json_is_object(process))
        return reply_error(err, -EINVAL, "process is an object");
    if (!spec->bundle)
        return reply_error(err, -EINVAL, "process is for a bundle, and none is asked for");
    spec->process = json_incref(process);
    return 0;
}

static int read_members(json_t *object, struct spec *spec, struct clip_error *err)
{
    int r = check_members(object, err);
    if (r == 0)
        r = reply_text(object, "image", &spec->image, err);
    if (r == 0)
        r = reply_path(object, "index", &spec->index, err);
    if (r == 0)
        r = reply_path(object, "upper", &spec->upper, err);
    if (r == 0)
        r = reply_path(object, "dir", &spec->dir, err);
    if (r == 0)
        r = read_bundle(object, spec, err);
    if (r == 0)
        r = reply_flag(object, "read_only", &spec->read_only, err);
    if (r == 0)
        r = reply_flag(object, "pull", &spec->pull, err);
    if (r == 0)
        r = reply_number(object, "owner", &spec->owner, err);
    if (r == 0)
        r = read_process(object, spec, err);
    return r < 0 ? r : fetch_read(object, &spec->fetch, err);
}

static int check_spec(const struct spec *spec, struct clip_error *err)
{
    if (!spec->image == !spec->index)
        return reply_error(err, -EINVAL, "it needs either image or index");
    if (spec->read_only && spec->upper)
        return reply_error(err, -EINVAL, "a read-only root has no upper directory");
    if (spec->owner > INT_MAX)
        return reply_error(err, -EINVAL, "owner is no process");
    return 0;
}

int spec_read(json_t *object, struct spec *out, struct clip_error *err)
{
    struct spec spec = {0};
    if (!json_is_object(object))
        return reply_error(err, -EINVAL, "the body is not a JSON object");
    int r = read_members(object, &spec, err);
    if (r == 0)
        r = check_spec(&spec, err);
    if (r < 0)
        spec_fini(&spec);
    else
        *out = spec;
    return r;
}

void spec_fini(struct spec *spec)
{
    free(spec->image);
    free(spec->index);
    free(spec->upper);
    free(spec->dir);
    free(spec->bundle);
    json_decref(spec->process);
    fetch_fini(&spec->fetch);
    *spec = (struct spec){0};
}

static int set_text(json_t *object, const char *name, const char *text)
{
    return text ? json_object_set_new(object, name, json_string(text)) : 0;
}

static int set_mirrors(json_t *object, const struct fetch *fetch)
{
    json_t *list = fetch->mirrors[0] ? json_array() : NULL;
    for (size_t i = 0; list && fetch->mirrors[i]; i++)
        json_array_append_new(list, json_string(fetch->mirrors[i]));
    return list ? json_object_set_new(object, "mirrors", list) : 0;
}

json_t *spec_write(const struct spec *spec)
{
    json_t *object = json_object();
    int r = object ? 0 : -1;
    r |= set_text(object, "image", spec->image);
    r |= set_text(object, "index", spec->index);
    r |= set_text(object, "upper", spec->upper);
    r |= set_text(object, "dir", spec->dir);
    r |= set_text(object, "source", spec->fetch.source);
    r |= set_text(object, "platform", spec->fetch.platform);
    r |= set_text(object, "authfile", spec->fetch.authfile);
    r |= set_text(object, "ca_file", spec->fetch.ca_file);
    r |= set_text(object, "certs_dir", spec->fetch.certs_dir);
    r |= set_mirrors(object, &spec->fetch);
    r |= json_object_set_new(object, "read_only", json_boolean(spec->read_only));
    if (spec->fetch.plain_http)
        r |= json_object_set_new(object, "plain_http", json_true());
    if (spec->bundle)
        r |= json_object_set_new(object, "bundle",
                                 *spec->bundle ? json_string(spec->bundle) : json_true());
    if (spec->process)
        r |= json_object_set(object, "process", spec->process);
    if (r == 0)
        return object;
    json_decref(object);
    return NULL;
}

static bool same_text(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

bool spec_same_tree(const struct spec *a, const struct spec *b)
{
    return same_text(a->image, b->image) && same_text(a->index, b->index) &&
           same_text(a->upper, b->upper) && a->read_only == b->read_only;
}

bool spec_id_valid(const char *id)
{
    size_t len = strlen(id);
    if (len == 0 || len > SPEC_ID_MAX || !isalnum((unsigned char)id[0]))
        return false;
    for (const char *c = id; *c; c++) {
        if ((unsigned char)*c >= 0x80 || !(isalnum((unsigned char)*c) || strchr("_.+-", *c)))
            return false;
    }
    return strncmp(id, "clipd.", 6) != 0;
}
