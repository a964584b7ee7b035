/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A local source is named PREFIX:PATH[:TAG], as skopeo names it: the path ends at the first colon.
 * What an index records of it is the same with an absolute path. That is not resolved any further:
 * a name that the user can read, and the same whoever builds it on the same machine.
 * Possible failure modes are: a name without a path; what the parts say when they open and read.
 */
#include "net/store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct {
    const char *prefix;
    enum store_kind kind;
} kinds[] = {
    {"oci:", STORE_LAYOUT},
    {"oci-archive:", STORE_OCI_ARCHIVE},
    {"docker-archive:", STORE_DOCKER_ARCHIVE},
};

const char *store_parse_kind(const char *image, enum store_kind *out)
{
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        size_t len = strlen(kinds[i].prefix);
        if (strncmp(image, kinds[i].prefix, len) != 0)
            continue;
        *out = kinds[i].kind;
        return image + len;
    }
    return NULL;
}

/* "./a//b/" behind the working directory; NULL: no memory, or there is no such directory. */
static char *absolute_path(const char *path)
{
    char *cwd = *path == '/' ? strdup("") : getcwd(NULL, 0);
    char *out = cwd ? malloc(strlen(cwd) + strlen(path) + 2) : NULL;
    size_t len;

    if (!out) {
        free(cwd);
        return NULL;
    }
    len = strcmp(cwd, "/") == 0 ? 0 : strlen(cwd);
    memcpy(out, cwd, len);
    free(cwd);
    while (*path) {
        size_t part = strcspn(path, "/");
        if (part > 0 && !(part == 1 && *path == '.')) {
            out[len++] = '/';
            memcpy(out + len, path, part);
            len += part;
        }
        path += part + (path[part] == '/');
    }
    if (len == 0)
        out[len++] = '/';
    out[len] = '\0';
    return out;
}

/* A working directory with a colon in its name could not be read back: then the user's words. */
static int set_reference(struct store *store)
{
    char *path = absolute_path(store->path);

    if (!path)
        return -errno;
    if (strchr(path, ':'))
        store->reference = strdup(store->name);
    else if (asprintf(&store->reference, "%s%s%s%s", kinds[store->kind].prefix, path,
                      store->tag ? ":" : "", store->tag ? store->tag : "") < 0)
        store->reference = NULL;
    free(path);
    return store->reference ? 0 : -ENOMEM;
}

static int set_names(struct store *store, const char *image, const char *spec, const char *platform)
{
    size_t path_len = strcspn(spec, ":");

    store->name = strdup(image);
    store->path = strndup(spec, path_len);
    if (!store->name || !store->path)
        return -ENOMEM;
    if (spec[path_len] == ':' && spec[path_len + 1])
        if (!(store->tag = strdup(spec + path_len + 1)))
            return -ENOMEM;
    if (platform && !(store->platform = strdup(platform)))
        return -ENOMEM;
    return set_reference(store);
}

int store_init(struct store *store, const char *image, const char *platform, struct clip_error *err)
{
    const char *spec;
    int r;

    *store = (struct store){0};
    spec = store_parse_kind(image, &store->kind);
    if (!spec || !*spec || *spec == ':')
        return err_set(err, -EINVAL, "\"%s\" names no file or directory", image);
    r = set_names(store, image, spec, platform);
    if (r < 0) {
        store_fini(store);
        return err_sys(err, r, "%s", image);
    }
    return 0;
}

void store_fini(struct store *store)
{
    docker_archive_free(store->docker);
    files_free(store->files);
    free(store->name);
    free(store->reference);
    free(store->path);
    free(store->tag);
    free(store->platform);
}

int store_open(struct store *store, struct clip_error *err)
{
    int r;

    r = store->kind == STORE_LAYOUT ? files_open_dir(store->path, &store->files, err)
                                    : archive_open(store->path, &store->files, err);
    if (r < 0 || store->kind != STORE_DOCKER_ARCHIVE)
        return r;
    /* what a docker with containerd's store saves may be a layout only */
    if (!files_has(store->files, "manifest.json") && files_has(store->files, "index.json"))
        return 0;
    r = docker_archive_open(store->files, store->name, store->tag, &store->docker, err);
    if (r < 0) {
        files_free(store->files);
        store->files = NULL;
    }
    return r;
}

int store_resolve(const struct store *store, struct manifest **out, struct clip_error *err)
{
    struct layout_choice choice = {store->name, store->tag, store->platform};
    struct manifest *manifest;
    int r;

    r = store->docker ? docker_archive_resolve(store->docker, store->platform, &manifest, err)
                      : layout_resolve(store->files, &choice, &manifest, err);
    if (r < 0)
        return r;
    manifest->reference = strdup(store->reference);
    if (!manifest->reference) {
        manifest_free(manifest);
        return err_set(err, -ENOMEM, "out of memory for a reference");
    }
    *out = manifest;
    return 0;
}

int store_find(const struct store *store, const struct descriptor *blob, struct file_part *out,
               struct clip_error *err)
{
    if (store->docker)
        return docker_archive_find(store->docker, blob, out, err);
    return layout_find(store->files, blob, out, err);
}
