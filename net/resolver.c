/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The happy path of a resolver is:
 * - feed_document() takes the first text. An index is narrowed down, in a layout by tag, then by
 *   platform, and the entry that is left becomes `next`; a manifest asks for its config.
 * - feed_config() makes the image whole.
 * Possible failure modes are: a text that is not what its descriptor says (CLIP_EDIGEST), not an
 * image (CLIP_EFORMAT), no or more than one image that fits (-ENOENT, -EINVAL). After an error
 * there is nothing left but fini.
 */
#include "net/resolver.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIST_LEN 256 /* of tags or platforms, in a message */

int resolver_init(struct resolver *resolver, const char *platform, struct clip_error *err)
{
    *resolver = (struct resolver){.asked = platform != NULL};
    if (platform)
        return platform_parse(platform, &resolver->want, err);
    platform_host(&resolver->want);
    return 0;
}

int resolver_set_layout(struct resolver *resolver, const char *layout, const char *tag)
{
    resolver->layout = layout;
    if (!tag)
        return 0;
    resolver->tag = strdup(tag);
    return resolver->tag ? 0 : -ENOMEM;
}

void resolver_fini(struct resolver *resolver)
{
    descriptor_fini(&resolver->next);
    manifest_free(resolver->manifest);
    free(resolver->tag);
}

struct manifest *resolver_take(struct resolver *resolver)
{
    struct manifest *manifest = resolver->manifest;

    resolver->manifest = NULL;
    return manifest;
}

/* --------------------------------------------------------------- messages */

/* Adds to a list in a message, "..." where it ends. */
static void list_add(char *list, const char *what)
{
    size_t used = strlen(list);

    if (used + strlen(what) + sizeof(", ...") < LIST_LEN)
        snprintf(list + used, LIST_LEN - used, "%s%s", used ? ", " : "", what);
    else if (used >= 3 && strcmp(list + used - 3, "...") != 0)
        snprintf(list + used, LIST_LEN - used, "...");
}

static void list_tags(const struct document *index, char *list)
{
    char digest[DIGEST_TEXT_LEN + 1];

    list[0] = '\0';
    for (unsigned i = 0; i < index->n_entries; i++) {
        const struct index_entry *entry = &index->entries[i];
        if (entry->is_attestation)
            continue;
        list_add(list, entry->tag    ? entry->tag
                       : entry->name ? entry->name
                                     : digest_format(&entry->blob.digest, digest));
    }
}

static int no_such_tag(const struct resolver *resolver, const struct document *index,
                       struct clip_error *err)
{
    char list[LIST_LEN];

    list_tags(index, list);
    if (!*list)
        return err_set(err, -ENOENT, "%s holds no image", resolver->layout);
    return err_set(err, -ENOENT, "%s holds no image \"%s\", but: %s", resolver->layout,
                   resolver->tag, list);
}

static int which_tag(const struct resolver *resolver, const struct document *index,
                     struct clip_error *err)
{
    char list[LIST_LEN];

    list_tags(index, list);
    return err_set(err, -EINVAL, "%s holds more than one image; add :TAG, one of: %s",
                   resolver->layout, list);
}

static int no_such_platform(const struct resolver *resolver, const struct document *index,
                            struct clip_error *err)
{
    char list[LIST_LEN] = "", text[PLATFORM_TEXT_MAX];

    for (unsigned i = 0; i < index->n_entries; i++)
        if (!index->entries[i].is_attestation && *index->entries[i].platform.os)
            list_add(list, platform_format(&index->entries[i].platform, text));
    return err_set(err, -ENOENT, "no image for %s; there is: %s",
                   platform_format(&resolver->want, text), *list ? list : "none");
}

/* --------------------------------------------------------------- choosing */

static bool is_tagged(const struct index_entry *entry, const char *tag)
{
    return (entry->tag && strcmp(entry->tag, tag) == 0) ||
           (entry->name && strcmp(entry->name, tag) == 0);
}

/* Leaves only what the tag names. */
static int keep_tagged(const struct resolver *resolver, struct document *index,
                       struct clip_error *err)
{
    unsigned n = 0;

    for (unsigned i = 0; i < index->n_entries; i++)
        if (!index->entries[i].is_attestation && is_tagged(&index->entries[i], resolver->tag))
            n++;
    if (n == 0)
        return no_such_tag(resolver, index, err);
    /* what is left out is marked as what is never an image */
    for (unsigned i = 0; i < index->n_entries; i++)
        if (!is_tagged(&index->entries[i], resolver->tag))
            index->entries[i].is_attestation = true;
    return 0;
}

/* Without a tag there must be one name for all. */
static int check_one_name(const struct resolver *resolver, const struct document *index,
                          struct clip_error *err)
{
    const struct index_entry *first = NULL;

