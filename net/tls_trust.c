/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is believed: the system's CAs, read once and shared; those of --ca-file and of the origin's
 * certs.d directory in front of them; the client certificate that lies there.
 *
 * The system's store is what SSL_CERT_FILE and SSL_CERT_DIR say, else the first bundle found in the
 * usual places. certs.d is as docker and containers have it: HOST or HOST:PORT below one of the
 * usual directories, in it *.crt (CAs), and NAME.cert with NAME.key (who we are).
 * Failure: no memory, no randomness; --ca-file or a file of certs.d that cannot be read or holds no
 * certificate. A certificate of the system's store that cannot be read is passed over.
 */
#include "net/tls_private.h"

#include <dirent.h>
#include <mbedtls/error.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* -------------------------------------------------------- the system's store */

static void read_dirs(mbedtls_x509_crt *cas, const char *list)
{
    char *copy = strdup(list), *rest = copy, *dir;

    while (copy && (dir = strsep(&rest, ":")))
        if (*dir)
            mbedtls_x509_crt_parse_path(cas, dir);
    free(copy);
}

static void read_system_cas(mbedtls_x509_crt *cas)
{
    static const char *const bundles[] = {
        "/etc/ssl/certs/ca-certificates.crt",                /* Debian, Alpine, Arch */
        "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", /* Fedora, RHEL */
        "/etc/pki/tls/certs/ca-bundle.crt",                  /* older ones */
        "/etc/ssl/ca-bundle.pem",                            /* openSUSE */
        "/etc/ssl/cert.pem",
    };
    const char *file = getenv("SSL_CERT_FILE"), *dirs = getenv("SSL_CERT_DIR");

    if (file && *file)
        mbedtls_x509_crt_parse_file(cas, file);
    if (dirs && *dirs)
        read_dirs(cas, dirs);
    if ((file && *file) || (dirs && *dirs))
        return;
    for (size_t i = 0; i < sizeof(bundles) / sizeof(*bundles); i++)
        if (mbedtls_x509_crt_parse_file(cas, bundles[i]) >= 0)
            return;
}

void tls_store_free(struct tls_store *store)
{
    if (!store)
        return;
    mbedtls_x509_crt_free(&store->cas);
    mbedtls_ctr_drbg_free(&store->random);
    mbedtls_entropy_free(&store->entropy);
    free(store);
}

static struct tls_store *store_new(struct clip_error *err)
{
    struct tls_store *store = calloc(1, sizeof(*store));

    if (!store) {
        err_set(err, -ENOMEM, "out of memory for the CA certificates");
        return NULL;
    }
    mbedtls_x509_crt_init(&store->cas);
    mbedtls_entropy_init(&store->entropy);
    mbedtls_ctr_drbg_init(&store->random);
    if (mbedtls_ctr_drbg_seed(&store->random, mbedtls_entropy_func, &store->entropy, NULL, 0) !=
        0) {
        tls_store_free(store);
        err_set(err, -EIO, "tls: no random numbers from the system");
        return NULL;
    }
    read_system_cas(&store->cas);
    return store;
}

/* ------------------------------------------------------------------- certs.d */

/* mbedtls's codes for files and syntax as one of ours, with the file's name. */
static int note_bad_file(struct clip_error *err, const char *path, const char *what, int code)
{
    char why[96] = "it holds none";

    if (code == MBEDTLS_ERR_X509_FILE_IO_ERROR || code == MBEDTLS_ERR_PK_FILE_IO_ERROR)
        return err_sys(err, -ENOENT, "reading %s from %s", what, path);
    if (code < 0)
        mbedtls_strerror(code, why, sizeof(why));
    return err_set(err, -EINVAL, "no %s can be read from %s: %s", what, path, why);
}

static int add_cas(struct tls_trust *trust, const char *path, struct clip_error *err)
{
    int r = mbedtls_x509_crt_parse_file(&trust->extra, path);

    return r == 0 ? 0 : note_bad_file(err, path, "CA certificate", r < 0 ? r : 0);
}

