/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The happy path is:
 * - docker_archive_open() reads manifest.json, picks an image, reads its config, and finds each
 *   layer's bytes. A layer that is plain tar has its diff_id for digest: nothing is hashed here,
 *   whoever streams it checks that. A compressed one is hashed, unless its name says its digest.
 * - resolve and find answer from that.
 * Possible failure modes are: texts that are not as docker writes them, files that are missing, no
 * or more than one image that fits.
 */
#include "net/docker_archive.h"

#include "net/json.h"
#include "net/ref.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define HASH_SIZE (256u << 10)
#define PATH_LEN  1024u

struct saved_layer {
    struct descriptor blob;
    char *path;
};

struct docker_archive {
    const struct files *files;
    const char *name;
    void *config;
    size_t config_len;
    struct digest *diff_ids;
    unsigned n_diff_ids;
    struct saved_layer *layers;
    unsigned n_layers;
};

void docker_archive_free(struct docker_archive *archive)
{
    if (!archive)
        return;
    for (unsigned i = 0; i < archive->n_layers; i++) {
        descriptor_fini(&archive->layers[i].blob);
        free(archive->layers[i].path);
    }
    free(archive->layers);
    free(archive->diff_ids);
    free(archive->config);
    free(archive);
}

/* ------------------------------------------------------------------ choosing */

static bool same_reference(const char *a, const char *b)
{
    struct ref *x = NULL, *y = NULL;
    bool same = strcmp(a, b) == 0;

    if (!same && ref_parse(a, &x, NULL) == 0 && ref_parse(b, &y, NULL) == 0)
        same = strcmp(x->canonical, y->canonical) == 0;
    ref_free(x);
    ref_free(y);
    return same;
}

static bool is_tagged(const json_t *image, const char *tag)
{
    const json_t *tags = json_object_get(image, "RepoTags"), *value;
    size_t i;

    json_array_foreach(tags, i, value)
    {
        if (json_is_string(value) && same_reference(json_string_value(value), tag))
            return true;
    }
    return false;
}

static const json_t *choose(const json_t *images, const char *name, const char *tag,
                            struct clip_error *err)
{
    char quoted[256];
    const json_t *image;
    size_t i;

    if (!tag && json_array_size(images) == 1)
        return json_array_get(images, 0);
    if (!tag) {
        err_set(err, -EINVAL, "%s holds %zu images; add :NAME:TAG of one of them", name,
                json_array_size(images));
        return NULL;
    }
    json_array_foreach(images, i, image)
    {
        if (is_tagged(image, tag))
            return image;
    }
    err_set(err, -ENOENT, "%s holds no image \"%s\"", name,
            err_quote(tag, strlen(tag), quoted, sizeof(quoted)));
    return NULL;
}

/* -------------------------------------------------------------------- layers */

/* Skopeo names files by their digest, and so does a layout. */
static bool digest_from_path(const char *path, struct digest *out)
{
    static const char dir[] = "blobs/sha256/";
    char text[DIGEST_TEXT_LEN + 1] = "sha256:";

    if (strncmp(path, dir, sizeof(dir) - 1) != 0 || strlen(path) != sizeof(dir) - 1 + 64)
        return false;
    strcat(text, path + sizeof(dir) - 1);
    return digest_parse(text, out) == 0;
}

static int hash_part(const struct file_part *part, struct digest *out, struct clip_error *err)
{
    struct sha256 sha;
    void *buf = malloc(HASH_SIZE);
    int r = 0;

    if (!buf)
        return err_set(err, -ENOMEM, "out of memory for hashing");
    sha256_init(&sha);
    for (uint64_t off = 0; off < part->size && r == 0;) {
        uint64_t left = part->size - off;
        size_t len = left < HASH_SIZE ? (size_t)left : HASH_SIZE;
        r = file_part_read(part, off, buf, len, err);
        sha256_update(&sha, buf, len);
        off += len;
    }
    sha256_final(&sha, out);
    free(buf);
    return r;
}

static int describe(struct docker_archive *archive, unsigned i, const struct file_part *part,
                    struct clip_error *err)
{
    struct saved_layer *layer = &archive->layers[i];
    unsigned char magic[4] = {0};
    bool gzip, zstd;
    int r;

    r = file_part_read(part, 0, magic, part->size < 4 ? (size_t)part->size : 4, err);
    if (r < 0)
        return r;
    gzip = magic[0] == 0x1f && magic[1] == 0x8b;
    zstd = memcmp(magic, "\x28\xb5\x2f\xfd", 4) == 0;
    layer->blob.size = part->size;
    layer->blob.media_type = strdup(gzip   ? MEDIA_DOCKER_TAR_GZIP
                                    : zstd ? MEDIA_DOCKER_TAR ".zstd"
                                           : MEDIA_DOCKER_TAR);
    if (!layer->blob.media_type)
        return err_set(err, -ENOMEM, "out of memory for a layer");
    if (!gzip && !zstd)
        layer->blob.digest = archive->diff_ids[i];
    else if (!digest_from_path(layer->path, &layer->blob.digest))
        return hash_part(part, &layer->blob.digest, err);
    return 0;
}

static int open_layer(struct docker_archive *archive, unsigned i, const json_t *path,
                      struct clip_error *err)
{
    struct file_part part;
    int r;

    if (!json_is_string(path) || json_string_length(path) >= PATH_LEN)
        return err_set(err, CLIP_EFORMAT, "manifest.json: a layer without a name");
    archive->layers[i].path = strdup(json_string_value(path));
    if (!archive->layers[i].path)
        return err_set(err, -ENOMEM, "out of memory for a layer");
    r = files_find(archive->files, archive->layers[i].path, &part, err);
    if (r < 0)
        return r;
    r = describe(archive, i, &part, err);
    file_part_close(&part);
    return r;
}

