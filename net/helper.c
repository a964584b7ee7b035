/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The happy path of a helper is:
 * - it is started in a process group of its own; the server's name is written to it, and its output
 *   kept until that ends.
 * - when it has exited and its output has ended, all handles close, and then done fires.
 * Possible failure modes are: it cannot be run, it exits with a failure (-ENODATA if it says that
 * it has no such credentials, else -EIO), it takes too long (-ETIMEDOUT), it says too much
 * (-EMSGSIZE). In the last two, and on cancel, the whole group is killed and what it still says is
 * not waited for.
 */
#include "net/helper.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME_MAX_LEN 160

struct helper {
    struct clip_engine *engine;
    struct helper_options options;
    char program[NAME_MAX_LEN], *server;
    uv_process_t process;
    uv_pipe_t in, out;
    uv_timer_t timer;
    uv_write_t write;
    unsigned n_handles;
    bool running, closing;
    int64_t exit_code;
    int exit_signal;
    bool out_ended, exited;
    char *text;
    size_t len;
    int status;
    struct clip_error err;
};

static void free_helper(struct helper *helper)
{
    if (helper->text)
        explicit_bzero(helper->text, HELPER_OUTPUT_MAX);
    free(helper->text);
    free(helper->server);
    free(helper);
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct helper *helper = handle->data;
    const struct helper_options *options = &helper->options;

    if (--helper->n_handles > 0)
        return;
    if (options->done)
        options->done(options->data, helper->status, helper->text, helper->len, &helper->err);
    free_helper(helper);
}

static void close_all(struct helper *helper)
{
    uv_handle_t *const handles[] = {
        (uv_handle_t *)&helper->process,
        (uv_handle_t *)&helper->in,
        (uv_handle_t *)&helper->out,
        (uv_handle_t *)&helper->timer,
    };

    if (helper->closing)
        return;
    helper->closing = true;
    for (size_t i = 0; i < sizeof(handles) / sizeof(handles[0]); i++)
        if (!uv_is_closing(handles[i]))
            uv_close(handles[i], on_handle_closed);
}

/* Nothing more is waited for. */
static void give_up(struct helper *helper)
{
    if (!helper->exited)
        kill(-helper->process.pid, SIGKILL);
    close_all(helper);
}

static void say_failure(struct helper *helper)
{
    static const char unknown[] = "credentials not found";
    bool is_unknown = helper->len >= strlen(unknown) &&
                      memmem(helper->text, helper->len, unknown, strlen(unknown)) != NULL;

    if (is_unknown)
        helper->status = err_set(&helper->err, -ENODATA, "%s knows no credentials for %s",
                                 helper->program, helper->server);
    else if (helper->exit_signal)
        helper->status = err_set(&helper->err, -EIO, "%s was ended by signal %d", helper->program,
                                 helper->exit_signal);
    else
        helper->status = err_set(&helper->err, -EIO,
                                 "%s failed with exit code %d for %s; run it by hand to see why: "
                                 "echo %s | %s get",
                                 helper->program, (int)helper->exit_code, helper->server,
                                 helper->server, helper->program);
}

static void maybe_ended(struct helper *helper)
{
    if (!helper->exited || !helper->out_ended || helper->closing)
        return;
    if (helper->exit_code != 0 || helper->exit_signal != 0)
        say_failure(helper);
    close_all(helper);
}

static void on_exit_status(uv_process_t *process, int64_t exit_code, int signal)
{
    struct helper *helper = process->data;

    helper->exited = true;
    helper->exit_code = exit_code;
    helper->exit_signal = signal;
    maybe_ended(helper);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct helper *helper = handle->data;

    (void)suggested;
    *buf = uv_buf_init(helper->text + helper->len, (unsigned)(HELPER_OUTPUT_MAX - helper->len));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct helper *helper = stream->data;

    (void)buf;
    if (n > 0) {
        helper->len += (size_t)n;
        return;
    }
    if (n == UV_ENOBUFS) {
        helper->status = err_set(&helper->err, -EMSGSIZE, "%s says more than %u bytes",
                                 helper->program, HELPER_OUTPUT_MAX);
        give_up(helper);
    } else if (n < 0) {
        helper->out_ended = true;
        uv_read_stop(stream);
        maybe_ended(helper);
    }
}