/* NAME.cert with NAME.key beside it. Of several the first is shown. */
static int add_client(struct tls_trust *trust, const char *path, struct clip_error *err)
{
    char *key;
    int r;

    if (trust->own.raw.len > 0)
        return 0;
    r = mbedtls_x509_crt_parse_file(&trust->own, path);
    if (r != 0)
        return note_bad_file(err, path, "client certificate", r < 0 ? r : 0);
    if (asprintf(&key, "%.*s.key", (int)(strlen(path) - strlen(".cert")), path) < 0)
        return err_set(err, -ENOMEM, "out of memory for certificates");
    r = mbedtls_pk_parse_keyfile(&trust->key, key, NULL);
    if (r != 0)
        r = note_bad_file(err, key, "key", r);
    free(key);
    return r;
}

static bool ends_with(const char *name, const char *suffix)
{
    size_t len = strlen(name), n = strlen(suffix);

    return len > n && strcmp(name + len - n, suffix) == 0;
}

static int add_file(struct tls_trust *trust, const char *name, struct clip_error *err)
{
    bool ca = ends_with(name, ".crt"), client = ends_with(name, ".cert");
    char *path;
    int r = 0;

    if (!ca && !client)
        return 0;
    if (asprintf(&path, "%s/%s", trust->place, name) < 0)
        return err_set(err, -ENOMEM, "out of memory for certificates");
    if (ca)
        r = add_cas(trust, path, err);
    else
        r = add_client(trust, path, err);
    free(path);
    return r;
}

static int read_place(struct tls_trust *trust, struct clip_error *err)
{
    struct dirent **list;
    int n = scandir(trust->place, &list, NULL, alphasort), r = 0;

    if (n < 0)
        return errno == ENOENT ? 0 : err_sys(err, -errno, "%s", trust->place);
    for (int i = 0; i < n; i++) {
        if (r == 0)
            r = add_file(trust, list[i]->d_name, err);
        free(list[i]);
    }
    free(list);
    return r;
}

