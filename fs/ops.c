/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The happy path of a read is: op_read() starts it; if its bytes were at hand it is answered at
 * once, else it joins the waiting until on_read().
 * Possible failure modes are: the reader's, which the asker sees as EIO (the reader has said why in
 * the log); an interrupt, which ends in EINTR; the mount's end, in EIO.
 * An operation answers its request exactly once; nothing here calls out but to the reader.
 */
#include "fs/ops.h"

#include "fs/read.h"
#include "fs/seek.h"
#include "fs/settings.h"

#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>

#define FOREVER         ((double)UINT32_MAX) /* seconds */
#define BLOCK           4096u                /* of statfs and st_blksize */
#define NAME_LEN        255u
#define ASKS_AGAIN_NS   200000000ull       /* how soon the kernel does, at the latest */
#define DIR_REPLY_MAX   ((size_t)32 << 10) /* what the C library's readdir() asks for */
#define XATTR_NAMES_MAX 65536u             /* XATTR_LIST_MAX */

static struct ops *ops_of(fuse_req_t req)
{
    return channel_data(req);
}

static double timeout(const struct ops *ops, enum setting setting)
{
    return settings_has(ops->settings, setting) ? FOREVER : 0;
}

/* --------------------------------------------------------------------- setup */

static void op_init(void *data, struct fuse_conn_info *conn)
{
    const struct ops *ops = ((struct channel *)data)->options.data;
    unsigned want = FUSE_CAP_EXPORT_SUPPORT;

    /* Nothing changes here, so no attribute need be looked at before a read of the page cache. And
     * who waits for an asynchronous O_DIRECT read cannot be killed. */
    conn->want &=
        ~(unsigned)(FUSE_CAP_AUTO_INVAL_DATA | FUSE_CAP_READDIRPLUS_AUTO | FUSE_CAP_ASYNC_DIO);
    if (settings_has(ops->settings, SETTING_SYMLINKS))
        want |= FUSE_CAP_CACHE_SYMLINKS;
    if (ops->has_acls)
        want |= FUSE_CAP_POSIX_ACL;
    if (!settings_has(ops->settings, SETTING_READDIRPLUS))
        conn->want &= ~(unsigned)FUSE_CAP_READDIRPLUS;
    conn->want |= want & conn->capable;
    if (settings_has(ops->settings, SETTING_BACKGROUND)) {
        conn->max_background = 512;
        conn->congestion_threshold = 384;
    }
}

/* -------------------------------------------------------------- look-ups, attributes */

static int fill_stat(const struct ops *ops, uint64_t ino, struct stat *out)
{
    struct clip_stat from;
    int r = clip_image_stat(ops->image, ino, &from);

    if (r < 0)
        return r;
    *out = (struct stat){
        .st_ino = from.ino,
        .st_mode = from.mode,
        .st_nlink = from.nlink,
        .st_uid = from.uid,
        .st_gid = from.gid,
        .st_rdev = makedev(from.rdev_major, from.rdev_minor),
        .st_size = (off_t)from.size,
        .st_blksize = BLOCK,
        .st_blocks = (blkcnt_t)(seek_data_size(ops->image, &from) / 512),
        .st_mtim = {.tv_sec = from.mtime_sec, .tv_nsec = from.mtime_nsec},
    };
    out->st_atim = out->st_ctim = out->st_mtim; /* the only time that an image has */
    return 0;
}

static int fill_entry(const struct ops *ops, uint64_t ino, struct fuse_entry_param *out)
{
    *out = (struct fuse_entry_param){
        .ino = ino,
        .attr_timeout = timeout(ops, SETTING_TIMEOUTS),
        .entry_timeout = timeout(ops, SETTING_TIMEOUTS),
    };
    return fill_stat(ops, ino, &out->attr);
}

/* "." and ".." come from NFS servers and open_by_handle_at(), for a node that the kernel forgot. */
static int find(const struct ops *ops, uint64_t dir, const char *name, uint64_t *out)
{
    uint64_t ino;

    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0) {
        ino = name[1] ? image_parent(ops->image, dir) : image_inode(ops->image, dir);
        if (ino == 0)
            return -ESTALE;
        *out = ino;
        return 0;
    }
    return image_find(ops->image, dir, name, strlen(name), out);
}

