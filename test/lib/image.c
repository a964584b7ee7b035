/* SPDX-License-Identifier: Apache-2.0 */
/* libarchive writes the tar, zlib and zstd compress it, and the JSON is small enough for printf.
 * What fails here is the test's environment: abort() says where. */
#include "test/lib/image.h"

#include "engine/digest.h"

#include <archive.h>
#include <archive_entry.h>
#include <assert.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#define TAR_MAX (256u << 20)

static void must(bool ok, const char *what)
{
    if (ok)
        return;
    perror(what);
    abort();
}

static void write_file(const char *path, const void *bytes, size_t len)
{
    FILE *file = fopen(path, "wb");

    must(file && fwrite(bytes, 1, len, file) == len && fclose(file) == 0, path);
}

/* Stores a blob and says its digest. */
static void write_blob(struct test_image *image, const void *bytes, size_t len, char *out_digest,
                       char *out_path)
{
    struct digest digest;
    char path[160];

    sha256_of(bytes, len, &digest);
    digest_format(&digest, out_digest);
    snprintf(path, sizeof(path), "%s/blobs/sha256/%s", image->dir, out_digest + 7);
    strcpy(out_path, path);
    write_file(path, bytes, len);
}

void image_set_up(struct test_image *image)
{
    char path[160];

    memset(image, 0, sizeof(*image));
    strcpy(image->dir, "/tmp/clip-test-XXXXXX");
    must(mkdtemp(image->dir) != NULL, image->dir);
    sprintf(image->source, "oci:%s:latest", image->dir);
    sprintf(path, "%s/blobs", image->dir);
    must(mkdir(path, 0755) == 0, path);
    strcat(path, "/sha256");
    must(mkdir(path, 0755) == 0, path);
    image->layers_json = strdup("");
    image->diff_ids_json = strdup("");
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

void image_tear_down(struct test_image *image)
{
    nftw(image->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(image->tar);
    free(image->layers_json);
    free(image->diff_ids_json);
}

void image_layer_begin(struct test_image *image)
{
    image->tar_cap = TAR_MAX;
    if (!image->tar) /* a sanitizer would copy all of it at a realloc */
        image->tar = malloc(image->tar_cap);
    image->archive = archive_write_new();
    archive_write_set_format_pax_restricted(image->archive);
    must(image->tar && archive_write_open_memory(image->archive, image->tar, image->tar_cap,
                                                 &image->tar_len) == ARCHIVE_OK,
         "tar");
}

static struct archive_entry *entry_new(const char *path, mode_t mode)
{
    struct archive_entry *entry = archive_entry_new();

    archive_entry_set_pathname(entry, path);
    archive_entry_set_mode(entry, mode);
    archive_entry_set_mtime(entry, 1700000000, 0);
    return entry;
}

void image_add(struct test_image *image, const char *path, mode_t mode, const void *bytes,
               size_t len)
{
    struct archive_entry *entry = entry_new(path, mode);

    archive_entry_set_size(entry, (int64_t)len);
    must(archive_write_header(image->archive, entry) == ARCHIVE_OK, path);
    must(len == 0 || archive_write_data(image->archive, bytes, len) == (ssize_t)len, path);
    archive_entry_free(entry);
}

void image_add_link(struct test_image *image, const char *path, mode_t type, const char *target)
{
    struct archive_entry *entry = entry_new(path, (type == S_IFLNK ? type : S_IFREG) | 0777);

    archive_entry_set_size(entry, 0);
    if (type == S_IFLNK)
        archive_entry_set_symlink(entry, target);
    else
        archive_entry_set_hardlink(entry, target);
    must(archive_write_header(image->archive, entry) == ARCHIVE_OK, path);
    archive_entry_free(entry);
}

static size_t gzip(const void *in, size_t len, uint8_t *out, size_t cap)
{
    z_stream z = {.next_in = (Bytef *)in, .avail_in = (uInt)len};

    z.next_out = out;
    z.avail_out = (uInt)cap;
    deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
    must(deflate(&z, Z_FINISH) == Z_STREAM_END, "deflate");
    deflateEnd(&z);
    return cap - z.avail_out;
}

static size_t compress_tar(const struct test_image *image, enum codec codec, uint8_t *out,
                           size_t cap)
{
    if (codec == CODEC_GZIP)
        return gzip(image->tar, image->tar_len, out, cap);
    if (codec == CODEC_ZSTD)
        return ZSTD_compress(out, cap, image->tar, image->tar_len, 3);
    memcpy(out, image->tar, image->tar_len);
    return image->tar_len;
}

static void append(char **text, const char *more)
{
    size_t len = strlen(*text);

    *text = realloc(*text, len + strlen(more) + 2);
    must(*text != NULL, "append");
    sprintf(*text + len, "%s%s", len ? "," : "", more);
}

void image_layer_end(struct test_image *image, enum codec codec)
{
    static const char *const suffixes[] = {"", "+gzip", "+zstd"};
    size_t cap = ZSTD_compressBound(TAR_MAX);
    char digest[DIGEST_TEXT_LEN + 1];
    char json[512];
    struct digest diff_id;
    uint8_t *blob;

    must(archive_write_close(image->archive) == ARCHIVE_OK, "tar");
    archive_write_free(image->archive);
    cap = ZSTD_compressBound(image->tar_len) + 4096;
    blob = malloc(cap);
    must(blob && image->n_layers < IMAGE_LAYERS_MAX, "blob");
    image->layers[image->n_layers].size = compress_tar(image, codec, blob, cap);
    write_blob(image, blob, image->layers[image->n_layers].size, digest,
               image->layers[image->n_layers].path);
    free(blob);
    sprintf(json,
            "{\"mediaType\":\"application/vnd.oci.image.layer.v1.tar%s\",\"digest\":\"%s\","
            "\"size\":%zu}",
            suffixes[codec], digest, image->layers[image->n_layers].size);
    append(&image->layers_json, json);
    sha256_of(image->tar, image->tar_len, &diff_id);
    sprintf(json, "\"%s\"", digest_format(&diff_id, digest));
    append(&image->diff_ids_json, json);
    image->n_layers++;
}

void image_finish(struct test_image *image)
{
    char path[160], config[DIGEST_TEXT_LEN + 1], manifest[DIGEST_TEXT_LEN + 1];
    char *json;
    int config_len, len;

    config_len = asprintf(&json,
                          "{\"architecture\":\"amd64\",\"os\":\"linux\",\"config\":{\"Cmd\":"
                          "[\"/bin/sh\"]},\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[%s]}}",
                          image->diff_ids_json);
    write_blob(image, json, (size_t)config_len, config, path);
    free(json);
    len = asprintf(&json,
                   "{\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.image.manifest.v1+"
                   "json\",\"config\":{\"mediaType\":\"application/vnd.oci.image.config.v1+json\","
                   "\"digest\":\"%s\",\"size\":%d},\"layers\":[%s]}",
                   config, config_len, image->layers_json);
    write_blob(image, json, (size_t)len, manifest, path);
    free(json);
    config_len = len;
    len = asprintf(&json,
                   "{\"schemaVersion\":2,\"manifests\":[{\"mediaType\":\"application/vnd.oci.image."
                   "manifest.v1+json\",\"digest\":\"%s\",\"size\":%d,\"annotations\":{\"org."
                   "opencontainers.image.ref.name\":\"latest\"}}]}",
                   manifest, config_len);
    sprintf(path, "%s/index.json", image->dir);
    write_file(path, json, (size_t)len);
    free(json);
    sprintf(path, "%s/oci-layout", image->dir);
    write_file(path, "{\"imageLayoutVersion\":\"1.0.0\"}", 30);
}

void image_noise(uint8_t *out, size_t len, uint32_t seed)
{
    uint32_t x = seed * 2654435761u + 1;

    for (size_t i = 0; i < len; i++) {
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        out[i] = (uint8_t)("0123456789abcdef"[x & 15]);
    }
}
