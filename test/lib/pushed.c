/* SPDX-License-Identifier: Apache-2.0 */
/* Every JSON text could be a manifest, so it is served as one too: under its digest. */
#include "test/lib/pushed.h"

#include "net/manifest.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *read_file(const char *dir, const char *name, size_t *out_len)
{
    char path[512], *bytes;
    FILE *file;

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    file = fopen(path, "r");
    cr_assert_not_null(file, "%s", path);
    fseek(file, 0, SEEK_END);
    *out_len = (size_t)ftell(file);
    rewind(file);
    bytes = calloc(1, *out_len + 1);
    cr_assert_eq(fread(bytes, 1, *out_len, file), *out_len);
    fclose(file);
    return bytes;
}

static bool is_first(const char *index, const char *digest)
{
    const char *at = strstr(index, "sha256:");

    return at && strncmp(at, digest, DIGEST_TEXT_LEN) == 0;
}

static void push_file(struct test_registry *registry, const char *blobs, const char *name,
                      const char *index, const char *tag)
{
    char digest[DIGEST_TEXT_LEN + 1];
    struct digest ignored;
    size_t len;
    char *bytes = read_file(blobs, name, &len);

    registry_add_blob(registry, bytes, len, &ignored);
    snprintf(digest, sizeof(digest), "sha256:%.64s", name);
    if (bytes[0] == '{')
        registry_add_manifest(registry, is_first(index, digest) ? tag : NULL,
                              strstr(bytes, "\"manifests\"") ? MEDIA_OCI_INDEX : MEDIA_OCI_MANIFEST,
                              bytes, &ignored);
    free(bytes);
}

void pushed(struct test_registry *registry, const char *dir, const char *tag)
{
    char blobs[256];
    struct dirent *entry;
    size_t len;
    char *index = read_file(dir, "index.json", &len);
    DIR *files;

    snprintf(blobs, sizeof(blobs), "%s/blobs/sha256", dir);
    files = opendir(blobs);
    cr_assert_not_null(files, "%s", blobs);
    while ((entry = readdir(files)))
        if (entry->d_name[0] != '.')
            push_file(registry, blobs, entry->d_name, index, tag);
    closedir(files);
    free(index);
}