static void op_lookup(fuse_req_t req, fuse_ino_t dir, const char *name)
{
    const struct ops *ops = ops_of(req);
    struct fuse_entry_param entry = {.entry_timeout = timeout(ops, SETTING_NEGATIVE)};
    uint64_t ino;
    int r = find(ops, dir, name, &ino);

    if (r == 0)
        r = fill_entry(ops, ino, &entry);
    else if (r == -ENOENT && settings_has(ops->settings, SETTING_NEGATIVE))
        r = 0; /* node 0: the kernel remembers that there is none */
    if (r < 0)
        fuse_reply_err(req, -r);
    else
        fuse_reply_entry(req, &entry);
}

static void op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t n)
{
    (void)ino, (void)n;
    fuse_reply_none(req);
}

static void op_forget_multi(fuse_req_t req, size_t n, struct fuse_forget_data *forgets)
{
    (void)n, (void)forgets;
    fuse_reply_none(req);
}

static void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *file)
{
    const struct ops *ops = ops_of(req);
    struct stat st;
    int r = fill_stat(ops, ino, &st);

    (void)file;
    if (r < 0)
        fuse_reply_err(req, -r);
    else
        fuse_reply_attr(req, &st, timeout(ops, SETTING_TIMEOUTS));
}

static void op_readlink(fuse_req_t req, fuse_ino_t ino)
{
    const char *target;
    size_t len;
    int r = clip_image_readlink(ops_of(req)->image, ino, &target, &len);

    if (r < 0)
        fuse_reply_err(req, -r);
    else
        fuse_reply_buf(req, target, len);
}

static void op_statfs(fuse_req_t req, fuse_ino_t ino)
{
    struct clip_image_info info;
    struct statvfs st = {.f_bsize = BLOCK, .f_frsize = BLOCK, .f_namemax = NAME_LEN};

    (void)ino;
    clip_image_info(ops_of(req)->image, &info);
    st.f_blocks = info.content_size / BLOCK + (info.content_size % BLOCK > 0);
    st.f_files = info.n_entries - info.n_hardlinks + 1; /* inodes: the root is one */
    fuse_reply_statfs(req, &st);
}

/* -------------------------------------------------------------------- opening */

/* ENOSYS means: no need to ask me, now or ever again. */
static void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *file)
{
    (void)ino;
    file->keep_cache = true;
    if (settings_has(ops_of(req)->settings, SETTING_OPEN))
        fuse_reply_err(req, ENOSYS);
    else
        fuse_reply_open(req, file);
}

static void op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *file)
{
    (void)ino;
    if (settings_has(ops_of(req)->settings, SETTING_OPENDIR))
        fuse_reply_err(req, ENOSYS);
    else
        fuse_reply_open(req, file);
}

/* --------------------------------------------------------------- directories */

struct listing {
    fuse_req_t req;
    const struct ops *ops;
    uint64_t dir;
    bool plus;
    char *bytes;
    size_t len, max;
};

/* False when it does not fit any more. `next` is where to go on after it. */
static bool add_entry(struct listing *list, const char *name, size_t name_len, uint64_t ino,
                      uint64_t next)
{
    struct fuse_entry_param entry;
    char text[NAME_LEN + 1];
    size_t room = list->max - list->len, needed;

    if (name_len > NAME_LEN || fill_entry(list->ops, ino, &entry) < 0)
        return true; /* a valid image has none such */
    memcpy(text, name, name_len);
    text[name_len] = '\0';
    if (list->plus)
        needed = fuse_add_direntry_plus(list->req, list->bytes + list->len, room, text, &entry,
                                        (off_t)next);
    else
        needed = fuse_add_direntry(list->req, list->bytes + list->len, room, text, &entry.attr,
                                   (off_t)next);
    if (needed > room)
        return false;
    list->len += needed;
    return true;
}

/* Offsets: 0 is ".", 1 is "..", then the children in order. */
static int list_from(struct listing *list, uint64_t off)
{
    const struct clip_image *image = list->ops->image;
    struct clip_dirent child;
    int r = clip_image_readdir(image, list->dir, 0, &child);

    if (r == -ENOTDIR || image_inode(image, list->dir) == 0)
        return -ENOTDIR;
    if (off == 0 && !add_entry(list, ".", 1, list->dir, ++off))
        return 0;
    if (off == 1 && !add_entry(list, "..", 2, image_parent(image, list->dir), ++off))
        return 0;
    for (; clip_image_readdir(image, list->dir, off - 2, &child) == 0; off++)
        if (!add_entry(list, child.name, child.name_len, child.ino, off + 1))
            break;
    return 0;
}

