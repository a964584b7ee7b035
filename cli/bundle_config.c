/* SPDX-License-Identifier: Apache-2.0 */
/* Mounts, masked paths and namespaces are those of `runc spec`. Two things are not, because images
 * are made for Docker: the capabilities are its default set, without which root in a container
 * cannot even chown; and setuid programs work (noNewPrivileges is false). Limits are those of who
 * runs the runtime.
 * The image's config is bytes from outside: what is not of the right type is as good as missing. */
#include "bundle_config.h"

#include "reply.h"

#include <string.h>

#define DEFAULT_PATH "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

static const char *const capabilities[] = {
    "CAP_AUDIT_WRITE", "CAP_CHOWN",      "CAP_DAC_OVERRIDE", "CAP_FOWNER",
    "CAP_FSETID",      "CAP_KILL",       "CAP_MKNOD",        "CAP_NET_RAW",
    "CAP_SETFCAP",     "CAP_SETGID",     "CAP_SETPCAP",      "CAP_NET_BIND_SERVICE",
    "CAP_SETUID",      "CAP_SYS_CHROOT",
};

static const char *const masked[] = {
    "/proc/acpi",          "/proc/asound",     "/proc/kcore",       "/proc/keys",
    "/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug",
    "/sys/firmware",       "/proc/scsi",
};

static const char *const read_only_paths[] = {
    "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger",
};

static const struct {
    const char *destination, *type, *source, *options[7];
} mounts[] = {
    {"/proc", "proc", "proc", {NULL}},
    {"/dev", "tmpfs", "tmpfs", {"nosuid", "strictatime", "mode=755", "size=65536k", NULL}},
    {"/dev/pts",
     "devpts",
     "devpts",
     {"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5", NULL}},
    {"/dev/shm", "tmpfs", "shm", {"nosuid", "noexec", "nodev", "mode=1777", "size=65536k", NULL}},
    {"/dev/mqueue", "mqueue", "mqueue", {"nosuid", "noexec", "nodev", NULL}},
    {"/sys", "sysfs", "sysfs", {"nosuid", "noexec", "nodev", "ro", NULL}},
    {"/sys/fs/cgroup", "cgroup", "cgroup", {"nosuid", "noexec", "nodev", "relatime", "ro", NULL}},
};

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* ---- the request */

static int check_list(json_t *process, const char *name, struct clip_error *err)
{
    json_t *list = json_object_get(process, name), *item;
    size_t i;
    if (!list)
        return 0;
    if (!json_is_array(list))
        return reply_error(err, -EINVAL, "process.%s is a list of strings", name);
    json_array_foreach(list, i, item)
    {
        if (!json_is_string(item))
            return reply_error(err, -EINVAL, "process.%s is a list of strings", name);
    }
    return 0;
}

static int check_text(json_t *process, const char *name, struct clip_error *err)
{
    json_t *text = json_object_get(process, name);
    if (!text || json_is_string(text))
        return 0;
    return reply_error(err, -EINVAL, "process.%s is a string", name);
}

static bool is_path(json_t *text)
{
    return json_is_string(text) && json_string_value(text)[0] == '/';
}

static int check_mounts(json_t *process, struct clip_error *err)
{
    json_t *list = json_object_get(process, "mounts"), *item;
    size_t i;
    if (list && !json_is_array(list))
        return reply_error(err, -EINVAL, "process.mounts is a list");
    json_array_foreach(list, i, item)
    {
        if (!is_path(json_object_get(item, "source")) ||
            !is_path(json_object_get(item, "destination")))
            return reply_error(err, -EINVAL,
                               "a mount has source and destination, both absolute paths");
    }
    return 0;
}

static int check_members(json_t *process, struct clip_error *err)
{
    static const char *const names[] = {"args",     "entrypoint", "env",          "mounts", "cwd",
                                        "hostname", "terminal",   "host_network", "user"};
    const char *key;
    json_t *value;
    json_object_foreach(process, key, value)
    {
        size_t i = 0;
        while (i < COUNT(names) && strcmp(names[i], key) != 0)
            i++;
        if (i == COUNT(names))
            return reply_error(err, -EINVAL, "there is no member 'process.%.100s'", key);
    }
    return 0;
}

