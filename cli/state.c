/* SPDX-License-Identifier: Apache-2.0 */
/* A file of the state is written beside and renamed, so that a clipd that is killed leaves the old
 * one or the new one. It is not synced: what matters is that it outlives the process, and after
 * the machine died the mounts that it tells of are gone as well; a file that came out of that
 * broken is set aside. What was mounted is not in the state: the kernel knows better. */
#include "state.h"

#include "log.h"
#include "reply.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#define STATE_MAX_LEN (256 * 1024)
#define SUFFIX        ".json"

/* ---- one file */

static char *state_path(const char *root, const char *id, const char *suffix)
{
    char *path = NULL;
    return asprintf(&path, "%s/state/%s%s", root, id, suffix) < 0 ? NULL : path;
}

static int write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    size_t len = strlen(text);
    if (fd < 0)
        return -errno;
    int r = write(fd, text, len) == (ssize_t)len ? 0 : errno ? -errno : -EIO;
    if (close(fd) < 0 && r == 0)
        r = -errno;
    return r;
}

static int write_whole(const char *root, const char *id, const char *text)
{
    char *path = state_path(root, id, SUFFIX), *new = state_path(root, id, ".new");
    int r = path && new ? write_file(new, text) : -ENOMEM;
    if (r == 0 && rename(new, path) < 0)
        r = -errno;
    free(path);
    free(new);
    return r;
}

char *state_text(const char *id, int64_t created_s, const struct spec *spec)
{
    json_t *object = json_pack("{s:i, s:s, s:I, s:o}", "version", 1, "id", id, "created",
                               (json_int_t)created_s, "spec", spec_write(spec));
    char *text = object ? json_dumps(object, JSON_INDENT(1)) : NULL;
    json_decref(object);
    return text;
}

int state_write(const char *root, const char *id, const char *text, struct clip_error *err)
{
    int r = text ? write_whole(root, id, text) : -ENOMEM;
    if (r < 0)
        reply_error(err, r, "cannot write the state of %s below %s: %s", id, root, strerror(-r));
    return r;
}

void state_remove(const char *root, const char *id)
{
    char *path = state_path(root, id, SUFFIX);
    if (path)
        unlink(path);
    free(path);
}

/* ---- all files */

static int parse_state(const char *path, struct spec *out, int64_t *out_created,
                       struct clip_error *err)
{
    json_error_t where;
    json_t *object = json_load_file(path, JSON_REJECT_DUPLICATES, &where), *spec = NULL;
    json_int_t created = 0;
    if (!object)
        return reply_error(err, -EBADMSG, "%s", where.text);
    int r = reply_number(object, "created", &created, err);
    spec = json_object_get(object, "spec");
    if (r == 0)
        r = spec_read(spec, out, err);
    json_decref(object);
    if (r == 0)
        *out_created = created;
    return r;
}

static void set_aside(const char *root, const char *id, struct log *log,
                      const struct clip_error *err)
{
    char *path = state_path(root, id, SUFFIX), *aside = state_path(root, id, SUFFIX ".broken");
    log_say(log, CLIP_LOG_WARN, "state: %s/state/%s.json is broken (%s), set aside", root, id,
            err->message);
    if (path && aside)
        rename(path, aside);
    free(path);
    free(aside);
}

static int read_one(const char *root, const char *id, struct log *log, state_fn each, void *data)
{
    struct clip_error err;
    struct spec spec;
    int64_t created = 0;
    char *path = state_path(root, id, SUFFIX);
    int r = path ? parse_state(path, &spec, &created, &err) : -ENOMEM;
    free(path);
    if (r == -ENOMEM)
        return r;
    if (r < 0) {
        set_aside(root, id, log, &err);
        return 0;
    }
    r = each(data, id, &spec, created);
    spec_fini(&spec);
    return r;
}

/* "ID.json" without its suffix, or NULL. */
static char *id_of(const char *name)
{
    size_t len = strlen(name), suffix = strlen(SUFFIX);
    if (len <= suffix || strcmp(name + len - suffix, SUFFIX) != 0)
        return NULL;
    char *id = strndup(name, len - suffix);
    if (id && spec_id_valid(id))
        return id;
    free(id);
    return NULL;
}

int state_read_all(const char *root, struct log *log, state_fn each, void *data)
{
    char *path = state_path(root, "", "");
    DIR *dir = path ? opendir(path) : NULL;
    struct dirent *entry;
    int r = 0;
    free(path);
    while (dir && r == 0 && (entry = readdir(dir))) {
        char *id = id_of(entry->d_name);
        if (id)
            r = read_one(root, id, log, each, data);
        free(id);
    }
    if (dir)
        closedir(dir);
    return r;
}

/* ---- mounts */

/* The kernel writes space, tab, newline and backslash as \ooo. */
static void unescape(char *path)
{
    char *to = path;
    for (char *from = path; *from; to++) {
        if (from[0] == '\\' && from[1] && from[2] && from[3]) {
            *to = (char)(((from[1] - '0') << 6) | ((from[2] - '0') << 3) | (from[3] - '0'));
            from += 4;
        } else {
            *to = *from++;
        }
    }
    *to = '\0';
}

static bool is_below(const char *path, const char *dir)
{
    size_t len = strlen(dir);
    return strncmp(path, dir, len) == 0 && path[len] == '/';
}

/* A mount of ours lies below `run`, or is one of our overlays bound to somewhere else. */
static char *our_mountpoint(char *line, const char *run)
{
    char *save = NULL, *lower = strstr(line, "lowerdir=");
    bool over_ours = lower && is_below(lower + strlen("lowerdir="), run);
    char *field = strtok_r(line, " ", &save);
    for (int i = 1; field && i < 5; i++)
        field = strtok_r(NULL, " ", &save);
    if (!field)
        return NULL;
    unescape(field);
    return over_ours || is_below(field, run) ? field : NULL;
}

struct mountpoints {
    char **paths;
    unsigned n;
};

static void add_mountpoint(struct mountpoints *mountpoints, const char *path)
{
    char **grown = realloc(mountpoints->paths, (mountpoints->n + 1) * sizeof(char *));
    if (!grown)
        return;
    mountpoints->paths = grown;
    grown[mountpoints->n] = strdup(path);
    mountpoints->n += grown[mountpoints->n] != NULL;
}

static struct mountpoints find_mountpoints(const char *run)
{
    struct mountpoints found = {0};
    FILE *file = fopen("/proc/self/mountinfo", "re");
    char *line = NULL, *path;
    size_t len = 0;
    while (file && getline(&line, &len, file) >= 0) {
        if ((path = our_mountpoint(line, run)))
            add_mountpoint(&found, path);
    }
    free(line);
    if (file)
        fclose(file);
    return found;
}

/* The newest first, because it may lie on an older one. */
unsigned state_clear_mounts(const char *run, struct log *log)
{
    struct mountpoints found = find_mountpoints(run);
    for (unsigned i = found.n; i-- > 0;) {
        if (umount2(found.paths[i], MNT_DETACH | UMOUNT_NOFOLLOW) < 0)
            log_say(log, CLIP_LOG_WARN, "cannot unmount %s, left by an earlier clipd: %s",
                    found.paths[i], strerror(errno));
        free(found.paths[i]);
    }
    free(found.paths);
    return found.n;
}

/* ---- files that go */

void state_unlink(const char *dir, const char *name)
{
    char *path = NULL;
    if (asprintf(&path, "%s/%s", dir, name) < 0)
        return;
    unlink(path);
    free(path);
}