static void list_dir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, bool plus)
{
    char bytes[DIR_REPLY_MAX];
    struct listing list = {
        .req = req,
        .ops = ops_of(req),
        .dir = ino,
        .plus = plus,
        .bytes = bytes,
        .max = size < sizeof(bytes) ? size : sizeof(bytes),
    };
    int r = list_from(&list, (uint64_t)off);

    if (r < 0)
        fuse_reply_err(req, -r);
    else
        fuse_reply_buf(req, list.bytes, list.len);
}

static void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
                       struct fuse_file_info *file)
{
    (void)file;
    list_dir(req, ino, size, off, false);
}

static void op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
                           struct fuse_file_info *file)
{
    (void)file;
    list_dir(req, ino, size, off, true);
}

/* ------------------------------------------------------------------ xattrs */

static bool says_no_xattrs(fuse_req_t req)
{
    const struct ops *ops = ops_of(req);

    if (image_has_xattrs(ops->image) || !settings_has(ops->settings, SETTING_XATTR))
        return false;
    fuse_reply_err(req, ENOSYS);
    return true;
}

/* Bytes, or with size 0 how many there are. */
static void reply_sized(fuse_req_t req, const void *bytes, size_t len, size_t size)
{
    if (size == 0)
        fuse_reply_xattr(req, len);
    else if (size < len)
        fuse_reply_err(req, ERANGE);
    else
        fuse_reply_buf(req, bytes, len);
}

static void op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
    const void *value;
    size_t len;
    int r;

    if (says_no_xattrs(req))
        return;
    r = image_getxattr(ops_of(req)->image, ino, name, &value, &len);
    if (r < 0)
        fuse_reply_err(req, -r);
    else
        reply_sized(req, value, len, size);
}

static size_t xattr_names_len(const struct clip_image *image, uint64_t ino)
{
    struct clip_xattr xattr;
    size_t len = 0;

    for (uint64_t i = 0; clip_image_xattr(image, ino, i, &xattr) == 0; i++)
        len += xattr.name_len + 1;
    return len;
}

static void write_xattr_names(const struct clip_image *image, uint64_t ino, char *out)
{
    struct clip_xattr xattr;

    for (uint64_t i = 0; clip_image_xattr(image, ino, i, &xattr) == 0; i++) {
        memcpy(out, xattr.name, xattr.name_len);
        out += xattr.name_len;
        *out++ = '\0';
    }
}

static void op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
    const struct clip_image *image = ops_of(req)->image;
    size_t len;
    char *names;

    if (says_no_xattrs(req))
        return;
    len = xattr_names_len(image, ino);
    names = len <= XATTR_NAMES_MAX ? malloc(len + 1) : NULL;
    if (!names) {
        fuse_reply_err(req, len <= XATTR_NAMES_MAX ? ENOMEM : E2BIG);
        return;
    }
    write_xattr_names(image, ino, names);
    reply_sized(req, names, len, size);
    free(names);
}

bool ops_find_acls(const struct clip_image *image)
{
    static const char prefix[] = "system.posix_acl_";
    struct clip_xattr xattr;

    if (!image_has_xattrs(image))
        return false;
    for (uint64_t ino = 1; ino <= image_n_nodes(image); ino++)
        for (uint64_t i = 0; clip_image_xattr(image, ino, i, &xattr) == 0; i++)
            if (xattr.name_len >= sizeof(prefix) - 1 &&
                memcmp(xattr.name, prefix, sizeof(prefix) - 1) == 0)
                return true;
    return false;
}

/* -------------------------------------------------------------------- bytes */

struct waiter {
    struct queue node;
    struct ops *ops;
    fuse_req_t req;
    uint64_t began_ns;
    bool interrupted;
    struct read read;
};

/* What a reader may be told; all else is ours to explain in the log. */
static int error_for_reader(int status)
{
    switch (status) {
    case -EINTR:
    case -EISDIR:
    case -EINVAL:
    case -ENOENT:
    case -ENOMEM:
        return -status;
    default:
        return EIO;
    }
}

/* When a request that fills the page cache fails, the kernel asks at once for the first page that a
 * task waits for: without this the task would wait for the origin twice, and the log say it twice.
 */
