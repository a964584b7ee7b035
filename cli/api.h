/* SPDX-License-Identifier: Apache-2.0 */
/* What the calls of the control socket mean; docs/api.md says it byte for byte. */
#ifndef CLIP_CLI_API_H
#define CLIP_CLI_API_H

#include "control.h"
#include "daemon.h"

/* A control_call_cb; `data` is the daemon. */
void api_call(void *data, struct control_call *call);

/* Our own numbers behind the engine's, as /metrics has them. malloc'ed, or NULL. */
char *api_metrics(struct daemon *daemon, size_t *out_len);

#endif
