/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The happy path of an image is:
 * - document_parse() on what a tag leads to: an index, of which somebody picks an entry and comes
 *   back with its text, or a manifest with its layers' descriptors.
 * - manifest_set_config() adds what the config says. Whoever fetched the texts has checked them
 *   against their digests.
 * Possible failure modes are: anything that is not by the specification is refused with a sentence
 * and leaves nothing behind. A text that is an index to one reader and a manifest to another
 * (CVE-2021-41190) is refused too, for the digest would then name two images.
 */
#include "net/manifest.h"

#include "net/json.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define QUOTE_LEN 128

static const char *const layer_types[] = {
    "application/vnd.oci.image.layer.v1.tar",
    "application/vnd.oci.image.layer.v1.tar+gzip",
    "application/vnd.oci.image.layer.v1.tar+zstd",
    "application/vnd.oci.image.layer.nondistributable.v1.tar",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
    MEDIA_DOCKER_TAR,
    MEDIA_DOCKER_TAR_GZIP,
    "application/vnd.docker.image.rootfs.diff.tar.zstd",
    "application/vnd.docker.image.rootfs.foreign.diff.tar",
    "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
};

void descriptor_fini(struct descriptor *descriptor)
{
    free(descriptor->media_type);
    descriptor->media_type = NULL;
}

bool descriptor_is_foreign(const struct descriptor *descriptor)
{
    return descriptor->media_type && (strstr(descriptor->media_type, ".nondistributable.") ||
                                      strstr(descriptor->media_type, ".foreign."));
}

void manifest_free(struct manifest *manifest)
{
    if (!manifest)
        return;
    for (unsigned i = 0; manifest->layers && i < manifest->n_layers; i++)
        descriptor_fini(&manifest->layers[i]);
    free(manifest->layers);
    free(manifest->diff_ids);
    free(manifest->reference);
    free(manifest->media_type);
    free(manifest->platform);
    free(manifest->config);
    free(manifest);
}

void document_fini(struct document *document)
{
    for (unsigned i = 0; i < document->n_entries; i++) {
        descriptor_fini(&document->entries[i].blob);
        free(document->entries[i].tag);
        free(document->entries[i].name);
    }
    free(document->entries);
    manifest_free(document->manifest);
    descriptor_fini(&document->config);
    *document = (struct document){0};
}

/* -------------------------------------------------------------- descriptors */

static int bad_digest(const json_t *value, struct clip_error *err)
{
    char quoted[QUOTE_LEN];
    const char *text = json_string_value(value);

    if (!text)
        return err_set(err, CLIP_EFORMAT, "descriptor without a digest");
    return err_set(err, CLIP_EFORMAT, "\"%s\" is not a sha256 digest",
                   err_quote(text, json_string_length(value), quoted, sizeof(quoted)));
}

static int parse_descriptor(const json_t *json, struct descriptor *out, struct clip_error *err)
{
    const json_t *digest = json_object_get(json, "digest");
    const char *media_type = json_get_printable(json, "mediaType", MEDIA_TYPE_MAX - 1);
    struct descriptor parsed;

    if (!json_is_string(digest) || digest_parse(json_string_value(digest), &parsed.digest) < 0)
        return bad_digest(digest, err);
    if (json_get_size(json, "size", &parsed.size) < 0)
        return err_set(err, CLIP_EFORMAT, "descriptor of %s without a good size",
                       json_string_value(digest));
    if (!media_type)
        return err_set(err, CLIP_EFORMAT, "descriptor of %s without a good media type",
                       json_string_value(digest));
    parsed.media_type = strdup(media_type);
    if (!parsed.media_type)
        return err_set(err, -ENOMEM, "out of memory for a descriptor");
    *out = parsed;
    return 0;
}

/* ------------------------------------------------------------------ indexes */

static int copy_annotation(const json_t *json, const char *key, char **out)
{
    const json_t *annotations = json_object_get(json, "annotations");
    const char *text = json_get_printable(annotations, key, TAG_MAX);

    if (!text)
        return 0;
    *out = strdup(text);
    return *out ? 0 : -ENOMEM;
}

static bool is_attestation(const json_t *json, const struct platform *platform)
{
    return json_object_get(json_object_get(json, "annotations"), "vnd.docker.reference.type") ||
           strcmp(platform->os, "unknown") == 0;
}

/* A platform that cannot be read is one that nobody asks for. */
static void parse_platform(const json_t *json, struct platform *out)
{
    const char *os = json_get_printable(json, "os", PLATFORM_PART_MAX - 1);
    const char *arch = json_get_printable(json, "architecture", PLATFORM_PART_MAX - 1);
    const char *variant = json_get_printable(json, "variant", PLATFORM_PART_MAX - 1);

    if (!os || !arch || platform_set(os, arch, variant, out) < 0)
        *out = (struct platform){.os = "unknown", .arch = "unknown"};
}

