/* SPDX-License-Identifier: Apache-2.0 */
/* Certificates made when a test needs them, by the openssl command, in a directory of their own. */
#ifndef CLIP_TEST_CERTS_H
#define CLIP_TEST_CERTS_H

struct certs {
    char dir[64];
    char ca[80]; /* the path of a private CA's certificate, PEM */
};

/* Makes the directory and the CA. */
void certs_init(struct certs *certs);
void certs_fini(struct certs *certs);

/* NAME.cert and NAME.key, signed by the CA; `san` as openssl has it: "DNS:localhost,IP:127.0.0.1".
 * `days` < 0: it has expired. `key_type`: "ec" or "rsa". */
void certs_make(const struct certs *certs, const char *name, const char *san, int days,
                const char *key_type);
/* A path in the directory, in one of a few buffers that are used in turn. */
const char *certs_path(const struct certs *certs, const char *name);

/* Runs a shell command; the test ends if it fails. */
void certs_run(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
