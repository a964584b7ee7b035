/* SPDX-License-Identifier: Apache-2.0 */
/* What a registry or a layout says of an image: index, manifest, config of any bytes, alone and on
 * the resolver's way. */
#include "net/resolver.h"

#include <assert.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static void resolve(const uint8_t *bytes, size_t len, const char *layout, const char *tag)
{
    struct clip_error err = {0};
    struct resolver resolver;
    int r;

    resolver_init(&resolver, "linux/amd64", NULL);
    if (layout)
        resolver_set_layout(&resolver, layout, tag);
    r = resolver_feed(&resolver, bytes, len, NULL, &err);
    assert(r == 1 || (r < 0 && err.message[0]));
    /* the next text has the wrong digest, whatever it is */
    if (r == 1)
        assert(resolver_feed(&resolver, bytes, len, NULL, &err) < 0);
    resolver_fini(&resolver);
}

static void parse_config(const uint8_t *bytes, size_t len)
{
    struct digest *diff_ids;
    unsigned n;

    if (config_parse_diff_ids(bytes, len, &diff_ids, &n, NULL) == 0)
        free(diff_ids);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct document document;

    if (document_parse(bytes, len, MEDIA_OCI_INDEX, &document, NULL) == 0)
        document_fini(&document);
    if (document_parse(bytes, len, MEDIA_DOCKER_MANIFEST, &document, NULL) == 0) {
        if (document.manifest)
            manifest_set_config(document.manifest, bytes, len, NULL);
        document_fini(&document);
    }
    resolve(bytes, len, NULL, NULL);
    resolve(bytes, len, "oci:x", NULL);
    resolve(bytes, len, "oci:x", "a");
    parse_config(bytes, len);
    return 0;
}