static int parse_entry(const json_t *json, struct index_entry *out, struct clip_error *err)
{
    int r;

    r = parse_descriptor(json, &out->blob, err);
    if (r < 0)
        return r;
    if (json_object_get(json, "platform"))
        parse_platform(json_object_get(json, "platform"), &out->platform);
    out->is_attestation = is_attestation(json, &out->platform);
    if (copy_annotation(json, "org.opencontainers.image.ref.name", &out->tag) < 0 ||
        copy_annotation(json, "io.containerd.image.name", &out->name) < 0)
        return err_set(err, -ENOMEM, "out of memory for an image index");
    return 0;
}

static int parse_index(const json_t *json, struct document *out, struct clip_error *err)
{
    const json_t *entries = json_object_get(json, "manifests");
    size_t n = json_array_size(entries);
    int r;

    if (!json_is_array(entries))
        return err_set(err, CLIP_EFORMAT, "image index without a list of manifests");
    if (n > MANIFEST_ENTRIES_MAX)
        return err_set(err, CLIP_EFORMAT, "image index of %zu manifests; %u are allowed", n,
                       MANIFEST_ENTRIES_MAX);
    out->entries = calloc(n ? n : 1, sizeof(out->entries[0]));
    if (!out->entries)
        return err_set(err, -ENOMEM, "out of memory for an image index");
    for (size_t i = 0; i < n; i++) {
        out->n_entries++;
        r = parse_entry(json_array_get(entries, i), &out->entries[i], err);
        if (r < 0) {
            err_prefix(err, "image index, entry %zu", i + 1);
            return r;
        }
    }
    return 0;
}

/* ---------------------------------------------------------------- manifests */

static int check_layer(const struct descriptor *layer, uint64_t *total, struct clip_error *err)
{
    for (size_t i = 0; i < sizeof(layer_types) / sizeof(layer_types[0]); i++) {
        if (strcmp(layer->media_type, layer_types[i]) != 0)
            continue;
        if (__builtin_add_overflow(*total, layer->size, total) || *total > INT64_MAX)
            return err_set(err, CLIP_EFORMAT, "the layers' sizes add up to more than 2^63 bytes");
        return 0;
    }
    return err_set(err, CLIP_EFORMAT, "\"%s\" is not a file system layer", layer->media_type);
}

static int parse_layers(const json_t *json, struct manifest *manifest, struct clip_error *err)
{
    const json_t *layers = json_object_get(json, "layers");
    size_t n = json_array_size(layers);
    uint64_t total = 0;
    int r;

    if (!json_is_array(layers))
        return err_set(err, CLIP_EFORMAT, "manifest without a list of layers");
    if (n > MANIFEST_LAYERS_MAX)
        return err_set(err, CLIP_EFORMAT, "manifest of %zu layers; %u are allowed", n,
                       MANIFEST_LAYERS_MAX);
    manifest->layers = calloc(n ? n : 1, sizeof(manifest->layers[0]));
    if (!manifest->layers)
        return err_set(err, -ENOMEM, "out of memory for %zu layers", n);
    for (size_t i = 0; i < n; i++) {
        struct descriptor *layer = &manifest->layers[manifest->n_layers++];
        r = parse_descriptor(json_array_get(layers, i), layer, err);
        if (r == 0)
            r = check_layer(layer, &total, err);
        if (r < 0) {
            err_prefix(err, "layer %zu of %zu", i + 1, n);
            return r;
        }
    }
    return 0;
}

static int check_config(const struct descriptor *config, struct clip_error *err)
{
    if (strcmp(config->media_type, MEDIA_OCI_CONFIG) != 0 &&
        strcmp(config->media_type, MEDIA_DOCKER_CONFIG) != 0)
        return err_set(err, CLIP_EFORMAT, "not a container image: its config is of type \"%s\"",
                       config->media_type);
    if (config->size > CONFIG_SIZE_MAX)
        return err_set(err, CLIP_EFORMAT, "config of %" PRIu64 " bytes; %u are allowed",
                       config->size, CONFIG_SIZE_MAX);
    return 0;
}

static int parse_manifest(const json_t *json, const char *media_type, struct document *out,
                          struct clip_error *err)
{
    struct manifest *manifest;
    int r;

    manifest = out->manifest = calloc(1, sizeof(*manifest));
    if (!manifest)
        return err_set(err, -ENOMEM, "out of memory for a manifest");
    manifest->media_type = strdup(media_type);
    if (!manifest->media_type)
        return err_set(err, -ENOMEM, "out of memory for a manifest");
    r = parse_descriptor(json_object_get(json, "config"), &out->config, err);
    if (r < 0) {
        err_prefix(err, "config");
        return r;
    }
    r = check_config(&out->config, err);
    if (r < 0)
        return r;
    return parse_layers(json, manifest, err);
}

