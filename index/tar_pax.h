/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The records of pax headers, "LEN KEY=VALUE\n" each (POSIX.1-2017, pax Extended Header). A record
 * overrides earlier ones of its key; one without a value takes them back. Pure.
 */
#ifndef CLIP_INDEX_TAR_PAX_H
#define CLIP_INDEX_TAR_PAX_H

#include "engine/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What we read ourselves. */
enum tar_pax_key {
    PAX_PATH,
    PAX_LINKPATH,
    PAX_SIZE,
    PAX_UID,
    PAX_GID,
    PAX_MTIME,
    PAX_SPARSE_NAME,
    PAX_SPARSE_MAJOR,
    PAX_SPARSE_MINOR,
    PAX_SPARSE_SIZE,
    PAX_SPARSE_REAL_SIZE,
    PAX_SPARSE_BLOCKS, /* how many pairs its map has */
    PAX_SPARSE_MAP,
    PAX_KEYS
};

struct tar_pax {
    struct {
        size_t off, len; /* of the value in the records. off 0: no record; len 0: taken back */
    } values[PAX_KEYS];
    bool vendor; /* xattrs, ACLs, devices: libarchive knows what they mean */
    bool sparse; /* some GNU.sparse.* */
};

/* A record, as offsets in the payload. */
struct tar_pax_record {
    size_t key, key_len;
    size_t value, value_len;
};

/* What g headers said up to now, for all entries to come. Zeroed at first. */
struct tar_globals {
    struct {
        uint8_t *bytes; /* NULL: nothing */
        size_t len;
    } values[PAX_KEYS];
};

/* -EBADMSG if they are not records. Keys that mean nothing to us are passed over. */
int tar_pax_read(const uint8_t *records, size_t len, struct tar_pax *out, struct clip_error *err);

/* The record at *off, which then is the next one's; -EBADMSG if it is none. */
int tar_pax_next(const uint8_t *records, size_t len, size_t *off, struct tar_pax_record *out);
bool tar_pax_is(const uint8_t *records, const struct tar_pax_record *record, const char *key);

/* Takes over what `pax`, read from `records`, says. -ENOMEM. */
int tar_globals_update(struct tar_globals *globals, const uint8_t *records,
                       const struct tar_pax *pax);
void tar_globals_fini(struct tar_globals *globals);

/* Values: -EBADMSG if it is not a decimal number that fits; digits below a nanosecond are cut. */
int tar_pax_number(const uint8_t *text, size_t len, int64_t *out);
int tar_pax_time(const uint8_t *text, size_t len, int64_t *out_sec, uint32_t *out_nsec);

#endif
