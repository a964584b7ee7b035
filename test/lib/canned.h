/* SPDX-License-Identifier: Apache-2.0 */
/* A server whose answers are written out byte by byte in the test. */
#ifndef CLIP_TEST_CANNED_H
#define CLIP_TEST_CANNED_H

#include "test/lib/loop.h"
#include "test/lib/server.h"

#define CANNED_MAX 32

/* What the server does when the bytes are sent; GOODBYE: TLS ends, TCP does not. */
enum canned_after {
    CANNED_NEXT,
    CANNED_CLOSE,
    CANNED_CUT,
    CANNED_RESET,
    CANNED_STALL,
    CANNED_GOODBYE
};

struct canned {
    struct server *server;
    uv_loop_t *loop;
    char url[80];  /* "http://127.0.0.1:PORT" */
    char host[64]; /* "127.0.0.1:PORT" */
    unsigned n_requests;
    char log[4096]; /* "GET /path\n" for each */
    char authorization[128], proxy_authorization[128], accept[128], host_header[128];
    char last_body[128];
    struct {
        char *target, *bytes;
        size_t len;
        enum canned_after after;
        unsigned n; /* answers left; 0: no end of them */
    } answers[CANNED_MAX];
    unsigned n_answers;
};

void canned_start(struct canned *canned, uv_loop_t *loop);
void canned_start_tls(struct canned *canned, uv_loop_t *loop, const char *cert_file,
                      const char *key_file);
void canned_stop(struct canned *canned, struct test_loop *t);

/* Answers to a target, or to a whole URL as proxies see it, in the order they were added. */
void canned_add(struct canned *canned, const char *target, const char *bytes,
                enum canned_after after);
void canned_add_bytes(struct canned *canned, const char *target, const void *bytes, size_t len,
                      enum canned_after after);
/* Once, then the next one of that target. */
void canned_add_once(struct canned *canned, const char *target, const char *bytes,
                     enum canned_after after);
/* 200 with this body. */
void canned_add_body(struct canned *canned, const char *target, const void *body, size_t len);

#endif
