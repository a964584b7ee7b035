/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A reference is taken apart from its end: a digest behind '@', a tag behind the last ':' that has
 * no '/' after it, then the host, if what stands before the first '/' looks like one: it has a '.'
 * or a ':', upper-case letters, or is "localhost". Then each part is held against its grammar
 * (distribution/reference).
 * Failure: anything else, refused with a sentence that says which part is wrong.
 */
#include "net/ref.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOWER "abcdefghijklmnopqrstuvwxyz"
#define UPPER "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGIT "0123456789"
#define HEX   DIGIT "abcdefABCDEF"

static bool is_one_of(char c, const char *set)
{
    return c != '\0' && strchr(set, c) != NULL;
}

/* The length of ".", "_", "__" or "-"*, which may stand between letters of a path's part. */
static size_t separator_len(const char *text)
{
    if (*text == '.')
        return 1;
    if (*text == '_')
        return text[1] == '_' ? 2 : 1;
    return strspn(text, "-");
}

/* One part of a path: [a-z0-9]+ ((.|_|__|-*) [a-z0-9]+)*. Its end, or NULL. */
static const char *skip_part(const char *text)
{
    for (;;) {
        size_t len = strspn(text, LOWER DIGIT);
        if (len == 0)
            return NULL;
        text += len;
        len = separator_len(text);
        if (len == 0)
            return text;
        text += len;
    }
}

static bool path_is_good(const char *path)
{
    if (strlen(path) > REF_PATH_MAX)
        return false;
    for (;;) {
        path = skip_part(path);
        if (!path)
            return false;
        if (*path == '\0')
            return true;
        if (*path++ != '/')
            return false;
    }
}

static bool port_is_good(const char *port)
{
    size_t len = strspn(port, DIGIT);

    return len >= 1 && len <= 5 && port[len] == '\0' && strtoul(port, NULL, 10) - 1 < 65535;
}

/* Labels of letters, digits and inner dashes; the end, or NULL. */
static const char *skip_name(const char *host)
{
    for (;;) {
        size_t len = strspn(host, LOWER UPPER DIGIT "-");
        if (len == 0 || len > 63 || *host == '-' || host[len - 1] == '-')
            return NULL;
        host += len;
        if (*host != '.')
            return host;
        host++;
    }
}

static bool host_is_good(const char *host)
{
    if (*host == '[') {
        size_t len = strspn(host + 1, HEX ":.");
        if (len < 2 || host[len + 1] != ']')
            return false;
        host += len + 2;
    } else {
        host = skip_name(host);
    }
    return host && (*host == '\0' || (*host == ':' && port_is_good(host + 1)));
}

static bool tag_is_good(const char *tag)
{
    size_t len = strspn(tag, LOWER UPPER DIGIT "_.-");

    return len >= 1 && len <= REF_TAG_MAX && tag[len] == '\0' && *tag != '.' && *tag != '-';
}

static bool looks_like_host(const char *text, size_t len)
{
    if (len == strlen("localhost") && memcmp(text, "localhost", len) == 0)
        return true;
    for (size_t i = 0; i < len; i++)
        if (is_one_of(text[i], ".:[" UPPER))
            return true;
    return false;
}

static int refuse(const char *text, const char *what, struct clip_error *err)
{
    char quoted[256];

    return err_set(err, -EINVAL, "\"%s\" is not an image reference: %s",
                   err_quote(text, strlen(text), quoted, sizeof(quoted)), what);
}

/* Cuts off the digest and the tag; `rest` is what remains before them. */
static const char *cut_digest(char *rest, struct ref *ref)
{
    char *at = strchr(rest, '@');

    if (!at)
        return NULL;
    *at = '\0';
    ref->has_digest = true;
    return digest_parse(at + 1, &ref->digest) < 0 ? "its digest is not sha256: and 64 hex digits"
                                                  : NULL;
}

static const char *cut_tag(char *rest, struct ref *ref)
{
    char *colon = strrchr(rest, ':');

    if (!colon || strchr(colon, '/')) {
        ref->tag = ref->has_digest ? NULL : strdup("latest");
        return NULL;
    }
    *colon = '\0';
    ref->tag = strdup(colon + 1);
    return ref->tag && !tag_is_good(ref->tag) ? "its tag is not of letters, digits, '_', '.', '-'"
                                              : NULL;
}

/* What the Hub is called does not matter, it is one. */
static bool is_hub(const char *host)
{
    return strcmp(host, "docker.io") == 0 || strcmp(host, "index.docker.io") == 0 ||
           strcmp(host, "registry-1.docker.io") == 0;
}

static void split_host(const char *rest, struct ref *ref)
{
    size_t len = strcspn(rest, "/");
    bool has_host = rest[len] == '/' && looks_like_host(rest, len);
    const char *path = has_host ? rest + len + 1 : rest;

    ref->host = has_host ? strndup(rest, len) : strdup("docker.io");
    if (!ref->host)
        return;
    if (is_hub(ref->host))
        strcpy(ref->host, "docker.io");
    if (!is_hub(ref->host) || strchr(path, '/'))
        ref->path = strdup(path);
    else if (asprintf(&ref->path, "library/%s", path) < 0)
        ref->path = NULL;
}

static char *format(const struct ref *ref, const struct digest *digest)
{
    char text[DIGEST_TEXT_LEN + 1] = "", *out;

    if (digest)
        digest_format(digest, text);
    if (asprintf(&out, "%s/%s%s%s%s%s", ref->host, ref->path, ref->tag ? ":" : "",
                 ref->tag ? ref->tag : "", digest ? "@" : "", text) < 0)
        return NULL;
    return out;
}

/* NULL or what is wrong; parts that are NULL mean no memory. */
static const char *take_apart(char *copy, struct ref *ref)
{
    const char *wrong;

    wrong = cut_digest(copy, ref);
    if (wrong)
        return wrong;
    wrong = cut_tag(copy, ref);
    if (wrong)
        return wrong;
    if (strncmp(copy, "http://", 7) == 0 || strncmp(copy, "https://", 8) == 0)
        return "it begins with the host, without http:// or https://";
    split_host(copy, ref);
    if (ref->host && !host_is_good(ref->host))
        return "its host is not a name or an address, with a port perhaps";
    if (ref->path && !path_is_good(ref->path))
        return "its path is not of lower-case letters, digits and single '.', '_', '-', '/'";
    return NULL;
}

int ref_parse(const char *text, struct ref **out, struct clip_error *err)
{
    struct ref *ref;
    const char *wrong;
    char *copy;

    if (strlen(text) > REF_MAX)
        return refuse(text, "it is too long", err);
    ref = calloc(1, sizeof(*ref));
    copy = strdup(text);
    wrong = ref && copy ? take_apart(copy, ref) : NULL;
    free(copy);
    if (wrong) {
        ref_free(ref);
        return refuse(text, wrong, err);
    }
    if (ref && ref->host && ref->path && (ref->tag || ref->has_digest))
        ref->canonical = format(ref, ref->has_digest ? &ref->digest : NULL);
    if (!ref || !ref->canonical) {
        ref_free(ref);
        return err_set(err, -ENOMEM, "out of memory for a reference");
    }
    *out = ref;
    return 0;
}

void ref_free(struct ref *ref)
{
    if (!ref)
        return;
    free(ref->host);
    free(ref->path);
    free(ref->tag);
    free(ref->canonical);
    free(ref);
}

char *ref_pin(const struct ref *ref, const struct digest *digest)
{
    return format(ref, digest);
}