int bundle_config_check(json_t *process, struct clip_error *err)
{
    static const char *const lists[] = {"args", "entrypoint", "env"};
    static const char *const texts[] = {"cwd", "user", "hostname"};
    const char *cwd = json_string_value(json_object_get(process, "cwd"));
    int r = check_members(process, err);
    for (size_t i = 0; r == 0 && i < COUNT(lists); i++)
        r = check_list(process, lists[i], err);
    for (size_t i = 0; r == 0 && i < COUNT(texts); i++)
        r = check_text(process, texts[i], err);
    if (r == 0 && cwd && cwd[0] != '/')
        r = reply_error(err, -EINVAL, "process.cwd is an absolute path, not '%.100s'", cwd);
    return r < 0 ? r : check_mounts(process, err);
}

/* ---- the image's config */

static json_t *image_member(json_t *image, const char *name)
{
    return json_object_get(json_object_get(image, "config"), name);
}

static const char *image_text(json_t *image, const char *name)
{
    const char *text = json_string_value(image_member(image, name));
    return text && *text ? text : NULL;
}

static const char *choose_text(const struct bundle_config *c, const char *ours, const char *theirs)
{
    const char *text = json_string_value(json_object_get(c->process, ours));
    return text && *text ? text : image_text(c->image, theirs);
}

const char *bundle_config_user(json_t *image, json_t *process)
{
    struct bundle_config config = {.image = image, .process = process};
    return choose_text(&config, "user", "User");
}

static void append_texts(json_t *to, json_t *list)
{
    size_t i;
    json_t *item;
    json_array_foreach(list, i, item)
    {
        if (json_is_string(item))
            json_array_append(to, item);
    }
}

/* As Docker does it: args stand for Cmd, an entrypoint of the request for both. */
static json_t *make_args(const struct bundle_config *c)
{
    json_t *args = json_array();
    json_t *entrypoint = json_object_get(c->process, "entrypoint");
    json_t *ours = json_object_get(c->process, "args");
    append_texts(args, entrypoint ? entrypoint : image_member(c->image, "Entrypoint"));
    if (json_array_size(ours) > 0)
        append_texts(args, ours);
    else if (!entrypoint)
        append_texts(args, image_member(c->image, "Cmd"));
    if (json_array_size(args) == 0)
        json_array_append_new(args, json_string("/bin/sh"));
    return args;
}

static size_t name_len(const char *variable)
{
    return strcspn(variable, "=");
}

static size_t find_variable(json_t *env, const char *variable)
{
    size_t i, len = name_len(variable);
    json_t *item;
    json_array_foreach(env, i, item)
    {
        const char *text = json_string_value(item);
        if (name_len(text) == len && memcmp(text, variable, len) == 0)
            return i;
    }
    return i;
}

static void set_variable(json_t *env, const char *variable)
{
    size_t i = find_variable(env, variable);
    if (i < json_array_size(env))
        json_array_set_new(env, i, json_string(variable));
    else
        json_array_append_new(env, json_string(variable));
}

static void default_variable(json_t *env, const char *variable)
{
    if (find_variable(env, variable) == json_array_size(env))
        json_array_append_new(env, json_string(variable));
}

static void set_variables(json_t *env, json_t *list)
{
    size_t i;
    json_t *item;
    json_array_foreach(list, i, item)
    {
        if (json_is_string(item))
            set_variable(env, json_string_value(item));
    }
}

static json_t *make_env(const struct bundle_config *c)
{
    char home[1100];
    json_t *env = json_array();
    const char *dir = c->account->home[0] ? c->account->home : c->account->uid == 0 ? "/root" : "/";
    set_variables(env, image_member(c->image, "Env"));
    set_variables(env, json_object_get(c->process, "env"));
    default_variable(env, DEFAULT_PATH);
    snprintf(home, sizeof(home), "HOME=%s", dir);
    default_variable(env, home);
    if (json_is_true(json_object_get(c->process, "terminal")))
        default_variable(env, "TERM=xterm");
    return env;
}

/* ---- config.json */

static json_t *text_list(const char *const *texts, size_t n)
{
    json_t *list = json_array();
    for (size_t i = 0; i < n && texts[i]; i++)
        json_array_append_new(list, json_string(texts[i]));
    return list;
}

