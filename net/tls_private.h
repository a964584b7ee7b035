/* SPDX-License-Identifier: Apache-2.0 */
/* The body of trust, for net/tls.c and net/tls_trust.c. */
#ifndef CLIP_NET_TLS_PRIVATE_H
#define CLIP_NET_TLS_PRIVATE_H

#include "net/tls.h"

#include <mbedtls/ctr_drbg.h>
#include <mbedtls/entropy.h>
#include <mbedtls/ssl.h>

struct tls_store {
    mbedtls_x509_crt cas; /* raw.len is 0 if there are none */
    mbedtls_entropy_context entropy;
    mbedtls_ctr_drbg_context random;
};

struct tls_trust {
    struct tls_store *store;
    mbedtls_ssl_config config;
    mbedtls_x509_crt extra; /* CAs of --ca-file and certs.d; the store's hang behind the last */
    mbedtls_x509_crt own;   /* a client certificate and its chain */
    mbedtls_pk_context key;
    char *place; /* the certs.d directory for this origin, for sentences; owned */
};

#endif
