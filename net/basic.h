/* SPDX-License-Identifier: Apache-2.0 */
/* Basic credentials as a header's value (RFC 7617). Pure; any thread. */
#ifndef CLIP_NET_BASIC_H
#define CLIP_NET_BASIC_H

/* "Basic ..." of USER:PASS; without a colon the password is empty. malloc'ed, the caller wipes and
 * frees it; NULL: no memory. */
char *basic_header(const char *userinfo);

#endif
