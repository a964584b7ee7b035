/* SPDX-License-Identifier: Apache-2.0 */
/* runc, crun or another OCI runtime, run as a child whose signals and exit code are ours. */
#ifndef CLIP_CLI_RUNTIME_H
#define CLIP_CLI_RUNTIME_H

/* The runtime: `given` (a name or a path), or the first of runc and crun that there is; malloc'ed.
 * NULL after a sentence. */
char *runtime_find(const char *given);

/* Runs container `id` of the bundle to its end: its exit code, 128 + N if signal N ended it. */
int runtime_run(const char *runtime, const char *bundle, const char *id);

#endif
