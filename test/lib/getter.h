/* SPDX-License-Identifier: Apache-2.0 */
/* A user of fetches for tests: gets a URL to its end and keeps what came. */
#ifndef CLIP_TEST_GETTER_H
#define CLIP_TEST_GETTER_H

#include "net/fetch.h"
#include "test/lib/loop.h"

#define GETTER_HEADERS_MAX 16

struct getter {
    /* public: set before getter_start() */
    struct test_loop *t;
    struct fetch_options options; /* callbacks and data are set by getter_start() */
    uint64_t window;              /* credit at first, given back as slabs come */
    bool without_credit;          /* none is given: by hand */
    bool cancel_at_response, cancel_at_slab;
    const char *want_header; /* its value is kept when the response comes */
    /* of the last one */
    struct fetch *fetch; /* NULL when it has ended */
    int status;
    unsigned n_ends, n_responses, code;
    struct clip_error err;
    uint8_t *bytes;
    size_t len, max_slab;
    unsigned n_slabs;
    char header[256], url[256];
    int range_status, retry_status;
    uint64_t range_off, range_len, range_total, retry_ms;
};

/* Starts anew; 0 or what fetch_open() says. */
int getter_start(struct getter *getter, const char *url);
void getter_wait(struct getter *getter);
/* Both; the status. */
int getter_get(struct getter *getter, const char *url);
void getter_fini(struct getter *getter);

#endif
