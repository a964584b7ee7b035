/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OS/ARCH[/VARIANT] in Go's words, as image indexes use them, and which image serves which
 * machine. Pure; any thread.
 */
#ifndef CLIP_NET_PLATFORM_H
#define CLIP_NET_PLATFORM_H

#include "engine/err.h"

#define PLATFORM_PART_MAX 32 /* with the NUL */
#define PLATFORM_TEXT_MAX (3 * PLATFORM_PART_MAX)

struct platform {
    char os[PLATFORM_PART_MAX], arch[PLATFORM_PART_MAX];
    char variant[PLATFORM_PART_MAX]; /* "" if none */
};

/* -EINVAL with a sentence. Names of other worlds are understood: x86_64, aarch64, armhf, ... */
int platform_parse(const char *text, struct platform *out, struct clip_error *err);
/* `variant` may be NULL. -EINVAL for parts that are too long, empty, or not [A-Za-z0-9._-]. */
int platform_set(const char *os, const char *arch, const char *variant, struct platform *out);
/* The machine we run on. */
void platform_host(struct platform *out);
/* Writes at most PLATFORM_TEXT_MAX bytes and returns out. */
const char *platform_format(const struct platform *platform, char *out);

/* How well an image for `has` runs where `want` is wanted: 0 not at all, else the more the
 * better. An ARM or amd64 machine of a version runs what was made for lower ones. */
unsigned platform_match(const struct platform *want, const struct platform *has);

#endif
