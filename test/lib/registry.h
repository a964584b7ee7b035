/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A registry that misbehaves on demand, on the test's own loop at 127.0.0.1.
 *
 * It serves what was added, by GET and HEAD on /v2/..., and any other path that was added by name.
 * Dials may be turned at any time and hold for the requests that come after. Counters say what was
 * asked and what was sent.
 */
#ifndef CLIP_TEST_REGISTRY_H
#define CLIP_TEST_REGISTRY_H

#include "engine/digest.h"

#include <uv.h>

enum registry_auth { REGISTRY_OPEN, REGISTRY_BASIC, REGISTRY_BEARER };
enum registry_body { REGISTRY_LENGTH, REGISTRY_CHUNKED, REGISTRY_UNTIL_CLOSE };

/* Dials about blobs concern GETs of /v2/NAME/blobs/ and of paths that were added by name; all zero:
 * an honest registry. */
struct registry_dials {
    /* bodies of blobs */
    uint64_t stall_after;  /* send so many body bytes, then nothing more; 0: off */
    uint64_t cut_after;    /* close after so many body bytes; 0: off */
    unsigned n_cuts;       /* how many responses are stalled or cut; 0: all */
    bool wrong_bytes;      /* flip a bit in the middle of every body */
    bool ignore_range;     /* 200 and everything */
    bool lie_about_range;  /* 206 with a Content-Range of somewhere else */
    bool no_content_range; /* 206 without one */
    enum registry_body body;
    const char
        *redirect_blobs; /* "http://host:port": 307 to there with the same path and ?sig=... */
    bool reset;          /* close on accept of a request, before any byte of the response */

    /* any request under /v2/ */
    unsigned status;         /* answer with this (429, 503, 404 ...); 0: off */
    unsigned n_status;       /* how many times; 0: always */
    const char *retry_after; /* the header's value with it */
    unsigned fail_percent;   /* of the requests, by the seed: cut, reset or 503 */
    uint64_t seed;
    bool stall_first_byte; /* no answer at all */
    bool close_each;       /* a response, then close without saying so */
    unsigned bytes_per_ms; /* bodies trickle at about this rate; 0: as fast as may be */

    enum registry_auth auth;
    const char *user, *pass;  /* wanted by Basic, and by the token endpoint if set */
    unsigned token_expires_s; /* expires_in; 0: 300 */
    bool refuse_tokens;       /* every token is refused with 401 */
    uint64_t token_uses;      /* a token is refused after so many requests; 0: never */
    const char *realm;        /* NULL: /token of this registry */
    /* wanted by the token endpoint in a POST, and what it gives in its place; NULL: no POST */
    const char *refresh_token, *next_refresh_token;
    const char *challenge; /* of every 401, whatever auth says; NULL: what auth says */
};

struct registry_counts {
    uint64_t connections;
    uint64_t requests; /* under /v2/ and by name, not tokens */
    uint64_t ranges;   /* among them with a Range header */
    uint64_t tokens;   /* token requests answered with a token */
    uint64_t redirects;
    uint64_t refused;            /* 401 */
    uint64_t failed;             /* by status, fail_percent, reset, cut, stall */
    uint64_t body_bytes;         /* of blobs, handed to the kernel */
    uint64_t with_authorization; /* requests that carried the header */
    unsigned max_at_once;        /* blob responses in flight */
};

struct test_registry;

/* Listens at once on a free port of 127.0.0.1. */
struct test_registry *registry_start(uv_loop_t *loop);
/* The same behind TLS with a PEM certificate and key. */
struct test_registry *registry_start_tls(uv_loop_t *loop, const char *cert_file,
                                         const char *key_file);
/* Clients must show a certificate that this PEM file signed. */
void registry_want_client(struct test_registry *registry, const char *ca_file);
/* The loop has to run for its handles to go. NULL is allowed. */
void registry_stop(struct test_registry *registry);
bool registry_stopped(const struct test_registry *registry);
void registry_free(struct test_registry *registry);

struct registry_dials *registry_dials(struct test_registry *registry);
struct registry_counts *registry_counts(struct test_registry *registry);
unsigned registry_port(const struct test_registry *registry);
const char *registry_host(const struct test_registry *registry); /* "127.0.0.1:PORT" */
const char *registry_url(const struct test_registry *registry);  /* "http://127.0.0.1:PORT" */

/* Copies the bytes. A blob is served from every repository. */
void registry_add_blob(struct test_registry *registry, const void *bytes, size_t len,
                       struct digest *out);
/* By its digest and, if not NULL, a tag ("latest") in every repository. */
void registry_add_manifest(struct test_registry *registry, const char *tag, const char *media_type,
                           const char *text, struct digest *out);
/* Under a digest or a tag that need not be its own. */
void registry_add_manifest_as(struct test_registry *registry, const char *name,
                              const char *media_type, const char *text);
/* Any path: "/v1/x". Served as a blob is. */
void registry_add_path(struct test_registry *registry, const char *path, const void *bytes,
                       size_t len);
/* A path that answers 302 to `location`. */
void registry_add_redirect(struct test_registry *registry, const char *path, const char *location);
/* What the last request under /v2/ or by name carried for a header, or NULL. For "authorization",
 * "range", "host". */
const char *registry_last_header(const struct test_registry *registry, const char *name);
/* The last request of all: "GET /v2/x/blobs/..." */
const char *registry_last_request(const struct test_registry *registry);
/* Query or body of the last request for a token, or "". */
const char *registry_last_token_query(const struct test_registry *registry);

#endif
