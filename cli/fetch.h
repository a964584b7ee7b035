/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How the blobs of one mount are fetched, as it comes in a request: `--source` and the registry
 * options of the client that asked, owned. Containers share a mounted image only if they agree.
 */
#ifndef CLIP_CLI_FETCH_H
#define CLIP_CLI_FETCH_H

#include "source.h"

#include <clip.h>
#include <jansson.h>

struct fetch {
    char *source, *platform, *creds, *authfile, *ca_file, *certs_dir;
    char *mirrors[ARGS_LIST_MAX + 1];
    bool plain_http;
};

/* Takes the members of `object` that are about fetching. 0, -EINVAL with a sentence, -ENOMEM. */
int fetch_read(json_t *object, struct fetch *out, struct clip_error *err);
void fetch_fini(struct fetch *fetch);
bool fetch_same(const struct fetch *a, const struct fetch *b);
int fetch_copy(const struct fetch *from, struct fetch *out);

/* Valid while `fetch` is. */
struct clip_source_options fetch_net(const struct fetch *fetch);

/* The client's side: what its options say, into a request. Paths become absolute, because clipd
 * works in another directory. 0, or 1 after a sentence. */
int fetch_write(json_t *object, const struct source *source, const char *blobs);
/* An absolute form of `path`, or of the path in "oci:PATH"; others as they are. malloc'ed. */
char *fetch_absolute(const char *image);
char *fetch_absolute_path(const char *path);

#endif
