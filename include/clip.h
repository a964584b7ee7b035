/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libclip: start containers from OCI images without pulling them.
 *
 * The one public header. It compiles as C11 and as C++ and needs nothing but the C library; hosts
 * that run a libuv loop hand us a pointer to it.
 *
 * Rules that hold everywhere:
 * - Threads: an engine and all that hangs on it belong to the thread that runs the loop. Functions
 *   of `struct clip_image` are pure reads of a mapped file and may be called from any thread.
 * - Errors: 0 or a negative errno; `struct clip_error`, where a function takes one, then holds one
 *   sentence for people. It may be NULL. Out-parameters are not touched on failure.
 * - Requests: a `done` callback fires exactly once, on the loop, never from inside the call that
 *   started it. If the starting call fails, it does not fire. Cancelling is a wish: it still fires.
 * - The loop is the host's: we do not run it, stop it, or keep it alive when idle. As libuv asks,
 *   the host ignores SIGPIPE.
 * - Strings and structs passed in are copied unless the text says that they are borrowed.
 */
#ifndef CLIP_H
#define CLIP_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define CLIP_API               __attribute__((visibility("default")))
#define CLIP_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#else
#define CLIP_API
#define CLIP_PRINTF(fmt, args)
#endif

#ifdef __cplusplus
extern "C" {
#endif

struct uv_loop_s;
struct clip_engine;
struct clip_image;
struct clip_index;
struct clip_reader;
struct clip_mount;

/* ------------------------------------------------------------------ errors */

/* Bytes from outside are not what their format says. */
#define CLIP_EFORMAT (-EBADMSG)
/* Bytes do not have the digest that names them. */
#define CLIP_EDIGEST (-EILSEQ)

#define CLIP_ERROR_LEN 512

struct clip_error {
    int code; /* 0, or a negative errno */
    char message[CLIP_ERROR_LEN];
};

CLIP_API const char *clip_version(void);

/* ------------------------------------------------------------------ engine */

enum clip_log_level { CLIP_LOG_ERROR, CLIP_LOG_WARN, CLIP_LOG_INFO, CLIP_LOG_DEBUG };

/* One event, without a newline. Called on the loop's thread. */
typedef void (*clip_log_cb)(void *data, enum clip_log_level level, const char *message);
typedef void (*clip_done_cb)(void *data, int status, const struct clip_error *err);
typedef void (*clip_close_cb)(void *data);

/* Whether the machine's idle CPUs may be asked to poll, and not to halt, while work follows work
 * closely, and for 20 ms more: PM QoS, by /dev/cpu_dma_latency, for which one has to be root. In a
 * guest a thread that is woken on a CPU that has halted waits for the hypervisor. AUTO: where the
 * cpuidle governor is haltpoll, and with up to 8 CPUs. */
enum clip_idle_polling { CLIP_IDLE_POLLING_OFF, CLIP_IDLE_POLLING_AUTO, CLIP_IDLE_POLLING_ON };

struct clip_engine_options {
    clip_log_cb on_log; /* NULL: silent */
    void *log_data;
    enum clip_log_level log_level; /* above this nothing is formatted */
    unsigned pool_threads;         /* jobs in flight at most; 0: what uv's pool has */
    enum clip_idle_polling idle_polling;
};

/* The loop must outlive the engine; a host calls clip_engine_close() and runs the loop until
 * `on_close`. `options` may be NULL. */
CLIP_API int clip_engine_open(struct uv_loop_s *loop, const struct clip_engine_options *options,
                              struct clip_engine **out, struct clip_error *err);

/* Closes what is still open on the engine first (mounts are unmounted), then frees it. */
CLIP_API void clip_engine_close(struct clip_engine *engine, clip_close_cb on_close, void *data);

/* All counters and gauges in Prometheus text format 0.0.4; malloc'ed, the caller frees. */
CLIP_API int clip_engine_metrics(struct clip_engine *engine, char **out, size_t *out_len);

/* ----------------------------------------------------- where blobs come from */

/* Options of everything that fetches. All NULL or zero: the environment's defaults. */
struct clip_source_options {
    const char *platform;       /* OS/ARCH[/VARIANT]; NULL: the host's */
    const char *creds;          /* USER:PASS */
    const char *authfile;       /* docker's or containers' auth.json */
    const char *ca_file;        /* PEM, in addition to the system's store */
    const char *certs_dir;      /* a certs.d directory; NULL: the usual places */
    const char *const *mirrors; /* URLs, NULL terminated, asked in order before the registry */
    bool plain_http;            /* allow http:// to hosts that are not loopback */
};

/* ------------------------------------------------------------------- index */

enum clip_index_phase { CLIP_INDEX_RESOLVE, CLIP_INDEX_LAYERS, CLIP_INDEX_WRITE };

struct clip_index_progress {
    enum clip_index_phase phase;
    unsigned layer;       /* which layer moved, in phase LAYERS */
    unsigned n_layers;    /* 0 until the manifest is known */
    uint64_t layer_done;  /* compressed bytes of that layer */
    uint64_t layer_total; /* its size by the manifest */
    uint64_t done, total; /* compressed bytes of all layers */
};

typedef void (*clip_progress_cb)(void *data, const struct clip_index_progress *progress);

struct clip_index_options {
    const char *image;     /* reference or local source */
    const char *output;    /* path of the .clip to write (temporary beside it, then renamed) */
    const char *store_ref; /* reference to record instead of `image` */
    uint64_t span_size;    /* 0: 1 MiB; else 64 KiB to 64 MiB */
    unsigned jobs;         /* layers in flight; 0: chosen */
    bool keep_runtime_dirs;
    const char *cache_dir; /* with fill_cache */
    bool fill_cache;       /* store the decoded spans as they pass */
    struct clip_source_options source;
    clip_progress_cb on_progress; /* may be NULL; at most some ten times a second a layer */
    void *progress_data;
};

struct clip_index_result {
    uint64_t n_entries; /* paths in the merged tree, the root not counted */
    uint64_t n_files;   /* regular files among them */
    uint64_t n_layers, n_checkpoints;
    uint64_t compressed_size, uncompressed_size; /* of all layers, bytes */
    uint64_t index_size;                         /* bytes */
};

typedef void (*clip_index_cb)(void *data, int status, const struct clip_error *err,
                              const struct clip_index_result *result);

/* Streams all layers once and writes options->output. `out` is valid until `done` fires. */
CLIP_API int clip_index_start(struct clip_engine *engine, const struct clip_index_options *options,
                              clip_index_cb done, void *data, struct clip_index **out,
                              struct clip_error *err);
CLIP_API void clip_index_cancel(struct clip_index *index);

/* ------------------------------------------------------------------- image */

/* Maps and validates an index file. The image is counted: ref/unref, freed by the last unref. */
CLIP_API int clip_image_open(const char *path, struct clip_image **out, struct clip_error *err);
CLIP_API struct clip_image *clip_image_ref(struct clip_image *image);
CLIP_API void clip_image_unref(struct clip_image *image);

/* Strings live as long as the image. Digests are text, "sha256:..." */
struct clip_image_info {
    const char *reference;
    const char *manifest_digest;
    const char *manifest_media_type;
    const char *platform; /* OS/ARCH[/VARIANT] */
    const char *config;   /* the image's config JSON, verbatim; NUL terminated */
    size_t config_len;
    uint64_t span_size; /* what it was built with, bytes */
    uint64_t file_size; /* the index's own, bytes */
    uint64_t n_nodes;   /* inodes and names: numbers run 1..n_nodes */
    uint64_t n_entries, n_files, n_dirs, n_symlinks, n_hardlinks, n_others;
    uint64_t content_size; /* sum of regular files' sizes, hard links once */
    unsigned n_layers;
    uint64_t n_spans;
    uint64_t n_needs; /* of all files: clip_image_need */
};
CLIP_API void clip_image_info(const struct clip_image *image, struct clip_image_info *out);

struct clip_layer_info {
    const char *digest; /* of the blob */
    const char *diff_id;
    const char *media_type;
    const char *codec; /* "gzip", "zstd", "tar" */
    uint64_t size;     /* of the blob */
    uint64_t uncompressed_size;
    uint64_t n_spans;
    uint64_t windows_size; /* bytes its windows take in the index */
};
CLIP_API int clip_image_layer(const struct clip_image *image, unsigned layer,
                              struct clip_layer_info *out);

struct clip_stat {
    uint64_t ino;
    uint32_t mode; /* type and permission bits, as st_mode */
    uint32_t uid, gid;
    uint32_t nlink;
    uint64_t size;
    int64_t mtime_sec;
    uint32_t mtime_nsec;
    uint32_t rdev_major, rdev_minor;
};

#define CLIP_ROOT_INO 1

/* `path` from the image's root. A last symlink is followed if `follow`; none ever leads out of the
 * root. -ENOENT, -ENOTDIR, -ELOOP, -ENAMETOOLONG. */
CLIP_API int clip_image_lookup(const struct clip_image *image, const char *path, bool follow,
                               uint64_t *out_ino);
/* The first path of a node, from the root ("/usr/bin/env"; the root's is "/"), cut to out_len - 1
 * bytes and NUL terminated. Returns how long all of it is; -ENOENT. */
CLIP_API int clip_image_path(const struct clip_image *image, uint64_t ino, char *out,
                             size_t out_len);
CLIP_API int clip_image_stat(const struct clip_image *image, uint64_t ino, struct clip_stat *out);
/* The index-th child, sorted by name bytes; -ENOENT past the last. The name is not NUL terminated.
 */
struct clip_dirent {
    const char *name;
    size_t name_len;
    uint64_t ino;
};
CLIP_API int clip_image_readdir(const struct clip_image *image, uint64_t ino, uint64_t index,
                                struct clip_dirent *out);
/* The target, not NUL terminated. -EINVAL if not a symlink. */
CLIP_API int clip_image_readlink(const struct clip_image *image, uint64_t ino, const char **out,
                                 size_t *out_len);
/* The index-th xattr; -ENODATA past the last. */
struct clip_xattr {
    const char *name; /* not NUL terminated */
    size_t name_len;
    const void *value;
    size_t value_len;
};
CLIP_API int clip_image_xattr(const struct clip_image *image, uint64_t ino, uint64_t index,
                              struct clip_xattr *out);
/* SHA-256 of a regular file's content, 32 bytes. -EINVAL if not a regular file. */
CLIP_API int clip_image_content_digest(const struct clip_image *image, uint64_t ino,
                                       uint8_t out[32]);

/* The index-th of the files that a regular file says it needs to run, in the order in which it will
 * read them: a program's interpreter and libraries, what a Python module imports. A mount that
 * prefetches has them fetched when the file is read. -ENOENT past the last. */
CLIP_API int clip_image_need(const struct clip_image *image, uint64_t ino, uint64_t index,
                             uint64_t *out_ino);

/* ------------------------------------------------------------------ profile */

/* A span that will be read: which one of which layer, both from 0. */
struct clip_profile_span {
    uint32_t layer, span;
};

/* What a mount of this index fetches ahead, in its order; 0: it has no profile. Lent as long as
 * the image lives. */
CLIP_API size_t clip_image_profile(const struct clip_image *image,
                                   const struct clip_profile_span **out);
/* Writes the index with that profile (n 0: without one) to `path`, which may be its own: a
 * temporary file beside it, then renamed. Blocking: for a command, or a thread of the host's.
 * -EINVAL for a span that the image does not have. */
CLIP_API int clip_image_save(const struct clip_image *image,
                             const struct clip_profile_span *profile, size_t n, const char *path,
                             struct clip_error *err);

/* ------------------------------------------------------------------- verify */

struct clip_verify;

struct clip_verify_options {
    struct clip_image *image; /* a reference is taken */
    const char *source;       /* where the blobs are, instead of what the index names */
    struct clip_source_options net;
    clip_progress_cb on_progress; /* as of an index run: the blobs' bytes; may be NULL */
    void *progress_data;
};

/* Checks an index against its blobs: every blob's digest and diff_id, the tree with all metadata
 * and content digests, and every span as a mount would fetch it. `out` is valid until `done`. */
CLIP_API int clip_verify_start(struct clip_engine *engine,
                               const struct clip_verify_options *options, clip_done_cb done,
                               void *data, struct clip_verify **out, struct clip_error *err);
CLIP_API void clip_verify_cancel(struct clip_verify *verify);

/* ------------------------------------------------------------------ reading */

struct clip_counters {
    uint64_t reads, bytes_served;          /* requests for file bytes, and what they got */
    uint64_t hits, misses;                 /* spans asked for: there / not there */
    uint64_t spans_fetched, bytes_fetched; /* decoded and stored / compressed, over the wire */
    uint64_t range_requests;
    uint64_t errors;
    uint64_t stall_ns; /* time that reads waited for spans */
    uint64_t inflight; /* reads waiting now */
};

struct clip_reader_options {
    const char *source;    /* where the blobs are, instead of what the index names */
    const char *cache_dir; /* spans on disk; NULL: memory only */
    uint64_t cache_size;   /* bytes on disk at most; 0: chosen */
    bool prefetch;         /* fetch what the index says will be read: its profile, or what
                              files need when they are read; with a cache_dir */
    struct clip_source_options net;
};

/* Reads files of an image without a mount. Holds a reference to `image`. */
CLIP_API int clip_reader_open(struct clip_engine *engine, struct clip_image *image,
                              const struct clip_reader_options *options, struct clip_reader **out,
                              struct clip_error *err);
/* Reads in flight end with -ECANCELED before `on_close`. */
CLIP_API void clip_reader_close(struct clip_reader *reader, clip_close_cb on_close, void *data);

/* status: bytes read (short only at the end of the file), or a negative errno. `buf` is borrowed
 * until done. */
CLIP_API int clip_reader_read(struct clip_reader *reader, uint64_t ino, uint64_t off, void *buf,
                              size_t len, clip_done_cb done, void *data);
CLIP_API void clip_reader_counters(const struct clip_reader *reader, struct clip_counters *out);

/* Writes the tree below `ino` into the directory `dir` (made if missing); as root with owners,
 * devices and xattrs. Nothing is ever written outside of `dir`. */
CLIP_API int clip_reader_extract(struct clip_reader *reader, uint64_t ino, const char *dir,
                                 clip_done_cb done, void *data);

/* -------------------------------------------------------------------- mount */

struct clip_mount_options {
    struct clip_image *image; /* a reference is taken */
    const char *mountpoint;   /* an existing, empty directory */
    struct clip_reader_options reader;
    bool allow_dev, allow_suid; /* else nosuid,nodev; an overlay above does not need them */
    clip_done_cb
        on_unmounted; /* the kernel let go without us asking (umount, abort); may be NULL */
    void *data;       /* for on_unmounted */
};

/* `done` fires with 0 when the tree can be used, or with why not and then `out` is gone. */
CLIP_API int clip_mount_open(struct clip_engine *engine, const struct clip_mount_options *options,
                             clip_done_cb done, void *data, struct clip_mount **out,
                             struct clip_error *err);
/* Unmounts (lazily if it is busy); waiting reads get an error. Also to be called, once, after
 * on_unmounted. */
CLIP_API void clip_mount_close(struct clip_mount *mount, clip_close_cb on_close, void *data);
CLIP_API void clip_mount_counters(const struct clip_mount *mount, struct clip_counters *out);
/* Which spans were read through it up to now, each once, in the order of their first reads: a
 * profile for clip_image_save(). Lent until the loop goes on. */
CLIP_API size_t clip_mount_profile(const struct clip_mount *mount,
                                   const struct clip_profile_span **out);

/* Blocking, for a command of its own: never call it on the loop that serves the mount. -EINVAL if
 * `mountpoint` is not a clip mount. */
CLIP_API int clip_unmount(const char *mountpoint, struct clip_error *err);

/* ------------------------------------------------------------------ overlay */

/* An overlayfs in `dir`: rootfs is the mount, with upper and work beside it; `lower` is a mounted
 * image. Read-only: no upper. The mount is made on the pool, and so are the directories that are
 * missing; those go again when it fails. */
struct clip_overlay_options {
    const char *lower;
    const char *dir;
    const char *upper; /* NULL: dir/upper and dir/work; else its work is UPPER.work */
    bool read_only;
};
CLIP_API int clip_overlay_mount(struct clip_engine *engine,
                                const struct clip_overlay_options *options, clip_done_cb done,
                                void *data, struct clip_error *err);
/* Takes the overlay in `dir` away; with `remove` also rootfs, upper, work, and dir if nothing else
 * is in it. -EBUSY while something in it is in use. */
CLIP_API int clip_overlay_unmount(struct clip_engine *engine, const char *dir, bool remove,
                                  clip_done_cb done, void *data, struct clip_error *err);

#ifdef __cplusplus
}
#endif
#endif
