/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The happy path of a connection is:
 * - mbedtls pulls from `in`, which borrows what was fed, and pushes to `out`, which grows; it
 * thinks that both are a socket that would block.
 * - the verify callback is asked for each certificate of a chain, but only in a full handshake:
 *   that tells a resumed one. It notes what is wrong, for the sentence, and compares addresses,
 *   which mbedtls 2.28 does not.
 * Possible failure modes are: a certificate that is not good, an alert, bytes that are not TLS, no
 *   memory.
 */
#include "net/tls_private.h"

#include "net/url.h"

#include <arpa/inet.h>
#include <mbedtls/error.h>
#include <mbedtls/x509_crt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SAN_DNS     (MBEDTLS_ASN1_CONTEXT_SPECIFIC | 2)
#define SAN_ADDRESS (MBEDTLS_ASN1_CONTEXT_SPECIFIC | 7)

struct tls {
    mbedtls_ssl_context ssl;
    const struct tls_trust *trust;
    char *host;
    uint8_t address[16]; /* if the host is one */
    size_t address_len;
    const uint8_t *in;
    size_t in_len;
    uint8_t *out;
    size_t out_len, out_cap;
    int ended; /* what ended the bytes: mbedtls says it once */
    bool verified;
    uint32_t flags;  /* what is wrong with the chain */
    char shown[128]; /* the certificate it is wrong with */
    char names[128]; /* what the server's certificate is for */
};

/* ------------------------------------------------------------ in place of a socket */

static int on_recv(void *data, unsigned char *buf, size_t len)
{
    struct tls *tls = data;

    if (tls->in_len == 0)
        return MBEDTLS_ERR_SSL_WANT_READ;
    if (len > tls->in_len)
        len = tls->in_len;
    memcpy(buf, tls->in, len);
    tls->in += len;
    tls->in_len -= len;
    return (int)len;
}

static int on_send(void *data, const unsigned char *bytes, size_t len)
{
    struct tls *tls = data;

    if (tls->out_len + len > tls->out_cap) {
        size_t cap = (tls->out_len + len) * 2;
        uint8_t *grown = realloc(tls->out, cap);
        if (!grown)
            return MBEDTLS_ERR_SSL_ALLOC_FAILED;
        tls->out = grown;
        tls->out_cap = cap;
    }
    memcpy(tls->out + tls->out_len, bytes, len);
    tls->out_len += len;
    return (int)len;
}

/* ------------------------------------------------------------------- verifying */

static bool has_address(const struct tls *tls, const mbedtls_x509_crt *crt)
{
    for (const mbedtls_x509_sequence *san = &crt->subject_alt_names; san; san = san->next)
        if (san->buf.tag == SAN_ADDRESS && san->buf.len == tls->address_len &&
            memcmp(san->buf.p, tls->address, tls->address_len) == 0)
            return true;
    return false;
}

static void note_names(struct tls *tls, const mbedtls_x509_crt *crt)
{
    size_t used = 0;

    for (const mbedtls_x509_sequence *san = &crt->subject_alt_names; san; san = san->next) {
        char name[80];
        if (san->buf.tag == SAN_ADDRESS && (san->buf.len == 4 || san->buf.len == 16))
            inet_ntop(san->buf.len == 4 ? AF_INET : AF_INET6, san->buf.p, name, sizeof(name));
        else if (san->buf.tag == SAN_DNS)
            err_quote(san->buf.p, san->buf.len, name, sizeof(name));
        else
            continue;
        if (used + strlen(name) + 3 > sizeof(tls->names))
            break;
        used += (size_t)sprintf(tls->names + used, "%s%s", used ? ", " : "", name);
    }
    if (used == 0)
        mbedtls_x509_dn_gets(tls->names, sizeof(tls->names), &crt->subject);
}

static void note_wrong(struct tls *tls, const mbedtls_x509_crt *crt, uint32_t flags)
{
    char name[sizeof(tls->shown) - 32];
    const mbedtls_x509_time *to = &crt->valid_to;
    const mbedtls_x509_name *of =
        flags & MBEDTLS_X509_BADCERT_NOT_TRUSTED ? &crt->issuer : &crt->subject;

    tls->flags |= flags;
    if (mbedtls_x509_dn_gets(name, sizeof(name), of) < 0)
        strcpy(name, "a long name");
    err_quote(name, strlen(name), tls->shown, sizeof(tls->shown));
    if (flags & MBEDTLS_X509_BADCERT_EXPIRED)
        snprintf(tls->shown + strlen(tls->shown), sizeof(tls->shown) - strlen(tls->shown),
                 ", %04d-%02d-%02d", to->year, to->mon, to->day);
}

