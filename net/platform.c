/* SPDX-License-Identifier: Apache-2.0 */
/*
 * platform_set() puts names into Go's words, so that all that compare platforms compare equal
 * things; a missing variant means what containerd takes it for: v7 of arm, v8 of arm64, v1 of
 * amd64. Failure: parts that no platform has, refused.
 */
#include "net/platform.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

struct alias {
    const char *name, *arch, *variant;
};

/* What uname, Debian and people say, and Go's word for it. */
static const struct alias aliases[] = {
    {"x86_64", "amd64", ""},       {"x86-64", "amd64", ""},  {"aarch64", "arm64", ""},
    {"aarch64_be", "arm64be", ""}, {"i386", "386", ""},      {"i486", "386", ""},
    {"i586", "386", ""},           {"i686", "386", ""},      {"armhf", "arm", "v7"},
    {"armel", "arm", "v6"},        {"armv5l", "arm", "v5"},  {"armv6l", "arm", "v6"},
    {"armv7l", "arm", "v7"},       {"armv8l", "arm", "v7"},  {"ppc64el", "ppc64le", ""},
    {"mips64el", "mips64le", ""},  {"mipsel", "mipsle", ""}, {"loongarch64", "loong64", ""},
};

static bool part_is_good(const char *part)
{
    static const char letters[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    size_t len = strspn(part, letters);

    return len < PLATFORM_PART_MAX && part[len] == '\0';
}

int platform_set(const char *os, const char *arch, const char *variant, struct platform *out)
{
    if (!variant)
        variant = "";
    if (!part_is_good(os) || !part_is_good(arch) || !part_is_good(variant) || !*os || !*arch)
        return -EINVAL;
    for (size_t i = 0; i < sizeof(aliases) / sizeof(aliases[0]); i++) {
        if (strcmp(arch, aliases[i].name) != 0)
            continue;
        arch = aliases[i].arch;
        if (!*variant)
            variant = aliases[i].variant;
        break;
    }
    snprintf(out->os, sizeof(out->os), "%s", os);
    snprintf(out->arch, sizeof(out->arch), "%s", arch);
    snprintf(out->variant, sizeof(out->variant), "%s", variant);
    return 0;
}

int platform_parse(const char *text, struct platform *out, struct clip_error *err)
{
    char copy[PLATFORM_TEXT_MAX], quoted[2 * PLATFORM_TEXT_MAX];
    char *arch, *variant = NULL;

    if (strlen(text) >= sizeof(copy))
        goto fail;
    snprintf(copy, sizeof(copy), "%s", text);
    arch = strchr(copy, '/');
    if (!arch)
        goto fail;
    *arch++ = '\0';
    variant = strchr(arch, '/');
    if (variant)
        *variant++ = '\0';
    if (platform_set(copy, arch, variant, out) == 0)
        return 0;
fail:
    return err_set(err, -EINVAL, "platform \"%s\" is not OS/ARCH[/VARIANT]",
                   err_quote(text, strlen(text), quoted, sizeof(quoted)));
}

void platform_host(struct platform *out)
{
    struct utsname name;

    if (uname(&name) < 0 || platform_set("linux", name.machine, NULL, out) < 0)
        platform_set("linux", "unknown", NULL, out);
}

const char *platform_format(const struct platform *platform, char *out)
{
    snprintf(out, PLATFORM_TEXT_MAX, "%s/%s%s%s", platform->os, platform->arch,
             *platform->variant ? "/" : "", platform->variant);
    return out;
}

/* A variant's number, or 0 if it is none that counts: "v7", also "7". */
static unsigned version_of(const struct platform *platform)
{
    const char *text = platform->variant;
    char *end;
    unsigned long version;

    if (!*text && strcmp(platform->arch, "arm") == 0)
        return 7;
    if (!*text && strcmp(platform->arch, "arm64") == 0)
        return 8;
    if (!*text && strcmp(platform->arch, "amd64") == 0)
        return 1;
    if (*text == 'v')
        text++;
    if (*text < '1' || *text > '9')
        return 0;
    version = strtoul(text, &end, 10);
    return *end == '\0' && version < 100 ? (unsigned)version : 0;
}

unsigned platform_match(const struct platform *want, const struct platform *has)
{
    unsigned wanted = version_of(want), had = version_of(has);

    if (strcmp(want->os, has->os) != 0 || strcmp(want->arch, has->arch) != 0)
        return 0;
    if (wanted == had && (wanted > 0 || strcmp(want->variant, has->variant) == 0))
        return 1000;
    /* v7 runs v6, the closer the better */
    if (wanted > had && had > 0)
        return 1000 - (wanted - had);
    return 0;
}
