/* SPDX-License-Identifier: Apache-2.0 */
/*
 * WWW-Authenticate as registries send it: which schemes are offered, and for Bearer where tokens
 * come from (RFC 9110 11.6.1; distribution's token specification). Pure; any thread.
 */
#ifndef CLIP_NET_CHALLENGE_H
#define CLIP_NET_CHALLENGE_H

#include "engine/err.h"

#define CHALLENGE_MAX 16384u /* bytes of all challenges */

struct challenge {
    bool basic, bearer; /* offered */
    char other[32];     /* a scheme that is neither, for messages; or "" */
    /* of the first Bearer; NULL if it does not say */
    char *realm, *service, *scope;
};

/* `text` is one header's value, or several joined with ", ". -EBADMSG with a sentence for what
 * cannot be read or could be read in two ways, -ENOMEM. */
int challenge_parse(const char *text, struct challenge *out, struct clip_error *err);
void challenge_fini(struct challenge *challenge); /* harmless for a zeroed one */

#endif
