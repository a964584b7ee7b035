/* SPDX-License-Identifier: Apache-2.0 */
/* Text is put together with snprintf: what a test wants to be wrong, JSON libraries put right. */
#include "test/lib/layout.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

void layout_set_up(struct test_layout *layout)
{
    char path[128];

    *layout = (struct test_layout){.dir = "/tmp/clip-layout-XXXXXX"};
    cr_assert_not_null(mkdtemp(layout->dir));
    snprintf(path, sizeof(path), "%s/blobs", layout->dir);
    cr_assert_eq(mkdir(path, 0755), 0);
    snprintf(path, sizeof(path), "%s/blobs/sha256", layout->dir);
    cr_assert_eq(mkdir(path, 0755), 0);
}

void layout_tear_down(struct test_layout *layout)
{
    char command[128];

    snprintf(command, sizeof(command), "rm -rf -- '%s'", layout->dir);
    cr_assert_eq(system(command), 0);
}

void layout_write(const struct test_layout *layout, const char *name, const void *bytes, size_t len)
{
    char path[256];
    FILE *file;

    snprintf(path, sizeof(path), "%s/%s", layout->dir, name);
    file = fopen(path, "w");
    cr_assert_not_null(file);
    cr_assert_eq(fwrite(bytes, 1, len, file), len);
    fclose(file);
}

struct layout_blob layout_add_blob(const struct test_layout *layout, const char *media_type,
                                   const void *bytes, size_t len)
{
    struct layout_blob blob;
    struct digest digest;
    char name[96];

    sha256_of(bytes, len, &digest);
    digest_format(&digest, blob.digest);
    snprintf(name, sizeof(name), "blobs/sha256/%.64s", blob.digest + 7);
    snprintf(blob.path, sizeof(blob.path), "%s/%.90s", layout->dir, name);
    snprintf(blob.json, sizeof(blob.json), "\"mediaType\":\"%s\",\"digest\":\"%s\",\"size\":%zu",
             media_type, blob.digest, len);
    layout_write(layout, name, bytes, len);
    return blob;
}

struct layout_blob layout_add_image(const struct test_layout *layout, const char *arch,
                                    const struct layout_blob *layers, unsigned n_layers)
{
    char text[LAYOUT_TEXT_MAX], *at = text;
    struct layout_blob config;

    at += sprintf(at,
                  "{\"os\":\"linux\",\"architecture\":\"%s\",\"rootfs\":{\"type\":\"layers\","
                  "\"diff_ids\":[",
                  arch);
    for (unsigned i = 0; i < n_layers; i++)
        at += sprintf(at, "%s\"%s\"", i ? "," : "", layers[i].digest);
    at += sprintf(at, "]}}");
    config = layout_add_blob(layout, MEDIA_OCI_CONFIG, text, (size_t)(at - text));

    at = text;
    at += sprintf(at, "{\"schemaVersion\":2,\"config\":{%s},\"layers\":[", config.json);
    for (unsigned i = 0; i < n_layers; i++)
        at += sprintf(at, "%s{%s}", i ? "," : "", layers[i].json);
    at += sprintf(at, "]}");
    return layout_add_blob(layout, MEDIA_OCI_MANIFEST, text, (size_t)(at - text));
}

struct layout_blob layout_add_index(const struct test_layout *layout, const char *entries)
{
    char text[LAYOUT_TEXT_MAX];
    int len = snprintf(text, sizeof(text), "{\"schemaVersion\":2,\"manifests\":[%s]}", entries);

    return layout_add_blob(layout, MEDIA_OCI_INDEX, text, (size_t)len);
}

void layout_add_entry(struct test_layout *layout, const struct layout_blob *blob, const char *extra)
{
    size_t used = strlen(layout->index);

    snprintf(layout->index + used, sizeof(layout->index) - used, "%s{%s%s}",
             layout->n_entries++ ? "," : "", blob->json, extra);
}

void layout_finish(struct test_layout *layout)
{
    static const char marker[] = "{\"imageLayoutVersion\":\"1.0.0\"}";
    char text[LAYOUT_TEXT_MAX + 64];
    int len =
        snprintf(text, sizeof(text), "{\"schemaVersion\":2,\"manifests\":[%s]}", layout->index);

    layout_write(layout, "oci-layout", marker, strlen(marker));
    layout_write(layout, "index.json", text, (size_t)len);
}