static int open_layers(struct docker_archive *archive, const json_t *paths, struct clip_error *err)
{
    uint64_t total = 0;
    int r;

    if (json_array_size(paths) != archive->n_diff_ids)
        return err_set(err, CLIP_EFORMAT, "manifest.json has %zu layers, the config %u diff_ids",
                       json_array_size(paths), archive->n_diff_ids);
    archive->layers = calloc(archive->n_diff_ids + 1, sizeof(archive->layers[0]));
    if (!archive->layers)
        return err_set(err, -ENOMEM, "out of memory for %u layers", archive->n_diff_ids);
    while (archive->n_layers < archive->n_diff_ids) {
        unsigned i = archive->n_layers++;
        r = open_layer(archive, i, json_array_get(paths, i), err);
        if (r < 0)
            return r;
        /* entries of a file may lie over each other, so that the sum is not bounded by it */
        if (__builtin_add_overflow(total, archive->layers[i].blob.size, &total) ||
            total > INT64_MAX)
            return err_set(err, CLIP_EFORMAT, "the layers' sizes add up to more than 2^63 bytes");
    }
    return 0;
}

static int open_image(struct docker_archive *archive, const json_t *image, struct clip_error *err)
{
    const char *config = json_get_printable(image, "Config", PATH_LEN);
    int r;

    if (!config)
        return err_set(err, CLIP_EFORMAT, "manifest.json names no config");
    r = files_read(archive->files, config, CONFIG_SIZE_MAX, &archive->config, &archive->config_len,
                   err);
    if (r == 0)
        r = config_parse_diff_ids(archive->config, archive->config_len, &archive->diff_ids,
                                  &archive->n_diff_ids, err);
    if (r == 0)
        r = open_layers(archive, json_object_get(image, "Layers"), err);
    return r;
}

static int read_images(const struct files *files, json_t **out, struct clip_error *err)
{
    void *text;
    size_t len;
    int r;

    r = files_read(files, "manifest.json", MANIFEST_SIZE_MAX, &text, &len, err);
    if (r < 0)
        return err_prefix(err, "not a docker archive");
    r = json_array_load(text, len, out, err);
    free(text);
    return r < 0 ? err_prefix(err, "manifest.json") : 0;
}

int docker_archive_open(const struct files *files, const char *name, const char *tag,
                        struct docker_archive **out, struct clip_error *err)
{
    struct docker_archive *archive;
    const json_t *image;
    json_t *images;
    int r;

    r = read_images(files, &images, err);
    if (r < 0)
        return r;
    archive = calloc(1, sizeof(*archive));
    image = choose(images, name, tag, err);
    if (!archive)
        r = err_set(err, -ENOMEM, "out of memory for %s", name);
    else if (!image)
        r = err->code;
    if (r == 0) {
        archive->files = files;
        archive->name = name;
        r = open_image(archive, image, err);
    }
    json_decref(images);
    if (r < 0) {
        docker_archive_free(archive);
        return r;
    }
    *out = archive;
    return 0;
}

/* ------------------------------------------------------------------- answers */

static int copy_layers(const struct docker_archive *archive, struct manifest *manifest)
{
    manifest->layers = calloc(archive->n_layers + 1, sizeof(manifest->layers[0]));
    if (!manifest->layers)
        return -ENOMEM;
    for (; manifest->n_layers < archive->n_layers; manifest->n_layers++) {
        const struct descriptor *from = &archive->layers[manifest->n_layers].blob;
        struct descriptor *to = &manifest->layers[manifest->n_layers];
        *to = *from;
        to->media_type = strdup(from->media_type);
        if (!to->media_type)
            return -ENOMEM;
    }
    manifest->media_type = strdup(MEDIA_DOCKER_CONFIG);
    return manifest->media_type ? 0 : -ENOMEM;
}

static int check_platform(const struct manifest *manifest, const char *platform,
                          struct clip_error *err)
{
    struct platform want, has;
    int r;

    if (!platform)
        return 0;
    r = platform_parse(platform, &want, err);
    if (r == 0)
        r = platform_parse(manifest->platform, &has, err);
    if (r == 0 && platform_match(&want, &has) == 0)
        r = err_set(err, -ENOENT, "the image is for %s, not for %s", manifest->platform, platform);
    return r;
}

int docker_archive_resolve(const struct docker_archive *archive, const char *platform,
                           struct manifest **out, struct clip_error *err)
{
    struct manifest *manifest = calloc(1, sizeof(*manifest));
    int r;

    if (!manifest || copy_layers(archive, manifest) < 0) {
        manifest_free(manifest);
        return err_set(err, -ENOMEM, "out of memory for a manifest");
    }
    sha256_of(archive->config, archive->config_len, &manifest->digest);
    r = manifest_set_config(manifest, archive->config, archive->config_len, err);
    if (r == 0)
        r = check_platform(manifest, platform, err);
    if (r < 0) {
        manifest_free(manifest);
        return r;
    }
    *out = manifest;
    return 0;
}

int docker_archive_find(const struct docker_archive *archive, const struct descriptor *blob,
                        struct file_part *out, struct clip_error *err)
{
    char digest[DIGEST_TEXT_LEN + 1];

    for (unsigned i = 0; i < archive->n_layers; i++) {
        const struct saved_layer *layer = &archive->layers[i];
        if (digest_equal(&layer->blob.digest, &blob->digest) && layer->blob.size == blob->size)
            return files_find(archive->files, layer->path, out, err);
    }
    return err_set(err, -ENOENT, "%s has no layer %s of %" PRIu64 " bytes", archive->name,
                   digest_format(&blob->digest, digest), blob->size);
}
