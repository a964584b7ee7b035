/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The happy path of the list is:
 * - the caller's mirrors in their order, then those of a hosts.toml, then the registry itself.
 * - each gets a base URL, to which "blobs/..." and "manifests/..." are put, and an auth of its own:
 *   a mirror never sees the credentials that were given for the registry.
 * - where http is allowed and no scheme was written, both schemes are in the list, as twins: the
 *   first that answers takes the other one out.
 * Possible failure modes are: a mirror that is no URL, or http to another host without being asked,
 * a hosts.toml that cannot be read or wants what we will not do. All are told at once.
 */
#include "net/endpoint.h"

#include "engine/log.h"
#include "net/hosts_toml.h"
#include "net/url.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CERTS_DIR "/etc/containerd/certs.d"
#define HUB       "docker.io"
/* where that name's registry is */
#define HUB_HOST "registry-1.docker.io"

/* What goes into the list of all that are made for one reference. */
struct maker {
    struct endpoints *endpoints;
    struct clip_engine *engine;
    const struct ref *ref;
    const struct clip_source_options *options;
    struct clip_error *err;
};

/* One of them. */
struct place {
    const char *url;  /* https://host:port[/path], or without a scheme where `twin` is none */
    const char *ca;   /* instead of the caller's; or NULL */
    bool is_registry; /* the caller's credentials are for it */
    bool resolves;
    bool plain_http;
    bool path_is_api;  /* nothing is put between it and the repository */
    bool path_then_v2; /* containerd's order: PATH/v2/REPOSITORY; else /v2/PATH/REPOSITORY */
};

static int no_memory(struct clip_error *err)
{
    return err_set(err, -ENOMEM, "out of memory for a registry's address");
}

static bool copy(const char **out, const char *text)
{
    *out = text ? strdup(text) : NULL;
    return *out || !text;
}

static void endpoint_fini(struct endpoint *endpoint)
{
    auth_close(endpoint->auth);
    free(endpoint->base);
    free(endpoint->query);
    free((char *)endpoint->trust.ca_file);
    free((char *)endpoint->trust.certs_dir);
}

/* ------------------------------------------------------------------- one of them */

/* The URL's path without slashes around it and without a query. */
static char *trim_path(const struct url *url)
{
    const char *begin = url->target + strspn(url->target, "/");
    size_t len = strcspn(begin, "?");

    while (len > 0 && begin[len - 1] == '/')
        len--;
    return strndup(begin, len);
}

static bool starts_with_v2(const char *path)
{
    return strncmp(path, "v2", 2) == 0 && (path[2] == '\0' || path[2] == '/');
}

static bool ends_with_v2(const char *path)
{
    size_t len = strlen(path);

    return strcmp(path, "v2") == 0 || (len > 3 && strcmp(path + len - 3, "/v2") == 0);
}

/* Where the API is, and the repository as it is called there. */
static int join(const struct place *place, const char *path, const char *repository, char **out_api,
                char **out_repository)
{
    int r = 0, s = 0;

    if (place->path_is_api || (place->path_then_v2 && ends_with_v2(path))) {
        r = asprintf(out_api, "%s", path);
        s = asprintf(out_repository, "%s", repository);
    } else if (place->path_then_v2) {
        r = asprintf(out_api, "%s%sv2", path, *path ? "/" : "");
        s = asprintf(out_repository, "%s", repository);
    } else {
        const char *inner = starts_with_v2(path) ? path + 2 : path;
        inner += strspn(inner, "/");
        r = asprintf(out_api, "v2");
        s = asprintf(out_repository, "%s%s%s", inner, *inner ? "/" : "", repository);
    }
    if (r < 0)
        *out_api = NULL;
    if (s < 0)
        *out_repository = NULL;
    return *out_api && *out_repository ? 0 : -ENOMEM;
}

static int open_auth(struct maker *maker, const struct place *place, const struct url *url,
                     const char *repository, struct endpoint *out)
{
    char *authority = url_authority(url, false);
    struct auth_options options = {
        .registry = place->is_registry ? maker->ref->host : authority,
        .repository = repository,
        .creds = place->is_registry ? maker->options->creds : NULL,
        .authfile = maker->options->authfile,
        .trust = out->trust,
    };
    int r;

    if (!authority)
        return no_memory(maker->err);
    r = auth_open(maker->engine, &options, &out->auth, maker->err);
    free(authority);
    return r;
}