static json_t *make_user(const struct account *account)
{
    json_t *user =
        json_pack("{s:I, s:I}", "uid", (json_int_t)account->uid, "gid", (json_int_t)account->gid);
    json_t *groups = account->n_groups > 0 ? json_array() : NULL;
    for (unsigned i = 0; i < account->n_groups; i++)
        json_array_append_new(groups, json_integer(account->groups[i]));
    if (groups)
        json_object_set_new(user, "additionalGids", groups);
    return user;
}

/* No ambient or inheritable ones: a user other than root starts without any, as it should. */
static json_t *make_capabilities(void)
{
    json_t *set = text_list(capabilities, COUNT(capabilities));
    return json_pack("{s:o, s:O, s:O}", "bounding", set, "effective", set, "permitted", set);
}

static json_t *make_process(const struct bundle_config *c)
{
    const char *cwd = choose_text(c, "cwd", "WorkingDir");
    bool terminal = json_is_true(json_object_get(c->process, "terminal"));
    return json_pack("{s:b, s:o, s:o, s:o, s:s, s:o, s:b}", "terminal", terminal, "user",
                     make_user(c->account), "args", make_args(c), "env", make_env(c), "cwd",
                     cwd && cwd[0] == '/' ? cwd : "/", "capabilities", make_capabilities(),
                     "noNewPrivileges", 0);
}

static void add_bind(json_t *list, const char *source, const char *destination, bool read_only)
{
    json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:[s, s]}", "destination", destination,
                                          "type", "bind", "source", source, "options", "rbind",
                                          read_only ? "ro" : "rw"));
}

static json_t *make_mounts(const struct bundle_config *c)
{
    size_t i;
    json_t *list = json_array(), *item;
    for (i = 0; i < COUNT(mounts); i++)
        json_array_append_new(
            list, json_pack("{s:s, s:s, s:s, s:o}", "destination", mounts[i].destination, "type",
                            mounts[i].type, "source", mounts[i].source, "options",
                            text_list(mounts[i].options, COUNT(mounts[i].options))));
    if (json_is_true(json_object_get(c->process, "host_network")))
        add_bind(list, "/etc/resolv.conf", "/etc/resolv.conf", true);
    json_array_foreach(json_object_get(c->process, "mounts"), i, item)
    {
        add_bind(list, json_string_value(json_object_get(item, "source")),
                 json_string_value(json_object_get(item, "destination")),
                 json_is_true(json_object_get(item, "read_only")));
    }
    return list;
}

static json_t *make_namespaces(const struct bundle_config *c)
{
    static const char *const types[] = {"pid", "ipc", "uts", "mount", "network"};
    bool host_network = json_is_true(json_object_get(c->process, "host_network"));
    json_t *list = json_array();
    for (size_t i = 0; i < COUNT(types) - host_network; i++)
        json_array_append_new(list, json_pack("{s:s}", "type", types[i]));
    return list;
}

static json_t *make_linux(const struct bundle_config *c)
{
    return json_pack("{s:{s:[{s:b, s:s}]}, s:o, s:o, s:o}", "resources", "devices", "allow", 0,
                     "access", "rwm", "namespaces", make_namespaces(c), "maskedPaths",
                     text_list(masked, COUNT(masked)), "readonlyPaths",
                     text_list(read_only_paths, COUNT(read_only_paths)));
}

json_t *bundle_config_make(const struct bundle_config *c)
{
    const char *hostname = json_string_value(json_object_get(c->process, "hostname"));
    const char *signal = image_text(c->image, "StopSignal");
    json_t *config = json_pack("{s:s, s:o, s:{s:s, s:b}, s:s, s:o, s:o}", "ociVersion", "1.0.2",
                               "process", make_process(c), "root", "path", c->root, "readonly",
                               c->read_only, "hostname", hostname && *hostname ? hostname : c->id,
                               "mounts", make_mounts(c), "linux", make_linux(c));
    if (config && signal)
        json_object_set_new(config, "annotations",
                            json_pack("{s:s}", "org.opencontainers.image.stopSignal", signal));
    return config;
}
