/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file is asked in docker's order: a helper for just this registry (credHelpers), what is written
 * down (auths), the helper for all (credsStore). What is written down is base64 of USER:PASS, an
 * identity token, or a registry token.
 * Failure: CLIP_EFORMAT for what is no such file, with the key where it is wrong. Secrets are wiped
 * when they go.
 */
#include "net/auth_file.h"

#include "net/json.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define KEY_MAX 1100

static void wipe(char **text)
{
    if (*text)
        explicit_bzero(*text, strlen(*text));
    free(*text);
    *text = NULL;
}

void credentials_fini(struct credentials *credentials)
{
    wipe(&credentials->userpass);
    wipe(&credentials->identity_token);
    wipe(&credentials->access_token);
}

bool credentials_empty(const struct credentials *credentials)
{
    return !credentials->userpass && !credentials->identity_token && !credentials->access_token;
}

void auth_answer_fini(struct auth_answer *answer)
{
    credentials_fini(&answer->credentials);
    free(answer->server);
    answer->server = NULL;
}

const char *auth_server_name(const char *registry)
{
    return strcmp(registry, "docker.io") == 0 ? "https://index.docker.io/v1/" : registry;
}

/* ------------------------------------------------------------------- base64 */

static int digit_of(char c)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = c ? strchr(digits, c) : NULL;

    return at ? (int)(at - digits) : -1;
}

/* The text it stands for, malloc'ed; NULL if it is not base64 of a text. *r tells which. */
static char *decode_base64(const char *coded, int *r)
{
    size_t len = strlen(coded), n = 0;
    char *out = malloc(len + 1);
    unsigned bits = 0, n_bits = 0;

    *r = out ? CLIP_EFORMAT : -ENOMEM;
    while (len > 0 && coded[len - 1] == '=')
        len--;
    for (size_t i = 0; out && i < len; i++) {
        int digit = digit_of(coded[i]);
        if (digit < 0)
            goto bad;
        bits = (bits << 6 | (unsigned)digit) & 0xffff;
        n_bits += 6;
        if (n_bits < 8)
            continue;
        n_bits -= 8;
        out[n] = (char)(bits >> n_bits);
        if (iscntrl((unsigned char)out[n++]))
            goto bad;
    }
    if (out)
        out[n] = '\0';
    return out;
bad:
    explicit_bzero(out, n);
    free(out);
    return NULL;
}

/* --------------------------------------------------------------------- keys */

/* Hosts of docker.io are one. */
static bool same_host(const char *a, size_t a_len, const char *b)
{
    static const char *const hub[] = {"docker.io", "index.docker.io", "registry-1.docker.io"};

    if (a_len == strlen(b) && strncasecmp(a, b, a_len) == 0)
        return true;
    if (strcmp(b, hub[0]) != 0)
        return false;
    for (size_t i = 0; i < sizeof(hub) / sizeof(hub[0]); i++)
        if (a_len == strlen(hub[i]) && strncasecmp(a, hub[i], a_len) == 0)
            return true;
    return false;
}

/* "https://host/v1/", "host/v2", "host": the host of such a key. */
static const char *host_of_key(const char *key, size_t *out_len)
{
    const char *scheme = strstr(key, "://"), *path;

    if (scheme)
        key = scheme + 3;
    *out_len = strcspn(key, "/");
    path = key + *out_len;
    if (*path && strcmp(path, "/") != 0 && strncmp(path, "/v1", 3) != 0 &&
        strncmp(path, "/v2", 3) != 0)
        *out_len = 0; /* a namespace: not for all of the host */
    return key;
}

/* The value that an object holds for the image, and the key it stands under. */
static json_t *find_key(json_t *object, const char *registry, const char *repository,
                        const char **out_key)
{
    char key[KEY_MAX];
    const char *name;
    json_t *value;
    size_t len;

    snprintf(key, sizeof(key), "%s/%s", registry, repository);
    for (char *slash = key + strlen(key); slash; slash = strrchr(key, '/')) {
        *slash = '\0';
        value = json_object_get(object, key);
        if (value) {
            *out_key = json_object_iter_key(json_object_iter_at(object, key));
            return value;
        }
    }
    json_object_foreach(object, name, value)
    {
        const char *host = host_of_key(name, &len);
        if (len > 0 && same_host(host, len, registry)) {
            *out_key = name;
            return value;
        }
    }
    return NULL;
}

/* ------------------------------------------------------------------ entries */

static int bad_entry(const char *name, const char *key, const char *what, struct clip_error *err)
{
    char quoted[128];

    return err_set(err, CLIP_EFORMAT, "%s: the entry \"%s\" has %s", name,
                   err_quote(key, strlen(key), quoted, sizeof(quoted)), what);
}

static int copy_member(const json_t *entry, const char *member, char **out)
{
    const char *text = json_get_printable(entry, member, AUTH_SECRET_MAX);

    if (text)
        *out = strdup(text);
    return text && !*out ? -ENOMEM : 0;
}

