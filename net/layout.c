/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The happy path of layout_resolve() is: oci-layout says that this is one, then index.json and
 * whatever the resolver asks for is read from blobs/sha256/ and fed to it.
 * Possible failure modes are: files that are missing, too big or not as their digests say; the
 * sentence names the file or the blob.
 */
#include "net/layout.h"

#include "net/json.h"
#include "net/resolver.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MARKER_SIZE_MAX 4096u
#define BLOB_PATH       "blobs/sha256/"
#define BLOB_PATH_LEN   (sizeof(BLOB_PATH) + 2 * DIGEST_LEN)

static const char *blob_path(const struct digest *digest, char *out)
{
    char text[DIGEST_TEXT_LEN + 1];

    digest_format(digest, text);
    snprintf(out, BLOB_PATH_LEN, BLOB_PATH "%s", strchr(text, ':') + 1);
    return out;
}

static int check_marker(const struct files *files, struct clip_error *err)
{
    void *text;
    size_t len;
    json_t *json;
    int r;

    r = files_read(files, "oci-layout", MARKER_SIZE_MAX, &text, &len, err);
    if (r < 0)
        return err_prefix(err, "not an OCI layout");
    r = json_object_load(text, len, &json, err);
    free(text);
    if (r < 0)
        return err_prefix(err, "%s/oci-layout", files->path);
    if (!json_get_printable(json, "imageLayoutVersion", MARKER_SIZE_MAX) ||
        strncmp(json_get_printable(json, "imageLayoutVersion", MARKER_SIZE_MAX), "1.", 2) != 0)
        r = err_set(err, CLIP_EFORMAT, "%s/oci-layout: not version 1", files->path);
    json_decref(json);
    return r;
}

static int feed_file(struct resolver *resolver, const struct files *files, const char *name,
                     size_t max, struct clip_error *err)
{
    void *text;
    size_t len;
    int r;

    r = files_read(files, name, max, &text, &len, err);
    if (r < 0)
        return r;
    r = resolver_feed(resolver, text, len, NULL, err);
    free(text);
    if (r < 0)
        err_prefix(err, "%s/%s", files->path, name);
    return r;
}

static int run(struct resolver *resolver, const struct files *files, struct clip_error *err)
{
    char path[BLOB_PATH_LEN];
    int r;

    r = feed_file(resolver, files, "index.json", MANIFEST_SIZE_MAX, err);
    while (r == 1)
        r = feed_file(resolver, files, blob_path(&resolver->next.digest, path), CONFIG_SIZE_MAX,
                      err);
    return r;
}

int layout_resolve(const struct files *files, const struct layout_choice *choice,
                   struct manifest **out, struct clip_error *err)
{
    struct resolver resolver;
    int r;

    r = check_marker(files, err);
    if (r < 0)
        return r;
    r = resolver_init(&resolver, choice->platform, err);
    if (r < 0)
        return r;
    r = resolver_set_layout(&resolver, choice->name, choice->tag);
    if (r == 0)
        r = run(&resolver, files, err);
    else
        err_set(err, r, "out of memory for a tag");
    if (r == 0)
        *out = resolver_take(&resolver);
    resolver_fini(&resolver);
    return r;
}

int layout_find(const struct files *files, const struct descriptor *blob, struct file_part *out,
                struct clip_error *err)
{
    char path[BLOB_PATH_LEN];
    struct file_part part;
    int r;

    r = files_find(files, blob_path(&blob->digest, path), &part, err);
    if (r == -ENOENT && descriptor_is_foreign(blob))
        return err_prefix(err, "a layer that its publisher does not let others distribute");
    if (r < 0)
        return r;
    if (part.size != blob->size) {
        file_part_close(&part);
        return err_set(err, CLIP_EDIGEST, "%s/%s has %" PRIu64 " bytes, not %" PRIu64, files->path,
                       path, part.size, blob->size);
    }
    *out = part;
    return 0;
}
