/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The happy path of a find is:
 * - take_given() looks at what needs no reading; then files_run(), on the pool, goes through the
 *   files until one has an answer.
 * - an answer that names a helper starts it; if that knows nothing, the files behind are read on.
 * Possible failure modes are: a file that the user named is not there, a file is not what it should
 * be, a helper fails. Files of the usual places may be missing or not ours to read. Having no
 * credentials is no failure.
 * On cancel: the helper is killed; done comes with -ECANCELED when what runs has ended.
 */
#include "net/credentials.h"

#include "net/helper.h"

#include <ctype.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* -------------------------------------------------------------------- places */

void credentials_variable(const char *what, const char *registry, char *out, size_t out_len)
{
    int used = snprintf(out, out_len, "CLIP_REGISTRY_%s_%s", what, registry);

    for (char *c = out + strlen(out) - ((size_t)used < out_len ? strlen(registry) : 0); *c; c++)
        *c = isalnum((unsigned char)*c) ? (char)toupper((unsigned char)*c) : '_';
}

static const char *env(const char *name)
{
    const char *value = getenv(name);

    return value && *value ? value : NULL;
}

static int add_file(char **files, unsigned *n, const char *dir, const char *name)
{
    if (!dir)
        return 0;
    if (asprintf(&files[*n], "%s/%s", dir, name) < 0)
        return -ENOMEM;
    (*n)++;
    return 0;
}

static int add_usual(char **files, unsigned *n)
{
    const char *home = env("HOME"), *docker = env("DOCKER_CONFIG");
    const char *runtime = env("XDG_RUNTIME_DIR"), *config = env("XDG_CONFIG_HOME");
    char run[64];
    int r;

    snprintf(run, sizeof(run), "/run/containers/%u", (unsigned)getuid());
    r = docker ? add_file(files, n, docker, "config.json")
               : add_file(files, n, home, ".docker/config.json");
    if (r == 0)
        r = runtime ? add_file(files, n, runtime, "containers/auth.json")
                    : add_file(files, n, run, "auth.json");
    if (r == 0)
        r = config ? add_file(files, n, config, "containers/auth.json")
                   : add_file(files, n, home, ".config/containers/auth.json");
    return r;
}

static void free_files(char **files, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        free(files[i]);
}

/* The file that must be there, since somebody named it. */
static const char *named_file(const char *authfile)
{
    return authfile ? authfile : env("REGISTRY_AUTH_FILE");
}

int credentials_files(const char *authfile, char *out[CREDENTIALS_FILES_MAX], unsigned *out_n)
{
    unsigned n = 0;
    int r = 0;

    if (named_file(authfile)) {
        out[0] = strdup(named_file(authfile));
        r = out[0] ? 0 : -ENOMEM;
        n = out[0] ? 1 : 0;
    } else {
        r = add_usual(out, &n);
    }
    if (r < 0)
        free_files(out, n);
    else
        *out_n = n;
    return r;
}

/* ---------------------------------------------------------------- in the pool */

static int read_fd(int fd, const char *path, char **out, size_t *out_len, struct clip_error *err)
{
    struct stat st;
    char *text;
    size_t len = 0;
    ssize_t n;

    if (fstat(fd, &st) < 0)
        return err_sys(err, -errno, "%s", path);
    if (!S_ISREG(st.st_mode) || st.st_size > AUTH_FILE_MAX)
        return err_set(err, CLIP_EFORMAT, "%s is no file of at most %u bytes", path, AUTH_FILE_MAX);
    text = malloc((size_t)st.st_size + 1);
    if (!text)
        return err_set(err, -ENOMEM, "out of memory for %s", path);
    while (len < (size_t)st.st_size && (n = read(fd, text + len, (size_t)st.st_size - len)) > 0)
        len += (size_t)n;
    *out = text;
    *out_len = len;
    return 0;
}

static int read_file(const char *path, char **out, size_t *out_len, struct clip_error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), r;

    if (fd < 0)
        return err_sys(err, -errno, "%s", path);
    r = read_fd(fd, path, out, out_len, err);
    close(fd);
    return r;
}

static bool may_be_missing(int r)
{
    return r == -ENOENT || r == -ENOTDIR || r == -EACCES;
}

