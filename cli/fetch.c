/* SPDX-License-Identifier: Apache-2.0 */
/* One table names the members of a request and where they go, so that what clip writes, clipd reads
 * and two mounts compare cannot drift apart. */
#include "fetch.h"

#include "reply.h"
#include "say.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct {
    const char *name;
    size_t field;
} texts[] = {
    {"source", offsetof(struct fetch, source)},   {"platform", offsetof(struct fetch, platform)},
    {"creds", offsetof(struct fetch, creds)},     {"authfile", offsetof(struct fetch, authfile)},
    {"ca_file", offsetof(struct fetch, ca_file)}, {"certs_dir", offsetof(struct fetch, certs_dir)},
};

#define N_TEXTS (sizeof(texts) / sizeof(texts[0]))

static char **text_of(const struct fetch *fetch, size_t i)
{
    return (char **)((char *)fetch + texts[i].field);
}

static int read_mirrors(json_t *list, struct fetch *fetch, struct clip_error *err)
{
    size_t i;
    json_t *url;
    if (!list)
        return 0;
    if (!json_is_array(list) || json_array_size(list) > ARGS_LIST_MAX)
        return reply_error(err, -EINVAL, "mirrors is a list of at most %d URLs", ARGS_LIST_MAX);
    json_array_foreach(list, i, url)
    {
        if (!json_is_string(url))
            return reply_error(err, -EINVAL, "mirrors is a list of URLs");
        fetch->mirrors[i] = strdup(json_string_value(url));
        if (!fetch->mirrors[i])
            return reply_error(err, -ENOMEM, "out of memory");
    }
    return 0;
}

static int read_members(json_t *object, struct fetch *fetch, struct clip_error *err)
{
    for (size_t i = 0; i < N_TEXTS; i++) {
        int r = reply_text(object, texts[i].name, text_of(fetch, i), err);
        if (r < 0)
            return r;
    }
    int r = reply_flag(object, "plain_http", &fetch->plain_http, err);
    return r < 0 ? r : read_mirrors(json_object_get(object, "mirrors"), fetch, err);
}

int fetch_read(json_t *object, struct fetch *out, struct clip_error *err)
{
    struct fetch fetch = {0};
    int r = read_members(object, &fetch, err);
    if (r < 0)
        fetch_fini(&fetch);
    else
        *out = fetch;
    return r;
}

void fetch_fini(struct fetch *fetch)
{
    if (fetch->creds)
        explicit_bzero(fetch->creds, strlen(fetch->creds));
    for (size_t i = 0; i < N_TEXTS; i++)
        free(*text_of(fetch, i));
    for (size_t i = 0; fetch->mirrors[i]; i++)
        free(fetch->mirrors[i]);
    *fetch = (struct fetch){0};
}

static bool same_text(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

bool fetch_same(const struct fetch *a, const struct fetch *b)
{
    for (size_t i = 0; i < N_TEXTS; i++) {
        if (!same_text(*text_of(a, i), *text_of(b, i)))
            return false;
    }
    for (size_t i = 0; i < ARGS_LIST_MAX; i++) {
        if (!same_text(a->mirrors[i], b->mirrors[i]))
            return false;
    }
    return a->plain_http == b->plain_http;
}

static int copy_text(const char *from, char **out)
{
    *out = from ? strdup(from) : NULL;
    return from && !*out ? -ENOMEM : 0;
}

int fetch_copy(const struct fetch *from, struct fetch *out)
{
    struct fetch copy = {.plain_http = from->plain_http};
    int r = 0;
    for (size_t i = 0; i < N_TEXTS; i++)
        r |= copy_text(*text_of(from, i), text_of(&copy, i));
    for (size_t i = 0; r == 0 && from->mirrors[i]; i++)
        r |= copy_text(from->mirrors[i], &copy.mirrors[i]);
    if (r < 0)
        fetch_fini(&copy);
    else
        *out = copy;
    return r;
}

struct clip_source_options fetch_net(const struct fetch *fetch)
{
    return (struct clip_source_options){
        .platform = fetch->platform,
        .creds = fetch->creds,
        .authfile = fetch->authfile,
        .ca_file = fetch->ca_file,
        .certs_dir = fetch->certs_dir,
        .mirrors = fetch->mirrors[0] ? (const char *const *)fetch->mirrors : NULL,
        .plain_http = fetch->plain_http,
    };
}

/* ---- the client's side */

static size_t prefix_len(const char *image)
{
    static const char *const prefixes[] = {"oci:", "oci-archive:", "docker-archive:"};
    for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++) {
        if (strncmp(image, prefixes[i], strlen(prefixes[i])) == 0)
            return strlen(prefixes[i]);
    }
    return 0;
}

static char *absolute_path(const char *prefix, size_t len, const char *path)
{
    char cwd[PATH_MAX], *absolute = NULL;
    bool relative = path[0] != '/';
    if (relative && !getcwd(cwd, sizeof(cwd)))
        return NULL;
    int r = relative ? asprintf(&absolute, "%.*s%s/%s", (int)len, prefix, cwd, path)
                     : asprintf(&absolute, "%.*s%s", (int)len, prefix, path);
    return r < 0 ? NULL : absolute;
}

char *fetch_absolute(const char *image)
{
    size_t len = prefix_len(image);
    return len > 0 ? absolute_path(image, len, image + len) : strdup(image);
}

char *fetch_absolute_path(const char *path)
{
    return absolute_path("", 0, path);
}

static int set_path(json_t *object, const char *name, const char *path)
{
    if (!path)
        return 0;
    char *absolute = fetch_absolute_path(path);
    int r = json_object_set_new(object, name, json_string(absolute));
    free(absolute);
    return r;
}

static int set_text(json_t *object, const char *name, const char *text)
{
    return text ? json_object_set_new(object, name, json_string(text)) : 0;
}

static int set_mirrors(json_t *object, const struct source *source)
{
    json_t *list = source->mirrors[0] ? json_array() : NULL;
    if (!list)
        return 0;
    for (size_t i = 0; source->mirrors[i]; i++)
        json_array_append_new(list, json_string(source->mirrors[i]));
    return json_object_set_new(object, "mirrors", list);
}

int fetch_write(json_t *object, const struct source *source, const char *blobs)
{
    char *absolute = blobs ? fetch_absolute(blobs) : NULL;
    int r = set_text(object, "source", absolute);
    free(absolute);
    r |= set_text(object, "platform", source->net.platform);
    r |= set_text(object, "creds", source->net.creds);
    r |= set_path(object, "authfile", source->net.authfile);
    r |= set_path(object, "ca_file", source->net.ca_file);
    r |= set_path(object, "certs_dir", source->net.certs_dir);
    r |= set_mirrors(object, source);
    if (source->net.plain_http)
        r |= json_object_set_new(object, "plain_http", json_true());
    if (r != 0)
        say_error("an option is not UTF-8, or there is no memory");
    return r != 0;
}