/* The type that all go by: the text's own, else what was said of it, else what it looks like. */
static const char *type_of(const json_t *json, const char *said)
{
    const char *own = json_get_printable(json, "mediaType", MEDIA_TYPE_MAX - 1);

    if (own)
        return own;
    if (said && (strcmp(said, MEDIA_OCI_INDEX) == 0 || strcmp(said, MEDIA_OCI_MANIFEST) == 0 ||
                 strcmp(said, MEDIA_DOCKER_LIST) == 0 || strcmp(said, MEDIA_DOCKER_MANIFEST) == 0))
        return said;
    return json_object_get(json, "manifests") ? MEDIA_OCI_INDEX : MEDIA_OCI_MANIFEST;
}

static int parse_either(const json_t *json, const char *type, struct document *out,
                        struct clip_error *err)
{
    uint64_t version = 0;

    if (json_get_size(json, "schemaVersion", &version) < 0 || version != 2)
        return err_set(err, CLIP_EFORMAT,
                       version == 1 ? "a manifest of Docker's schema 1, which is not supported: "
                                      "push the image again with a newer tool"
                                    : "not an image manifest of schema version 2");
    if (json_object_get(json, "manifests") &&
        (json_object_get(json, "layers") || json_object_get(json, "config")))
        return err_set(err, CLIP_EFORMAT, "both an image index and a manifest, refused");
    if (strcmp(type, MEDIA_OCI_INDEX) == 0 || strcmp(type, MEDIA_DOCKER_LIST) == 0)
        return parse_index(json, out, err);
    if (strcmp(type, MEDIA_OCI_MANIFEST) == 0 || strcmp(type, MEDIA_DOCKER_MANIFEST) == 0)
        return parse_manifest(json, type, out, err);
    return err_set(err, CLIP_EFORMAT, "\"%s\" is not the type of an image", type);
}

int document_parse(const void *text, size_t len, const char *media_type, struct document *out,
                   struct clip_error *err)
{
    struct document document = {0};
    json_t *json;
    int r;

    r = json_object_load(text, len, &json, err);
    if (r < 0)
        return r;
    r = parse_either(json, type_of(json, media_type), &document, err);
    json_decref(json);
    if (r < 0) {
        document_fini(&document);
        return r;
    }
    if (document.manifest)
        sha256_of(text, len, &document.manifest->digest);
    *out = document;
    return 0;
}

/* ------------------------------------------------------------------- config */

static int parse_diff_ids(const json_t *config, struct digest **out, unsigned *out_n,
                          struct clip_error *err)
{
    const json_t *ids = json_object_get(json_object_get(config, "rootfs"), "diff_ids");
    size_t n = json_array_size(ids);
    struct digest *parsed;

    if (!json_is_array(ids) && !json_is_null(ids))
        return err_set(err, CLIP_EFORMAT, "config: no rootfs.diff_ids");
    if (n > MANIFEST_LAYERS_MAX)
        return err_set(err, CLIP_EFORMAT, "config: %zu diff_ids; %u are allowed", n,
                       MANIFEST_LAYERS_MAX);
    parsed = calloc(n ? n : 1, sizeof(parsed[0]));
    if (!parsed)
        return err_set(err, -ENOMEM, "out of memory for %zu diff_ids", n);
    for (size_t i = 0; i < n; i++) {
        const json_t *id = json_array_get(ids, i);
        if (json_is_string(id) && digest_parse(json_string_value(id), &parsed[i]) == 0)
            continue;
        free(parsed);
        bad_digest(id, err);
        return err_prefix(err, "config: diff_id %zu", i + 1);
    }
    *out = parsed;
    *out_n = (unsigned)n;
    return 0;
}

int config_parse_diff_ids(const void *text, size_t len, struct digest **out, unsigned *out_n,
                          struct clip_error *err)
{
    json_t *json;
    int r;

    r = json_object_load(text, len, &json, err);
    if (r < 0) {
        err_prefix(err, "config");
        return r;
    }
    r = parse_diff_ids(json, out, out_n, err);
    json_decref(json);
    return r;
}

static int copy_config(struct manifest *manifest, const json_t *json, const void *text, size_t len)
{
    struct platform platform;
    char formatted[PLATFORM_TEXT_MAX];

    parse_platform(json, &platform);
    manifest->platform = strdup(platform_format(&platform, formatted));
    manifest->config = malloc(len + 1);
    if (!manifest->platform || !manifest->config)
        return -ENOMEM;
    memcpy(manifest->config, text, len);
    manifest->config[len] = '\0';
    manifest->config_len = len;
    return 0;
}

int manifest_set_config(struct manifest *manifest, const void *text, size_t len,
                        struct clip_error *err)
{
    json_t *json;
    unsigned n = 0;
    int r;

    r = json_object_load(text, len, &json, err);
    if (r < 0) {
        err_prefix(err, "config");
        return r;
    }
    r = parse_diff_ids(json, &manifest->diff_ids, &n, err);
    if (r == 0 && copy_config(manifest, json, text, len) < 0)
        r = err_set(err, -ENOMEM, "out of memory for the config");
    json_decref(json);
    if (r < 0)
        return r;
    if (n != manifest->n_layers)
        return err_set(err, CLIP_EFORMAT, "the manifest has %u layers, the config %u diff_ids",
                       manifest->n_layers, n);
    return 0;
}
