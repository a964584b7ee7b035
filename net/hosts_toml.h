/* SPDX-License-Identifier: Apache-2.0 */
/*
 * containerd's hosts.toml: which mirrors stand before a registry, in the order of the file, and by
 * which CA they are known. Of TOML just what such files are made of: tables, strings, booleans,
 * arrays. Pure; any thread.
 *
 * What would make a connection less safe or cannot be done is refused with a sentence: skip_verify,
 * header, client (whose files clip looks for in the directory of the host). Keys that clip does not
 * know are passed over, as containerd does.
 */
#ifndef CLIP_NET_HOSTS_TOML_H
#define CLIP_NET_HOSTS_TOML_H

#include "engine/err.h"

#define HOSTS_FILE_MAX (256u << 10)
#define HOSTS_MAX      12u

struct hosts_entry {
    char *url; /* as written, a scheme always there */
    char *ca;  /* a file, or NULL */
    bool pull, resolve;
    bool override_path; /* the URL's path is the API's, without /v2 behind it */
};

struct hosts {
    struct hosts_entry list[HOSTS_MAX];
    unsigned n;
    struct hosts_entry server; /* where the registry itself is; url NULL: where its name says */
};

/* `name` is the file's; relative CA files are beside it. CLIP_EFORMAT with the line, -ENOTSUP. */
int hosts_parse(const char *name, const void *text, size_t len, struct hosts *out,
                struct clip_error *err);
void hosts_fini(struct hosts *hosts); /* harmless for a zeroed one */

#endif
