/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS 1.2 as bytes in, bytes out: no socket, no loop, never blocks. The home of mbedtls, together
 * with net/tls_trust.c. A `struct tls` is used by one thread at a time: the loop's, or a job's
 * while tls_handshake() runs.
 */
#ifndef CLIP_NET_TLS_H
#define CLIP_NET_TLS_H

#include "engine/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct tls;
struct tls_session; /* what a later handshake can begin from */
struct tls_store;   /* the system's CAs */
struct tls_trust;   /* what is believed of one origin, and who we say we are */

/* ---- trust: reads files and parses them, tens of milliseconds for a system's store: pool only */

struct tls_trust_options {
    const char *host;
    uint16_t port;
    const char *ca_file;   /* NULL: none */
    const char *certs_dir; /* NULL: the usual places */
};

/* `store` is made when *store is NULL, and shared by all trusts made with it: it must outlive them,
 * and only one of them may be verified with at a time (mbedtls caches in its keys). */
int tls_trust_load(const struct tls_trust_options *options, struct tls_store **store,
                   struct tls_trust **out, struct clip_error *err);
void tls_trust_free(struct tls_trust *trust); /* NULL is allowed */
void tls_store_free(struct tls_store *store); /* NULL is allowed */

/* ---- a connection */

/* `session` may be NULL. Both are borrowed, trust until tls_free(). */
int tls_new(struct tls_trust *trust, const char *host, const struct tls_session *session,
            struct tls **out, struct clip_error *err);
void tls_free(struct tls *tls); /* NULL is allowed */

/* What came from the wire; borrowed until tls_read() or tls_handshake() says -EAGAIN. */
void tls_feed(struct tls *tls, const void *bytes, size_t len);
/* Some milliseconds of CPU. 0: done; -EAGAIN: send the output, feed more; -EKEYREJECTED: the
 * certificate is not good; -EPROTO, -ENOMEM. */
int tls_handshake(struct tls *tls, struct clip_error *err);
/* Decrypted bytes; 0: the other end said that it is through; -EAGAIN: feed; -EPROTO. */
ssize_t tls_read(struct tls *tls, void *buf, size_t len, struct clip_error *err);
/* All of it becomes output. */
int tls_write(struct tls *tls, const void *bytes, size_t len, struct clip_error *err);
void tls_say_goodbye(struct tls *tls);
/* What is to be sent, malloc'ed, the caller's; NULL: nothing. */
void *tls_take_output(struct tls *tls, size_t *out_len);

/* After the handshake: */
bool tls_resumed(const struct tls *tls);
/* NULL if there is none, or no memory. */
struct tls_session *tls_session_of(const struct tls *tls);
void tls_session_free(struct tls_session *session); /* NULL is allowed */

#endif