static int on_verify(void *data, mbedtls_x509_crt *crt, int depth, uint32_t *flags)
{
    struct tls *tls = data;

    tls->verified = true;
    if (depth == 0 && tls->address_len > 0 && !has_address(tls, crt))
        *flags |= MBEDTLS_X509_BADCERT_CN_MISMATCH;
    if (*flags & MBEDTLS_X509_BADCERT_CN_MISMATCH)
        note_names(tls, crt);
    if (*flags)
        note_wrong(tls, crt, *flags);
    return 0;
}

static int note_bad_certificate(const struct tls *tls, struct clip_error *err)
{
    char why[160] = "it was not accepted";

    if (tls->flags & MBEDTLS_X509_BADCERT_NOT_TRUSTED)
        return err_set(err, -EKEYREJECTED,
                       "the certificate of %s is signed by %s, which is not trusted: give its CA "
                       "with --ca-file, or as %s/ca.crt",
                       tls->host, tls->shown, tls->trust->place);
    if (tls->flags & MBEDTLS_X509_BADCERT_CN_MISMATCH)
        return err_set(err, -EKEYREJECTED,
                       "the certificate is for %s, not for %s: use a name that it has", tls->names,
                       tls->host);
    if (tls->flags & MBEDTLS_X509_BADCERT_EXPIRED)
        return err_set(err, -EKEYREJECTED,
                       "a certificate of %s has expired (%s): it must be renewed, or the clock "
                       "here is wrong",
                       tls->host, tls->shown);
    if (tls->flags & MBEDTLS_X509_BADCERT_FUTURE)
        return err_set(err, -EKEYREJECTED,
                       "a certificate of %s is not valid yet (%s): is the clock here right?",
                       tls->host, tls->shown);
    mbedtls_x509_crt_verify_info(why, sizeof(why), "", tls->flags);
    why[strcspn(why, "\n")] = '\0';
    return err_set(err, -EKEYREJECTED, "the certificate of %s is not good (%s): %s", tls->host,
                   tls->shown, why);
}

/* -------------------------------------------------------------------- failures */

static int note_alert(const struct tls *tls, struct clip_error *err)
{
    unsigned alert = tls->ssl.in_msg[1];

    if (alert == MBEDTLS_SSL_ALERT_MSG_PROTOCOL_VERSION)
        return err_set(err, -EPROTO, "%s does not speak TLS 1.2", tls->host);
    if (tls->ssl.client_auth && tls->trust->own.raw.len == 0)
        return err_set(err, -EPROTO,
                       "%s wants a client certificate: put it into %s as client.cert and "
                       "client.key",
                       tls->host, tls->trust->place);
    if (tls->ssl.client_auth)
        return err_set(err, -EPROTO, "%s does not accept the client certificate from %s (alert %u)",
                       tls->host, tls->trust->place, alert);
    return err_set(err, -EPROTO, "%s refuses the TLS connection (alert %u)", tls->host, alert);
}

static int note_failure(const struct tls *tls, int code, struct clip_error *err)
{
    char why[128];

    switch (code) {
    case MBEDTLS_ERR_X509_CERT_VERIFY_FAILED:
        return note_bad_certificate(tls, err);
    case MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE:
        return note_alert(tls, err);
    case MBEDTLS_ERR_SSL_ALLOC_FAILED:
        return err_set(err, -ENOMEM, "tls: out of memory");
    case MBEDTLS_ERR_SSL_INVALID_RECORD:
    case MBEDTLS_ERR_SSL_UNEXPECTED_RECORD:
        return err_set(err, -EPROTO,
                       "%s does not speak TLS there (if it is a registry without TLS: "
                       "--plain-http)",
                       tls->host);
    default:
        mbedtls_strerror(code, why, sizeof(why));
        return err_set(err, -EPROTO, "tls: with %s: %s", tls->host, why);
    }
}

/* ------------------------------------------------------------------ a connection */