static void remember_failure(struct ops *ops, const struct read *read)
{
    struct ops_failure *failure = &ops->failures[ops->n_failures++ % OPS_FAILURES];

    failure->ino = read->ino;
    failure->off = read->off;
    failure->end = read->off + read->len;
    failure->until_ns = engine_now_ns() + ASKS_AGAIN_NS;
}

/* True once for each failure: whoever comes after that is a reader who tries again. */
static bool has_just_failed(struct ops *ops, uint64_t ino, uint64_t off)
{
    for (unsigned i = 0; i < OPS_FAILURES; i++) {
        struct ops_failure *failure = &ops->failures[i];
        if (failure->ino != ino || off < failure->off || off >= failure->end ||
            failure->until_ns < engine_now_ns())
            continue;
        failure->until_ns = 0;
        return true;
    }
    return false;
}

/* The request is gone with its answer, and the waiter too. */
static void answer(struct waiter *waiter, int status)
{
    if (status < 0) {
        fuse_reply_err(waiter->req, error_for_reader(status));
    } else {
        fuse_reply_iov(waiter->req, waiter->read.pieces, (int)waiter->read.n_pieces);
        read_release(&waiter->read);
    }
    metric_observe(&waiter->ops->requests->read_time, engine_now_ns() - waiter->began_ns);
    free(waiter);
}

static void on_read(struct read *read, int status)
{
    struct waiter *waiter = container_of(read, struct waiter, read);
    struct ops *ops = waiter->ops;

    queue_remove(&waiter->node);
    if (status < 0 && status != -ECANCELED)
        remember_failure(ops, read);
    answer(waiter, status == -ECANCELED && waiter->interrupted ? -EINTR : status);
    if (ops->refusing && ops_idle(ops))
        ops->on_idle(ops);
}

/* Not answered here: libfuse still looks at the request when this returns. */
static void on_interrupt(fuse_req_t req, void *data)
{
    struct waiter *waiter = data;

    (void)req;
    waiter->interrupted = true;
    read_cancel(&waiter->read);
}

static void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
                    struct fuse_file_info *file)
{
    struct ops *ops = ops_of(req);
    bool refused = ops->refusing || size > READ_MAX || has_just_failed(ops, ino, (uint64_t)off);
    struct waiter *waiter = refused ? NULL : calloc(1, sizeof(*waiter));
    int r;

    (void)file;
    if (!waiter) {
        fuse_reply_err(req, EIO);
        return;
    }
    waiter->ops = ops;
    waiter->req = req;
    waiter->began_ns = engine_now_ns();
    queue_init(&waiter->node);
    waiter->read.ino = ino;
    waiter->read.off = (uint64_t)off;
    waiter->read.len = size;
    r = read_start(ops->reader, &waiter->read, on_read);
    if (r != 0) {
        answer(waiter, r < 0 ? r : 0);
        return;
    }
    queue_push(&ops->waiting, &waiter->node);
    fuse_req_interrupt_func(req, on_interrupt, waiter);
}

static void op_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence,
                     struct fuse_file_info *file)
{
    const struct ops *ops = ops_of(req);
    uint64_t found;
    int r = seek_from(ops->image, ino, (uint64_t)off, whence, &found);

    (void)file;
    if (r < 0)
        fuse_reply_err(req, -r);
    else
        fuse_reply_lseek(req, (off_t)found);
}

/* -------------------------------------------------------------- begin and end */

const struct fuse_lowlevel_ops ops_table = {
    .init = op_init,
    .lookup = op_lookup,
    .forget = op_forget,
    .forget_multi = op_forget_multi,
    .getattr = op_getattr,
    .readlink = op_readlink,
    .open = op_open,
    .read = op_read,
    .opendir = op_opendir,
    .readdir = op_readdir,
    .readdirplus = op_readdirplus,
    .statfs = op_statfs,
    .getxattr = op_getxattr,
    .listxattr = op_listxattr,
    .lseek = op_lseek,
};

void ops_init(struct ops *ops)
{
    queue_init(&ops->waiting);
    ops->refusing = false;
    memset(ops->failures, 0, sizeof(ops->failures));
    ops->n_failures = 0;
}

void ops_refuse(struct ops *ops)
{
    ops->refusing = true;
    queue_for_each(node, &ops->waiting)
    {
        read_cancel(&container_of(node, struct waiter, node)->read);
    }
}

bool ops_idle(const struct ops *ops)
{
    return queue_empty(&ops->waiting);
}