static void on_timeout(uv_timer_t *timer)
{
    struct helper *helper = timer->data;

    helper->status =
        err_set(&helper->err, -ETIMEDOUT, "%s gave no answer for %s within %u s", helper->program,
                helper->server, (unsigned)(helper->options.timeout_ms / 1000));
    give_up(helper);
}

/* What it does not want to read is its own business. */
static void on_written(uv_write_t *req, int status)
{
    struct helper *helper = req->data;

    (void)status;
    if (!helper->closing)
        uv_close((uv_handle_t *)&helper->in, on_handle_closed);
}

static void send_server(struct helper *helper)
{
    uv_buf_t bufs[] = {uv_buf_init(helper->server, (unsigned)strlen(helper->server)),
                       uv_buf_init("\n", 1)};

    helper->write.data = helper;
    if (uv_write(&helper->write, (uv_stream_t *)&helper->in, bufs, 2, on_written) < 0)
        uv_close((uv_handle_t *)&helper->in, on_handle_closed);
}

static int spawn(struct helper *helper)
{
    char *args[] = {helper->program, "get", NULL};
    uv_stdio_container_t stdio[] = {
        {.flags = UV_CREATE_PIPE | UV_READABLE_PIPE, .data.stream = (uv_stream_t *)&helper->in},
        {.flags = UV_CREATE_PIPE | UV_WRITABLE_PIPE, .data.stream = (uv_stream_t *)&helper->out},
        {.flags = UV_IGNORE},
    };
    const uv_process_options_t options = {
        .file = helper->program,
        .args = args,
        .flags = UV_PROCESS_DETACHED, /* a group of its own, which can be killed */
        .stdio = stdio,
        .stdio_count = 3,
        .exit_cb = on_exit_status,
    };

    return uv_spawn(engine_loop(helper->engine), &helper->process, &options);
}

static void init_handles(struct helper *helper)
{
    uv_loop_t *loop = engine_loop(helper->engine);

    uv_pipe_init(loop, &helper->in, 0);
    uv_pipe_init(loop, &helper->out, 0);
    uv_timer_init(loop, &helper->timer);
    helper->process.data = helper->in.data = helper->out.data = helper->timer.data = helper;
    helper->n_handles = 4;
}

static void fail_spawn(struct helper *helper, int r, struct clip_error *err)
{
    if (r == UV_ENOENT)
        err_set(err, r,
                "the credential helper %s is not in $PATH: install it, or log in without it",
                helper->program);
    else
        err_sys(err, r, "%s cannot be run", helper->program);
    helper->options.done = NULL;
    close_all(helper); /* uv_spawn leaves a handle behind even if it fails */
}

int helper_open(struct clip_engine *engine, const struct helper_options *options,
                struct helper **out, struct clip_error *err)
{
    struct helper *helper = calloc(1, sizeof(*helper));
    int r;

    if (helper) {
        helper->text = malloc(HELPER_OUTPUT_MAX);
        helper->server = strdup(options->server);
    }
    if (!helper || !helper->text || !helper->server) {
        if (helper)
            free_helper(helper);
        return err_set(err, -ENOMEM, "out of memory for a credential helper");
    }
    helper->engine = engine;
    helper->options = *options;
    snprintf(helper->program, sizeof(helper->program), "docker-credential-%s", options->name);
    init_handles(helper);
    r = spawn(helper);
    if (r < 0) {
        fail_spawn(helper, r, err);
        return r;
    }
    uv_read_start((uv_stream_t *)&helper->out, on_alloc, on_read);
    send_server(helper);
    uv_timer_start(&helper->timer, on_timeout, options->timeout_ms, 0);
    *out = helper;
    return 0;
}

void helper_cancel(struct helper *helper)
{
    if (helper->closing)
        return; /* its end is on its way */
    helper->status = err_set(&helper->err, -ECANCELED, "cancelled");
    give_up(helper);
}