static int fill(struct maker *maker, const struct place *place, const struct url *url,
                const char *path, struct endpoint *out)
{
    const char *ca = place->ca ? place->ca : maker->options->ca_file;
    char *api = NULL, *repository = NULL;
    int r;

    out->trust.plain_http = place->plain_http;
    out->resolves = place->resolves;
    r = join(place, path, maker->ref->path, &api, &repository);
    if (r == 0 &&
        asprintf(&out->base, "%s/%s%s%s/", url->origin, api, *api ? "/" : "", repository) < 0)
        out->base = NULL;
    if (asprintf(&out->query, place->is_registry ? "%.0s" : "?ns=%s", maker->ref->host) < 0)
        out->query = NULL;
    if (r < 0 || !out->base || !out->query || !copy(&out->trust.ca_file, ca) ||
        !copy(&out->trust.certs_dir, maker->options->certs_dir))
        r = no_memory(maker->err);
    if (r == 0)
        r = open_auth(maker, place, url, repository, out);
    free(api);
    free(repository);
    return r;
}

static int check_scheme(struct maker *maker, const struct place *place, const struct url *url)
{
    if (url->tls || place->plain_http || url_host_is_loopback(url->host))
        return 0;
    return err_set(maker->err, -EINVAL,
                   "%s is not encrypted: write https://, or allow it with --plain-http",
                   url->shown);
}

static int add(struct maker *maker, const struct place *place)
{
    struct endpoints *endpoints = maker->endpoints;
    struct endpoint *endpoint = &endpoints->list[endpoints->n];
    struct url url;
    char *path;
    int r;

    if (endpoints->n == ENDPOINTS_MAX)
        return err_set(maker->err, -E2BIG, "more than %u mirrors", ENDPOINTS_MAX - 2);
    r = url_parse(place->url, &url, maker->err);
    if (r < 0)
        return r;
    path = trim_path(&url);
    r = path ? check_scheme(maker, place, &url) : no_memory(maker->err);
    if (r == 0) {
        endpoints->n++;
        r = fill(maker, place, &url, path, endpoint);
    }
    free(path);
    url_fini(&url);
    return r;
}

/* -------------------------------------------------------------------- all of them */

static int add_mirrors(struct maker *maker)
{
    int r = 0;

    for (const char *const *mirror = maker->options->mirrors; r == 0 && mirror && *mirror;
         mirror++) {
        const struct place place = {
            .url = *mirror, .resolves = true, .plain_http = maker->options->plain_http};
        r = add(maker, &place);
        if (r < 0 && maker->err)
            err_prefix(maker->err, "mirror");
    }
    return r;
}

static int add_entry(struct maker *maker, const struct hosts_entry *entry, bool is_registry)
{
    const struct place place = {
        .url = entry->url,
        .ca = entry->ca,
        .is_registry = is_registry,
        .resolves = entry->resolve,
        .plain_http = strncmp(entry->url, "http://", 7) == 0, /* who wrote it, asked for it */
        .path_is_api = entry->override_path,
        .path_then_v2 = true,
    };

    return entry->pull ? add(maker, &place) : 0;
}

/* host:port without what would be understood as a path of a URL's. */
static bool is_loopback(const char *host)
{
    char text[URL_HOST_MAX + 32];
    struct url url;
    bool r;

    snprintf(text, sizeof(text), "https://%s/", host);
    if (url_parse(text, &url, NULL) < 0)
        return false;
    r = url_host_is_loopback(url.host);
    url_fini(&url);
    return r;
}

static int add_by_scheme(struct maker *maker, const char *scheme)
{
    const char *host = strcmp(maker->ref->host, HUB) == 0 ? HUB_HOST : maker->ref->host;
    char url[URL_HOST_MAX + 64];
    const struct place place = {
        .url = url,
        .is_registry = true,
        .resolves = true,
        .plain_http = maker->options->plain_http,
        .path_then_v2 = true,
    };

    snprintf(url, sizeof(url), "%s://%s", scheme, host);
    return add(maker, &place);
}

/* On this machine most speak http; elsewhere https goes first, whatever else is allowed. */
static int add_registry(struct maker *maker)
{
    struct endpoints *endpoints = maker->endpoints;
    bool loopback = is_loopback(maker->ref->host);
    int r;

    if (!loopback && !maker->options->plain_http)
        return add_by_scheme(maker, "https");
    r = add_by_scheme(maker, loopback ? "http" : "https");
    if (r == 0)
        r = add_by_scheme(maker, loopback ? "https" : "http");
    if (r == 0) {
        struct endpoint *twins = &endpoints->list[endpoints->n - 2];
        twins[0].twin = &twins[1];
        twins[1].twin = &twins[0];
    }
    return r;
}

