/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes of a repository until they are there: one blob, or a part of it, or a manifest, from
 * whichever endpoint has it, tried again and continued where it stopped. A handle that ends by
 * itself. On the loop's thread.
 */
#ifndef CLIP_NET_TRANSFER_H
#define CLIP_NET_TRANSFER_H

#include "engine/slab.h"
#include "engine/work.h"
#include "net/endpoint.h"
#include "net/retry.h"

struct transfer;

/* `slab` is the receiver's to unlock; its length is taken from the credit. */
typedef void (*transfer_slab_cb)(void *data, struct slab *slab);
/* What came so far is void: all bytes come again. For transfers of unknown length only. */
typedef void (*transfer_restart_cb)(void *data);
/* Exactly once, nothing after it, and then the transfer is gone. The error names the URL, the
 * cause and how often it was tried. */
typedef void (*transfer_end_cb)(void *data, int status, const struct clip_error *err);

struct transfer_options {
    struct endpoints *endpoints; /* borrowed until the end */
    const struct retry_policy *policy;
    const char *path;   /* "blobs/sha256:...", "manifests/latest"; copied */
    const char *accept; /* static, or NULL */
    bool resolves;      /* a tag is asked for: only endpoints that resolve */
    bool open_ended;    /* the length is not known: up to `len` bytes, from 0 */
    uint64_t off, len;  /* the bytes that are wanted */
    uint64_t size;      /* of the whole, unless it is open-ended */
    unsigned attempt;   /* above 0: begin with other endpoints, past all caches */
    enum work_lane lane;
    transfer_slab_cb on_slab;
    transfer_restart_cb on_restart;
    transfer_end_cb on_end;
    void *data;
};

/* No credit at first. */
int transfer_open(struct clip_engine *engine, const struct transfer_options *options,
                  struct transfer **out, struct clip_error *err);
void transfer_credit(struct transfer *transfer, uint64_t len);
/* A wish: on_end comes with -ECANCELED, no slab after this call. */
void transfer_cancel(struct transfer *transfer);

/* Content-Type of the answer, in on_end with status 0; NULL if it had none. */
const char *transfer_media_type(const struct transfer *transfer);

#endif
