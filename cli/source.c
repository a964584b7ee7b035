/* SPDX-License-Identifier: Apache-2.0 */
/* The tables only name fields; what NULL and zero mean is the library's business (clip.h). */
#include "source.h"

#include <string.h>
#include <sys/stat.h>

const struct args_option source_options[] = {
    {"creds", 0, ARGS_SECRET, "USER:PASS", "log in to the registry with these",
     offsetof(struct source, net.creds)},
    {"authfile", 0, ARGS_TEXT, "FILE",
     "read logins from FILE (default: $DOCKER_CONFIG, then\n"
     "docker's and containers' own places)",
     offsetof(struct source, net.authfile)},
    {"ca-file", 0, ARGS_TEXT, "FILE", "trust the certificates in FILE (PEM) too",
     offsetof(struct source, net.ca_file)},
    {"certs-dir", 0, ARGS_TEXT, "DIR", "a certs.d directory: CA and client certificates by host",
     offsetof(struct source, net.certs_dir)},
    {"mirror", 0, ARGS_LIST, "URL", "ask URL before the registry; may be given again",
     offsetof(struct source, mirrors)},
    {"plain-http", 0, ARGS_FLAG, NULL, "allow http:// to hosts other than this one",
     offsetof(struct source, net.plain_http)},
    {NULL, 0, ARGS_FLAG, NULL, NULL, 0},
};

const struct args_option reading_options[] = {
    {"source", 0, ARGS_TEXT, "IMAGE",
     "read the blobs from IMAGE instead of where the index\n"
     "says: a moved layout, another registry",
     offsetof(struct reading, source)},
    {"cache-dir", 0, ARGS_TEXT, "DIR", "keep decoded spans in DIR",
     offsetof(struct reading, cache_dir)},
    {"cache-size", 0, ARGS_SIZE, "SIZE", "use at most SIZE of the disk, e.g. 20GiB",
     offsetof(struct reading, cache_size)},
    {NULL, 0, ARGS_FLAG, NULL, NULL, 0},
};

bool source_is_index(const char *name)
{
    struct stat st;
    size_t len = strlen(name);
    if (stat(name, &st) == 0 && S_ISREG(st.st_mode))
        return true;
    return name[0] == '/' || name[0] == '.' || (len > 5 && strcmp(name + len - 5, ".clip") == 0);
}

struct clip_source_options source_net(const struct source *source)
{
    struct clip_source_options net = source->net;
    net.mirrors = source->mirrors[0] ? source->mirrors : NULL;
    return net;
}

struct clip_reader_options source_reader(const struct source *source, const struct reading *reading)
{
    return (struct clip_reader_options){
        .source = reading->source,
        .cache_dir = reading->cache_dir,
        .cache_size = reading->cache_size,
        .net = source_net(source),
    };
}
