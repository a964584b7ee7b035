/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From bytes to tables: magic, version, size, checksums, and that each table is a whole number of
 * records. Sections lie one behind the other with less than FORMAT_ALIGN zero bytes between them,
 * so that no byte of a file goes unchecked.
 */
#include "index/image_map.h"

#include <inttypes.h>
#include <string.h>

static const struct known {
    const char *name;
    size_t record_len;
} known[FORMAT_SECTIONS_END] = {
    [FORMAT_IMAGE] = {"image", sizeof(struct format_image)},
    [FORMAT_STRINGS] = {"strings", 1},
    [FORMAT_NODES] = {"nodes", sizeof(struct format_node)},
    [FORMAT_ATTRS] = {"attrs", sizeof(struct format_attr)},
    [FORMAT_DIGESTS] = {"digests", sizeof(struct format_digest)},
    [FORMAT_EXTENTS] = {"extents", sizeof(struct format_extent)},
    [FORMAT_XATTR_SETS] = {"xattr sets", sizeof(struct format_xattr_set)},
    [FORMAT_XATTRS] = {"xattrs", sizeof(struct format_xattr)},
    [FORMAT_LAYERS] = {"layers", sizeof(struct format_layer)},
    [FORMAT_SPANS] = {"spans", sizeof(struct format_span)},
    [FORMAT_WINDOWS] = {"windows", 1},
    [FORMAT_PROFILE] = {"profile", sizeof(struct format_profile)},
    [FORMAT_NEEDS] = {"needs", sizeof(struct format_need)},
};

static bool is_known(uint32_t type)
{
    return type >= FORMAT_IMAGE && type < FORMAT_SECTIONS_END;
}

static int check_header(const struct clip_image *image, struct clip_error *err)
{
    const struct format_header *header = (const struct format_header *)image->bytes;
    size_t magic_len = image->len < FORMAT_MAGIC_LEN ? image->len : FORMAT_MAGIC_LEN;

    if (image->len == 0)
        return err_set(err, CLIP_EFORMAT, "not a clip index: it is empty");
    if (memcmp(image->bytes, FORMAT_MAGIC, magic_len) != 0)
        return err_set(err, CLIP_EFORMAT, "not a clip index");
    if (image->len > FORMAT_MAGIC_LEN && header->version != FORMAT_VERSION)
        return err_set(err, CLIP_EFORMAT,
                       "index version %u is not known (this clip reads version %u)",
                       header->version, FORMAT_VERSION);
    if (image->len < sizeof(*header))
        return err_set(err, CLIP_EFORMAT, "cut short: %zu bytes are less than a header",
                       image->len);
    if (header->file_size > image->len)
        return err_set(err, CLIP_EFORMAT, "cut short: %zu of %" PRIu64 " bytes are there",
                       image->len, header->file_size);
    if (header->file_size < image->len)
        return err_set(err, CLIP_EFORMAT, "damaged: %zu bytes, where its header says %" PRIu64,
                       image->len, header->file_size);
    return 0;
}

static int check_table(const struct clip_image *image, struct clip_error *err)
{
    const struct format_header *header = (const struct format_header *)image->bytes;
    const struct format_section *table = (const struct format_section *)(header + 1);

    if (header->n_sections > FORMAT_SECTIONS_MAX ||
        header->n_sections * sizeof(*table) > image->len - sizeof(*header))
        return err_set(err, CLIP_EFORMAT, "damaged: its header says %u sections",
                       header->n_sections);
    if (header->checksum != format_checksum(header, table))
        return err_set(err, CLIP_EFORMAT, "damaged: the header has the wrong checksum");
    if (header->reserved != 0)
        return err_set(err, CLIP_EFORMAT, "damaged: the header has unknown bits");
    return 0;
}

static bool is_zero(const uint8_t *bytes, uint64_t len)
{
    for (uint64_t i = 0; i < len; i++)
        if (bytes[i] != 0)
            return false;
    return true;
}

/* In the place after `*end`, and whole. */
static int check_section(const struct clip_image *image, const struct format_section *section,
                         uint64_t *end, struct clip_error *err)
{
    const char *name = is_known(section->type) ? known[section->type].name : "(unknown)";
    uint64_t off = (*end + FORMAT_ALIGN - 1) / FORMAT_ALIGN * FORMAT_ALIGN;

    if (section->off != off || off > image->len || section->len > image->len - off ||
        !is_zero(image->bytes + *end, off - *end))
        return err_set(err, CLIP_EFORMAT, "damaged: section %s is not in its place", name);
    if (section->checksum != XXH3_64bits(image->bytes + off, section->len))
        return err_set(err, CLIP_EFORMAT, "damaged: section %s has the wrong checksum", name);
    *end = off + section->len;
    return 0;
}