static bool is_dir(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* The directory for this origin below `base`: with the port, or without if it is the usual one.
 * True if it is there; `out` is to be freed either way, NULL: no memory. */
static bool find_below(const char *base, const struct tls_trust_options *options, char **out)
{
    const char *open = strchr(options->host, ':') ? "[" : "", *close = *open ? "]" : "";

    if (options->port == 443) {
        if (asprintf(out, "%s/%s%s%s", base, open, options->host, close) < 0)
            *out = NULL;
        if (!*out || is_dir(*out))
            return *out != NULL;
        free(*out);
    }
    if (asprintf(out, "%s/%s%s%s:%u", base, open, options->host, close, options->port) < 0)
        *out = NULL;
    return *out && is_dir(*out);
}

/* Where the origin's files are, or could be put. */
static int find_place(struct tls_trust *trust, const struct tls_trust_options *options)
{
    const char *home = getenv("HOME");
    char *user = NULL;
    bool found = false;

    if (home && asprintf(&user, "%s/.config/containers/certs.d", home) < 0)
        return -ENOMEM;
    const char *const bases[] = {options->certs_dir ? options->certs_dir : user,
                                 "/etc/containers/certs.d", "/etc/docker/certs.d",
                                 "/etc/containerd/certs.d"};
    unsigned n = options->certs_dir ? 1 : 4;
    for (unsigned i = 0; i < n && !found; i++) {
        if (!bases[i])
            continue;
        free(trust->place);
        found = find_below(bases[i], options, &trust->place);
        if (!trust->place)
            break;
    }
    free(user);
    return trust->place ? 0 : -ENOMEM;
}

/* --------------------------------------------------------------- the whole of it */

/* ChaCha20 first: mbedtls 2.28 makes 376 MB/s a core of it, and 221 of AES-128-GCM, although it
 * uses the CPU's instructions for that. */
static const int cipher_suites[] = {MBEDTLS_TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
                                    MBEDTLS_TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
                                    MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
                                    MBEDTLS_TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
                                    MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
                                    MBEDTLS_TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
                                    MBEDTLS_TLS_DHE_RSA_WITH_AES_128_GCM_SHA256,
                                    MBEDTLS_TLS_DHE_RSA_WITH_AES_256_GCM_SHA384,
                                    0};

/* The store's CAs behind our own, in one chain; who frees ours cuts it first. */
static void join_chains(struct tls_trust *trust)
{
    mbedtls_x509_crt *last = &trust->extra;

    while (last->next)
        last = last->next;
    if (trust->store->cas.raw.len > 0)
        last->next = &trust->store->cas;
}

static int configure(struct tls_trust *trust)
{
    static const char *alpn[] = {"http/1.1", NULL};
    mbedtls_ssl_config *config = &trust->config;
    bool has_extra = trust->extra.raw.len > 0;

    if (mbedtls_ssl_config_defaults(config, MBEDTLS_SSL_IS_CLIENT, MBEDTLS_SSL_TRANSPORT_STREAM,
                                    MBEDTLS_SSL_PRESET_DEFAULT) != 0)
        return -ENOMEM;
    mbedtls_ssl_conf_min_version(config, MBEDTLS_SSL_MAJOR_VERSION_3, MBEDTLS_SSL_MINOR_VERSION_3);
    mbedtls_ssl_conf_ciphersuites(config, cipher_suites);
    mbedtls_ssl_conf_authmode(config, MBEDTLS_SSL_VERIFY_REQUIRED);
    mbedtls_ssl_conf_rng(config, mbedtls_ctr_drbg_random, &trust->store->random);
    mbedtls_ssl_conf_session_tickets(config, MBEDTLS_SSL_SESSION_TICKETS_ENABLED);
    if (mbedtls_ssl_conf_alpn_protocols(config, alpn) != 0)
        return -ENOMEM;
    if (has_extra)
        join_chains(trust);
    mbedtls_ssl_conf_ca_chain(config, has_extra ? &trust->extra : &trust->store->cas, NULL);
    if (trust->own.raw.len > 0 && mbedtls_ssl_conf_own_cert(config, &trust->own, &trust->key) != 0)
        return -ENOMEM;
    return 0;
}

static int load(struct tls_trust *trust, const struct tls_trust_options *options,
                struct clip_error *err)
{
    int r = 0;

    if (find_place(trust, options) < 0)
        return err_set(err, -ENOMEM, "out of memory for certificates");
    if (options->ca_file)
        r = add_cas(trust, options->ca_file, err);
    if (r == 0)
        r = read_place(trust, err);
    if (r == 0 && configure(trust) < 0)
        r = err_set(err, -ENOMEM, "out of memory for certificates");
    return r;
}

int tls_trust_load(const struct tls_trust_options *options, struct tls_store **store,
                   struct tls_trust **out, struct clip_error *err)
{
    struct tls_trust *trust;
    int r;

    if (!*store && !(*store = store_new(err)))
        return err ? err->code : -ENOMEM;
    trust = calloc(1, sizeof(*trust));
    if (!trust)
        return err_set(err, -ENOMEM, "out of memory for certificates");
    trust->store = *store;
    mbedtls_ssl_config_init(&trust->config);
    mbedtls_x509_crt_init(&trust->extra);
    mbedtls_x509_crt_init(&trust->own);
    mbedtls_pk_init(&trust->key);
    r = load(trust, options, err);
    if (r < 0) {
        tls_trust_free(trust);
        return r;
    }
    *out = trust;
    return 0;
}

void tls_trust_free(struct tls_trust *trust)
{
    if (!trust)
        return;
    for (mbedtls_x509_crt *crt = &trust->extra; crt; crt = crt->next)
        if (crt->next == &trust->store->cas)
            crt->next = NULL;
    mbedtls_ssl_config_free(&trust->config);
    mbedtls_x509_crt_free(&trust->extra);
    mbedtls_x509_crt_free(&trust->own);
    mbedtls_pk_free(&trust->key);
    free(trust->place);
    free(trust);
}