    for (unsigned i = 0; i < index->n_entries; i++) {
        const struct index_entry *entry = &index->entries[i];
        if (entry->is_attestation)
            continue;
        if (!first)
            first = entry;
        if (digest_equal(&first->blob.digest, &entry->blob.digest))
            continue;
        if (!first->tag != !entry->tag || (first->tag && strcmp(first->tag, entry->tag) != 0) ||
            !*first->platform.os || !*entry->platform.os)
            return which_tag(resolver, index, err);
    }
    return first ? 0 : err_set(err, -ENOENT, "%s holds no image", resolver->layout);
}

/* An entry that does not say its platform may be the one: it goes last, and its config says. */
static unsigned rank_of(const struct resolver *resolver, const struct index_entry *entry)
{
    if (entry->is_attestation)
        return 0;
    if (!*entry->platform.os)
        return 1;
    return platform_match(&resolver->want, &entry->platform);
}

static int choose(const struct resolver *resolver, const struct document *index, unsigned *out,
                  struct clip_error *err)
{
    unsigned best = 0, only = 0, n = 0;

    for (unsigned i = 0; i < index->n_entries; i++) {
        unsigned rank = rank_of(resolver, &index->entries[i]);
        if (!index->entries[i].is_attestation && ++n == 1)
            only = i;
        if (rank > best) {
            best = rank;
            *out = i;
        }
    }
    if (best > 0)
        return 0;
    /* the one image of a layout is what its owner means, whatever machine this is */
    if (resolver->layout && n == 1 && !resolver->asked && resolver->nesting == 0) {
        *out = only;
        return 0;
    }
    return no_such_platform(resolver, index, err);
}

/* --------------------------------------------------------------- feeding */

static int ask_for(struct resolver *resolver, struct descriptor *blob)
{
    descriptor_fini(&resolver->next);
    resolver->next = *blob;
    resolver->has_next = true;
    blob->media_type = NULL;
    return 1;
}

static int feed_index(struct resolver *resolver, struct document *index, struct clip_error *err)
{
    unsigned chosen = 0;
    int r = 0;

    if (resolver->layout && resolver->nesting == 0)
        r = resolver->tag ? keep_tagged(resolver, index, err)
                          : check_one_name(resolver, index, err);
    if (r == 0)
        r = choose(resolver, index, &chosen, err);
    if (r < 0)
        return r;
    if (++resolver->nesting > RESOLVER_NESTING_MAX)
        return err_set(err, CLIP_EFORMAT, "image indexes nested more than %u deep",
                       RESOLVER_NESTING_MAX);
    if (index->entries[chosen].blob.size > MANIFEST_SIZE_MAX)
        return err_set(err, CLIP_EFORMAT, "manifest of %" PRIu64 " bytes; %u are allowed",
                       index->entries[chosen].blob.size, MANIFEST_SIZE_MAX);
    return ask_for(resolver, &index->entries[chosen].blob);
}

static int feed_document(struct resolver *resolver, const void *text, size_t len,
                         const char *media_type, struct clip_error *err)
{
    struct document document;
    int r;

    r = document_parse(text, len, media_type, &document, err);
    if (r < 0)
        return r;
    if (document.manifest) {
        resolver->manifest = document.manifest;
        document.manifest = NULL;
        r = ask_for(resolver, &document.config);
    } else {
        r = feed_index(resolver, &document, err);
    }
    document_fini(&document);
    return r;
}

static int feed_config(struct resolver *resolver, const void *text, size_t len,
                       struct clip_error *err)
{
    struct platform has;
    char wanted[PLATFORM_TEXT_MAX];
    int r;

    r = manifest_set_config(resolver->manifest, text, len, err);
    if (r < 0)
        return r;
    r = platform_parse(resolver->manifest->platform, &has, err);
    if (r < 0)
        return r;
    if (resolver->asked && platform_match(&resolver->want, &has) == 0)
        return err_set(err, -ENOENT, "the image is for %s, not for %s",
                       resolver->manifest->platform, platform_format(&resolver->want, wanted));
    return 0;
}

static int check_against(const struct descriptor *wanted, const void *text, size_t len,
                         struct clip_error *err)
{
    char digest[DIGEST_TEXT_LEN + 1];
    struct digest is;

    digest_format(&wanted->digest, digest);
    if (len != wanted->size)
        return err_set(err, CLIP_EDIGEST, "blob %s has %zu bytes, not %" PRIu64, digest, len,
                       wanted->size);
    sha256_of(text, len, &is);
    if (!digest_equal(&is, &wanted->digest))
        return err_set(err, CLIP_EDIGEST, "blob %s has other bytes than its digest says", digest);
    return 0;
}

int resolver_feed(struct resolver *resolver, const void *text, size_t len, const char *media_type,
                  struct clip_error *err)
{
    int r;

    if (resolver->has_next) {
        r = check_against(&resolver->next, text, len, err);
        if (r < 0)
            return r;
        media_type = resolver->next.media_type;
    }
    if (resolver->manifest)
        return feed_config(resolver, text, len, err);
    return feed_document(resolver, text, len, media_type, err);
}
