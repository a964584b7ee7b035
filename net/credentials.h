/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who we are to a registry. Asked in this order, the first that knows wins:
 * - what the caller gave (USER:PASS);
 * - $CLIP_REGISTRY_USER_<HOST> and $CLIP_REGISTRY_PASS_<HOST>;
 * - the caller's auth file alone, if there is one; else $REGISTRY_AUTH_FILE alone, if it is set;
 *   else $DOCKER_CONFIG/config.json or ~/.docker/config.json, then
 *   ${XDG_RUNTIME_DIR}/containers/auth.json (/run/containers/UID without it), then
 *   ${XDG_CONFIG_HOME}/containers/auth.json (~/.config without it).
 * Files may name helpers (net/helper.h), which are run. On the loop's thread; files are read on the
 * pool.
 */
#ifndef CLIP_NET_CREDENTIALS_H
#define CLIP_NET_CREDENTIALS_H

#include "engine/work.h"
#include "net/auth_file.h"

#define CREDENTIALS_FILES_MAX 4u

struct credentials_options {
    const char *registry, *repository;
    const char *creds;    /* USER:PASS or NULL */
    const char *authfile; /* or NULL */
    uint64_t helper_ms;
};

/* The files that would be asked: malloc'ed names, their number. -ENOMEM. */
int credentials_files(const char *authfile, char *out[CREDENTIALS_FILES_MAX], unsigned *out_n);
/* Writes the name of the variable: credentials_variable("USER", "localhost:5000", ...) gives
 * CLIP_REGISTRY_USER_LOCALHOST_5000. */
void credentials_variable(const char *what, const char *registry, char *out, size_t out_len);

struct helper;
struct credentials_find;
typedef void (*credentials_cb)(struct credentials_find *find, int status);

/* A request: embedded in who waits. */
struct credentials_find {
    /* public, set when done with 0: the caller's to credentials_fini() */
    struct credentials credentials;
    struct clip_error err;
    /* private */
    struct clip_engine *engine;
    struct credentials_options options; /* borrowed until done */
    credentials_cb done;
    struct work work;
    struct later later;
    struct helper *helper;
    char *files[CREDENTIALS_FILES_MAX];
    unsigned n_files, next;
    bool named; /* the one file must be there */
    struct auth_answer answer;
    bool cancelled;
    int status;
};

void credentials_find(struct clip_engine *engine, struct credentials_find *find,
                      const struct credentials_options *options, credentials_cb done);
void credentials_find_cancel(struct credentials_find *find);

#endif