static int join_userpass(const json_t *entry, char **out)
{
    const char *user = json_string_value(json_object_get(entry, "username"));
    const char *pass = json_string_value(json_object_get(entry, "password"));

    if (!user || !*user || !pass)
        return 0;
    return asprintf(out, "%s:%s", user, pass) < 0 ? -ENOMEM : 0;
}

static int take_entry(const char *name, const char *key, const json_t *entry,
                      struct credentials *out, struct clip_error *err)
{
    const char *coded = json_get_printable(entry, "auth", AUTH_SECRET_MAX);
    int r = 0;

    if (!json_is_object(entry))
        return bad_entry(name, key, "a form that is not { ... }", err);
    if (coded) {
        out->userpass = decode_base64(coded, &r);
        if (!out->userpass && r != -ENOMEM)
            return bad_entry(name, key, "an \"auth\" that is not base64 of USER:PASS", err);
        if (out->userpass && !strchr(out->userpass, ':'))
            return bad_entry(name, key, "an \"auth\" without a colon in it", err);
        r = out->userpass ? 0 : -ENOMEM;
    } else {
        r = join_userpass(entry, &out->userpass);
    }
    if (r == 0)
        r = copy_member(entry, "identitytoken", &out->identity_token);
    if (r == 0)
        r = copy_member(entry, "registrytoken", &out->access_token);
    return r < 0 ? err_set(err, r, "out of memory for credentials") : 0;
}

/* A helper is a program's name, never a path or an option. */
static bool is_helper_name(const char *name)
{
    size_t len = strlen(name);

    if (len == 0 || len >= AUTH_HELPER_MAX || *name == '-' || *name == '.')
        return false;
    for (size_t i = 0; i < len; i++)
        if (!isalnum((unsigned char)name[i]) && !strchr("-_.", name[i]))
            return false;
    return true;
}

static int take_helper(const char *name, const char *key, const json_t *value, const char *server,
                       struct auth_answer *out, struct clip_error *err)
{
    const char *helper = json_string_value(value);

    if (!helper || !is_helper_name(helper))
        return bad_entry(name, key, "no name of a credential helper", err);
    snprintf(out->helper, sizeof(out->helper), "%s", helper);
    out->server = strdup(server);
    return out->server ? 0 : err_set(err, -ENOMEM, "out of memory for credentials");
}

static int ask_file(const char *name, json_t *file, const char *registry, const char *repository,
                    struct auth_answer *out, struct clip_error *err)
{
    json_t *helpers = json_object_get(file, "credHelpers"), *value;
    json_t *auths = json_object_get(file, "auths"), *store = json_object_get(file, "credsStore");
    const char *key = NULL;
    int r;

    value = find_key(helpers, registry, repository, &key);
    if (value && json_string_length(value) > 0)
        return take_helper(name, key, value, strstr(key, "://") ? key : auth_server_name(key), out,
                           err);
    value = find_key(auths, registry, repository, &key);
    if (value) {
        r = take_entry(name, key, value, &out->credentials, err);
        if (r < 0 || !credentials_empty(&out->credentials))
            return r;
    }
    if (store && json_string_length(store) > 0)
        return take_helper(name, "credsStore", store, auth_server_name(registry), out, err);
    return 0;
}

int auth_file_parse(const char *name, const void *text, size_t len, const char *registry,
                    const char *repository, struct auth_answer *out, struct clip_error *err)
{
    struct auth_answer answer = {0};
    json_t *file;
    int r;

    /* not the parser's own words: they quote what they stumble over */
    r = json_object_load(text, len, &file, NULL);
    if (r < 0)
        return err_set(err, r, "%s is not a JSON object, as docker login writes it", name);
    r = ask_file(name, file, registry, repository, &answer, err);
    json_decref(file);
    if (r < 0)
        auth_answer_fini(&answer);
    else
        *out = answer;
    return r;
}

int auth_helper_parse(const char *helper, const void *text, size_t len, struct credentials *out,
                      struct clip_error *err)
{
    const char *user, *secret;
    json_t *object;
    int r;

    if (json_object_load(text, len, &object, NULL) < 0)
        return err_set(err, CLIP_EFORMAT, "docker-credential-%s did not answer with JSON", helper);
    user = json_string_value(json_object_get(object, "Username"));
    secret = json_string_value(json_object_get(object, "Secret"));
    *out = (struct credentials){0};
    if (!user || !secret || strlen(user) + strlen(secret) > AUTH_SECRET_MAX)
        r = err_set(err, CLIP_EFORMAT,
                    "docker-credential-%s answered without a Username and a Secret", helper);
    else if (strcmp(user, "<token>") == 0)
        r = (out->identity_token = strdup(secret)) ? 0 : -ENOMEM;
    else
        r = asprintf(&out->userpass, "%s:%s", user, secret) < 0 ? -ENOMEM : 0;
    if (r == -ENOMEM)
        err_set(err, r, "out of memory for credentials");
    json_decref(object);
    return r;
}
