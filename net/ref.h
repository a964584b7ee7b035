/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names of images in registries, as docker reads them: [HOST[:PORT]/]REPO[:TAG][@sha256:DIGEST].
 * Pure; any thread.
 */
#ifndef CLIP_NET_REF_H
#define CLIP_NET_REF_H

#include "engine/digest.h"
#include "engine/err.h"

#define REF_MAX      1024u /* bytes of all */
#define REF_TAG_MAX  128u
#define REF_PATH_MAX 255u

struct ref {
    char *host;      /* with a port if there is one: "docker.io", "localhost:5000", "[::1]:5000" */
    char *path;      /* "library/alpine" */
    char *tag;       /* NULL if only a digest was given */
    char *canonical; /* host/path[:tag][@digest]; parses to the same again */
    bool has_digest;
    struct digest digest;
};

/* A name without a host is Docker Hub's, one without a path there in library/, one without tag and
 * digest :latest. -EINVAL with a sentence. */
int ref_parse(const char *text, struct ref **out, struct clip_error *err);
void ref_free(struct ref *ref); /* NULL is allowed */

/* The canonical name with this digest for what was there: malloc'ed, NULL: no memory. */
char *ref_pin(const struct ref *ref, const struct digest *digest);

#endif