static bool names_hub(const char *url)
{
    struct url parsed;
    bool r;

    if (url_parse(url, &parsed, NULL) < 0)
        return false;
    r = strcmp(parsed.host, HUB) == 0;
    url_fini(&parsed);
    return r;
}

static int add_hosts(struct maker *maker, const struct hosts *hosts)
{
    int r = 0;

    for (unsigned i = 0; r == 0 && i < hosts->n; i++)
        r = add_entry(maker, &hosts->list[i], false);
    if (r < 0)
        return r;
    if (hosts->server.url && !names_hub(hosts->server.url))
        return add_entry(maker, &hosts->server, true);
    return add_registry(maker);
}

/* ------------------------------------------------------------------- hosts.toml */

/* -ENOENT if there is none. */
static int read_file(const char *path, char **out, size_t *out_len, struct clip_error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    ssize_t n = 0;
    char *text;

    if (fd < 0)
        return err_sys(err, errno == ENOTDIR ? -ENOENT : -errno, "%s", path);
    text = malloc(HOSTS_FILE_MAX + 1);
    *out_len = 0;
    while (text && *out_len <= HOSTS_FILE_MAX &&
           (n = read(fd, text + *out_len, HOSTS_FILE_MAX + 1 - *out_len)) > 0)
        *out_len += (size_t)n;
    close(fd);
    if (text && n == 0) {
        *out = text;
        return 0;
    }
    free(text);
    if (!text)
        return no_memory(err);
    return n < 0 ? err_sys(err, -errno, "%s", path)
                 : err_set(err, CLIP_EFORMAT, "%s is longer than %u bytes", path, HOSTS_FILE_MAX);
}

/* containerd writes a port as "host_5000_" where ':' is not liked in names; both are looked for. */
static void print_dir(const char *host, unsigned way, char *out, size_t out_len)
{
    const char *colon = strrchr(host, ':');

    if (way == 0 && colon && !strchr(colon, ']'))
        snprintf(out, out_len, "%.*s_%s_", (int)(colon - host), host, colon + 1);
    else
        snprintf(out, out_len, "%s", way == 2 ? "_default" : host);
}

static int read_hosts(struct maker *maker, struct hosts *out)
{
    const char *certs = maker->options->certs_dir ? maker->options->certs_dir : CERTS_DIR;
    char dir[URL_HOST_MAX + 32], path[4096], *text = NULL;
    size_t len = 0;
    int r = -ENOENT;

    for (unsigned way = 0; way < 3 && r == -ENOENT; way++) {
        print_dir(maker->ref->host, way, dir, sizeof(dir));
        if ((size_t)snprintf(path, sizeof(path), "%s/%s/hosts.toml", certs, dir) >= sizeof(path))
            return err_set(maker->err, -ENAMETOOLONG, "%s is too long a name", certs);
        r = read_file(path, &text, &len, maker->err);
    }
    if (r < 0)
        return r;
    r = hosts_parse(path, text, len, out, maker->err);
    free(text);
    if (r == 0)
        log_debug(maker->engine, "registry %s: %u mirrors by %s", maker->ref->host, out->n, path);
    return r;
}

/* ----------------------------------------------------------------------- public */

int endpoints_init(struct endpoints *endpoints, struct clip_engine *engine, const struct ref *ref,
                   const struct clip_source_options *options, struct clip_error *err)
{
    struct maker maker = {
        .endpoints = endpoints, .engine = engine, .ref = ref, .options = options, .err = err};
    struct hosts hosts = {0};
    int r;

    endpoints->n = 0;
    endpoints->list = calloc(ENDPOINTS_MAX, sizeof(endpoints->list[0]));
    if (!endpoints->list)
        return no_memory(err);
    r = add_mirrors(&maker);
    if (r < 0)
        goto fail;
    r = read_hosts(&maker, &hosts);
    if (r == -ENOENT)
        r = add_registry(&maker);
    else if (r == 0)
        r = add_hosts(&maker, &hosts);
    hosts_fini(&hosts);
    if (r < 0)
        goto fail;
    err_clear(err);
    return 0;

fail:
    endpoints_fini(endpoints);
    return r;
}

void endpoints_fini(struct endpoints *endpoints)
{
    for (unsigned i = 0; endpoints->list && i < endpoints->n; i++)
        endpoint_fini(&endpoints->list[i]);
    free(endpoints->list);
    endpoints->list = NULL;
    endpoints->n = 0;
}

void endpoint_settle(struct endpoint *endpoint)
{
    if (!endpoint->twin)
        return;
    endpoint->twin->is_off = true;
    endpoint->twin->twin = NULL;
    endpoint->twin = NULL;
}