static int ask_file(struct credentials_find *find, const char *path)
{
    const struct credentials_options *options = &find->options;
    char *text = NULL;
    size_t len = 0;
    int r;

    r = read_file(path, &text, &len, &find->err);
    if (may_be_missing(r) && !find->named) {
        err_clear(&find->err);
        return 0;
    }
    if (r < 0)
        return r;
    r = auth_file_parse(path, text, len, options->registry, options->repository, &find->answer,
                        &find->err);
    explicit_bzero(text, len);
    free(text);
    return r;
}

static void files_run(struct work *work)
{
    struct credentials_find *find = container_of(work, struct credentials_find, work);

    find->status = 0;
    while (find->status == 0 && find->next < find->n_files && !*find->answer.helper &&
           credentials_empty(&find->answer.credentials))
        find->status = ask_file(find, find->files[find->next++]);
}

/* ------------------------------------------------------------------- the find */

static void end(struct credentials_find *find, int status)
{
    free_files(find->files, find->n_files);
    if (status == 0 && find->cancelled)
        status = -ECANCELED;
    if (status == 0) {
        find->credentials = find->answer.credentials;
        find->answer.credentials = (struct credentials){0};
    } else if (status == -ECANCELED) {
        err_set(&find->err, status, "cancelled");
    }
    auth_answer_fini(&find->answer);
    find->done(find, status);
}

static void files_done(struct work *work, int status);

static void read_files(struct credentials_find *find)
{
    work_submit(find->engine, &find->work, WORK_READ, files_run, files_done);
}

static void on_helper(void *data, int status, const char *text, size_t len,
                      const struct clip_error *err)
{
    struct credentials_find *find = data;
    char name[AUTH_HELPER_MAX];

    memcpy(name, find->answer.helper, sizeof(name));
    find->helper = NULL;
    auth_answer_fini(&find->answer);
    find->answer = (struct auth_answer){0};
    if (status == -ENODATA && !find->cancelled) {
        read_files(find);
        return;
    }
    if (status < 0)
        find->err = *err;
    else
        status = auth_helper_parse(name, text, len, &find->answer.credentials, &find->err);
    end(find, status);
}

static int start_helper(struct credentials_find *find)
{
    const struct helper_options options = {
        .name = find->answer.helper,
        .server = find->answer.server,
        .timeout_ms = find->options.helper_ms,
        .done = on_helper,
        .data = find,
    };

    return helper_open(find->engine, &options, &find->helper, &find->err);
}

static void files_done(struct work *work, int status)
{
    struct credentials_find *find = container_of(work, struct credentials_find, work);

    if (status == 0)
        status = find->status;
    if (status == 0 && *find->answer.helper && !find->cancelled) {
        status = start_helper(find);
        if (status == 0)
            return;
    }
    end(find, status);
}

/* 1: that was it. */
static int take_given(struct credentials_find *find)
{
    const struct credentials_options *options = &find->options;
    char **userpass = &find->answer.credentials.userpass;
    char variable[512];
    const char *user, *pass;

    if (options->creds) {
        *userpass = strdup(options->creds);
        return *userpass ? 1 : -ENOMEM;
    }
    credentials_variable("USER", options->registry, variable, sizeof(variable));
    user = env(variable);
    credentials_variable("PASS", options->registry, variable, sizeof(variable));
    pass = getenv(variable);
    if (!user || !pass)
        return 0;
    return asprintf(userpass, "%s:%s", user, pass) < 0 ? -ENOMEM : 1;
}

static void on_given(struct later *later)
{
    struct credentials_find *find = container_of(later, struct credentials_find, later);

    end(find, find->status);
}

void credentials_find(struct clip_engine *engine, struct credentials_find *find,
                      const struct credentials_options *options, credentials_cb done)
{
    int r;

    *find = (struct credentials_find){.engine = engine, .options = *options, .done = done};
    later_init(&find->later);
    find->named = named_file(options->authfile) != NULL;
    r = take_given(find);
    if (r == 0)
        r = credentials_files(options->authfile, find->files, &find->n_files);
    find->status = r < 0 ? err_set(&find->err, r, "out of memory for credentials") : 0;
    if (r == 0)
        read_files(find);
    else
        later_call(engine, &find->later, on_given);
}

void credentials_find_cancel(struct credentials_find *find)
{
    if (find->cancelled)
        return;
    find->cancelled = true;
    work_cancel(&find->work);
    if (find->helper)
        helper_cancel(find->helper);
}
