/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What `docker login` and `podman login` leave behind: a JSON file that holds credentials or names
 * a helper that does. Pure, but for the reading of the file; any thread.
 */
#ifndef CLIP_NET_AUTH_FILE_H
#define CLIP_NET_AUTH_FILE_H

#include "engine/err.h"

#define AUTH_FILE_MAX   (1u << 20)
#define AUTH_SECRET_MAX (32u << 10)
#define AUTH_HELPER_MAX 128u

/* All NULL: nobody is known there, and anonymous is what is left. */
struct credentials {
    char *userpass;       /* USER:PASS */
    char *identity_token; /* is traded for access tokens */
    char *access_token;   /* is sent as it is */
};

/* Wipes. Harmless for a zeroed one. */
void credentials_fini(struct credentials *credentials);
bool credentials_empty(const struct credentials *credentials);

struct auth_answer {
    struct credentials credentials;
    char helper[AUTH_HELPER_MAX]; /* ask "docker-credential-HELPER" about `server`; or "" */
    char *server;
};
void auth_answer_fini(struct auth_answer *answer);

/* What the file says of REGISTRY/REPOSITORY; all empty if nothing. Keys are looked up from the
 * longest (host/path, as podman writes them) to the host alone, then docker's older forms. `name`
 * is the file's, for messages, which never hold what is in it. CLIP_EFORMAT. */
int auth_file_parse(const char *name, const void *text, size_t len, const char *registry,
                    const char *repository, struct auth_answer *out, struct clip_error *err);
/* A helper's answer: {"Username":..., "Secret":...}. */
int auth_helper_parse(const char *helper, const void *text, size_t len, struct credentials *out,
                      struct clip_error *err);
/* The server's name as helpers know it. */
const char *auth_server_name(const char *registry);

#endif