/* What can be said of a section by its type: NULL, or what is wrong. */
static const char *complain(const struct format_section *section, bool seen)
{
    if (section->flags & ~FORMAT_SECTION_NEEDED)
        return "has unknown flags";
    if (seen)
        return "is there twice";
    if (section->len % known[section->type].record_len != 0)
        return "is not a whole number of records";
    if (section->len / known[section->type].record_len >= FORMAT_NONE &&
        known[section->type].record_len > 1)
        return "has too many records";
    return NULL;
}

static int check_type(const struct format_section *section, bool seen[FORMAT_SECTIONS_END],
                      struct clip_error *err)
{
    const char *complaint;

    if (!is_known(section->type)) {
        if (!(section->flags & FORMAT_SECTION_NEEDED))
            return 0;
        return err_set(err, CLIP_EFORMAT, "a newer clip wrote it: section type %u is not known",
                       section->type);
    }
    complaint = complain(section, seen[section->type]);
    if (complaint)
        return err_set(err, CLIP_EFORMAT, "damaged: section %s %s", known[section->type].name,
                       complaint);
    seen[section->type] = true;
    return 0;
}

static void set_table(struct clip_image *image, const struct format_section *section)
{
    const void *at = image->bytes + section->off;
    uint32_t n = (uint32_t)(section->len / known[section->type].record_len);

    switch ((enum format_section_type)section->type) {
    case FORMAT_IMAGE:
        image->facts = n == 1 ? at : NULL;
        break;
    case FORMAT_STRINGS:
        image->strings = at;
        image->strings_len = section->len;
        break;
    case FORMAT_NODES:
        image->nodes = at;
        image->n_nodes = n;
        break;
    case FORMAT_ATTRS:
        image->attrs = at;
        image->n_attrs = n;
        break;
    case FORMAT_DIGESTS:
        image->digests = at;
        image->n_digests = n;
        break;
    case FORMAT_EXTENTS:
        image->extents = at;
        image->n_extents = n;
        break;
    case FORMAT_XATTR_SETS:
        image->xattr_sets = at;
        image->n_xattr_sets = n;
        break;
    case FORMAT_XATTRS:
        image->xattrs = at;
        image->n_xattrs = n;
        break;
    case FORMAT_LAYERS:
        image->layers = at;
        image->n_layers = n;
        break;
    case FORMAT_SPANS:
        image->spans = at;
        image->n_spans = n;
        break;
    case FORMAT_WINDOWS:
        image->windows = at;
        image->windows_len = section->len;
        break;
    case FORMAT_PROFILE:
        image->profile = at;
        image->n_profile = n;
        break;
    case FORMAT_NEEDS:
        image->needs = at;
        image->n_needs = n;
        break;
    case FORMAT_SECTIONS_END:
        break;
    }
}

int image_read_sections(struct clip_image *image, struct clip_error *err)
{
    const struct format_header *header = (const struct format_header *)image->bytes;
    const struct format_section *table = (const struct format_section *)(header + 1);
    bool seen[FORMAT_SECTIONS_END] = {false};
    uint64_t end;
    int r;

    r = check_header(image, err);
    if (r == 0)
        r = check_table(image, err);
    if (r < 0)
        return r;
    end = sizeof(*header) + header->n_sections * sizeof(*table);
    for (uint32_t i = 0; i < header->n_sections; i++) {
        r = check_section(image, &table[i], &end, err);
        if (r == 0)
            r = check_type(&table[i], seen, err);
        if (r < 0)
            return r;
        if (is_known(table[i].type))
            set_table(image, &table[i]);
    }
    if (end != image->len)
        return err_set(err, CLIP_EFORMAT, "damaged: it goes on behind its last section");
    for (uint32_t type = FORMAT_IMAGE; type < FORMAT_PROFILE; type++)
        if (!seen[type])
            return err_set(err, CLIP_EFORMAT, "damaged: section %s is missing", known[type].name);
    if (!image->facts)
        return err_set(err, CLIP_EFORMAT, "damaged: section image is not one record");
    return 0;
}