static int set_up(struct tls *tls, const struct tls_session *session)
{
    mbedtls_ssl_context *ssl = &tls->ssl;

    tls->address_len = inet_pton(AF_INET, tls->host, tls->address) == 1    ? 4
                       : inet_pton(AF_INET6, tls->host, tls->address) == 1 ? 16
                                                                           : 0;
    if (mbedtls_ssl_setup(ssl, &tls->trust->config) != 0)
        return -ENOMEM;
    /* an address is no name to indicate (RFC 6066), and compared by on_verify() */
    if (mbedtls_ssl_set_hostname(ssl, tls->address_len > 0 ? NULL : tls->host) != 0)
        return -ENOMEM;
    mbedtls_ssl_set_verify(ssl, on_verify, tls);
    mbedtls_ssl_set_bio(ssl, tls, on_send, on_recv, NULL);
    if (session)
        mbedtls_ssl_set_session(ssl, (const mbedtls_ssl_session *)session); /* or a full one */
    return 0;
}

int tls_new(struct tls_trust *trust, const char *host, const struct tls_session *session,
            struct tls **out, struct clip_error *err)
{
    struct tls *tls = calloc(1, sizeof(*tls));

    if (tls) {
        mbedtls_ssl_init(&tls->ssl);
        tls->trust = trust;
        tls->host = strdup(host);
    }
    if (!tls || !tls->host || set_up(tls, session) < 0) {
        tls_free(tls);
        return err_set(err, -ENOMEM, "tls: out of memory");
    }
    *out = tls;
    return 0;
}

void tls_free(struct tls *tls)
{
    if (!tls)
        return;
    mbedtls_ssl_free(&tls->ssl);
    free(tls->host);
    free(tls->out);
    free(tls);
}

void tls_feed(struct tls *tls, const void *bytes, size_t len)
{
    tls->in = bytes;
    tls->in_len = len;
}

static bool would_block(int r)
{
    return r == MBEDTLS_ERR_SSL_WANT_READ || r == MBEDTLS_ERR_SSL_WANT_WRITE;
}

int tls_handshake(struct tls *tls, struct clip_error *err)
{
    int r = mbedtls_ssl_handshake(&tls->ssl);

    if (r == 0)
        return 0;
    return would_block(r) ? -EAGAIN : note_failure(tls, r, err);
}

ssize_t tls_read(struct tls *tls, void *buf, size_t len, struct clip_error *err)
{
    int r = tls->ended ? tls->ended : mbedtls_ssl_read(&tls->ssl, buf, len);

    if (r >= 0)
        return r;
    if (!would_block(r))
        tls->ended = r;
    if (r == MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY || r == MBEDTLS_ERR_SSL_CONN_EOF)
        return 0;
    return would_block(r) ? -EAGAIN : note_failure(tls, r, err);
}

int tls_write(struct tls *tls, const void *bytes, size_t len, struct clip_error *err)
{
    const uint8_t *at = bytes;

    while (len > 0) {
        int r = mbedtls_ssl_write(&tls->ssl, at, len);
        if (r < 0)
            return note_failure(tls, r, err);
        at += r;
        len -= (size_t)r;
    }
    return 0;
}

void tls_say_goodbye(struct tls *tls)
{
    mbedtls_ssl_close_notify(&tls->ssl);
}

void *tls_take_output(struct tls *tls, size_t *out_len)
{
    void *bytes = tls->out_len > 0 ? tls->out : NULL;

    if (!bytes)
        return NULL;
    *out_len = tls->out_len;
    tls->out = NULL;
    tls->out_len = tls->out_cap = 0;
    return bytes;
}

/* -------------------------------------------------------------------- sessions */

bool tls_resumed(const struct tls *tls)
{
    return !tls->verified;
}

struct tls_session *tls_session_of(const struct tls *tls)
{
    mbedtls_ssl_session *session = calloc(1, sizeof(*session));

    if (!session)
        return NULL;
    mbedtls_ssl_session_init(session);
    if (mbedtls_ssl_get_session(&tls->ssl, session) == 0)
        return (struct tls_session *)session;
    tls_session_free((struct tls_session *)session);
    return NULL;
}

void tls_session_free(struct tls_session *session)
{
    if (!session)
        return;
    mbedtls_ssl_session_free((mbedtls_ssl_session *)session);
    free(session);
}
