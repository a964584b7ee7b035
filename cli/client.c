/* SPDX-License-Identifier: Apache-2.0 */
/* The happy path of a call is:
 * - connect, write the request, then read until the response is whole; all of it blocks, because a
 *   command has nothing else to do, and Ctrl-C ends it (clipd notices).
 * - the body is kept whole, or, if it comes as events, read line by line: progress is handed on,
 *   the last line is the answer.
 * Possible failure modes are: no clipd, an answer that is no HTTP or no JSON or too long, clipd
 * ends while we wait, or the answer is a failure, which says itself why. */
#include "client.h"

#include "control_http.h"
#include "say.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define SOCKET_NAME "clipd.sock"
#define ANSWER_MAX  (64 * 1024 * 1024)

struct reply {
    struct client_call *call;
    char *text;
    size_t len, cap;
    bool events;
};

static int connect_daemon(const char *run)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    int len = snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/%s", run, SOCKET_NAME);
    if (len < 0 || (size_t)len >= sizeof(addr.sun_path))
        return -ENAMETOOLONG;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0)
        return fd;
    int r = -errno;
    close(fd);
    return r;
}

bool client_finds_daemon(const char *run)
{
    int fd = connect_daemon(run);
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

static void say_unreachable(const char *run, int r)
{
    if (r == -ENOENT || r == -ECONNREFUSED)
        say_error("no clipd listens at %s/%s: start one with 'clipd serve', or name its directory "
                  "with --run",
                  run, SOCKET_NAME);
    else
        say_error("cannot reach clipd at %s/%s: %s", run, SOCKET_NAME, strerror(-r));
}

/* ---- the request */

static int write_all(int fd, const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t n = send(fd, bytes, len, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        bytes += n;
        len -= (size_t)n;
    }
    return 0;
}

static int write_request(int fd, const struct client_call *call)
{
    char head[CONTROL_TARGET_MAX + 256];
    char *body = call->body ? json_dumps(call->body, JSON_COMPACT) : NULL;
    size_t body_len = body ? strlen(body) : 0;
    if (call->body && !body)
        return -ENOMEM;
    int len = snprintf(head, sizeof(head),
                       "%s %s HTTP/1.1\r\nHost: clipd\r\nConnection: close\r\n"
                       "Content-Length: %zu\r\n\r\n",
                       call->method, call->path, body_len);
    int r = (size_t)len < sizeof(head) ? write_all(fd, head, (size_t)len) : -ENAMETOOLONG;
    if (r == 0 && body_len > 0)
        r = write_all(fd, body, body_len);
    free(body);
    return r;
}

/* ---- the response */

static uint64_t number_in(json_t *object, const char *name)
{
    json_int_t n = json_integer_value(json_object_get(object, name));
    return n > 0 ? (uint64_t)n : 0;
}

static void hand_on_progress(const struct client_call *call, json_t *object)
{
    static const char *const phases[] = {"resolve", "layers", "write"};
    const char *phase = json_string_value(json_object_get(object, "phase"));
    struct clip_index_progress progress = {
        .layer = (unsigned)number_in(object, "layer"),
        .n_layers = (unsigned)number_in(object, "layers"),
        .layer_done = number_in(object, "layer_done"),
        .layer_total = number_in(object, "layer_total"),
        .done = number_in(object, "done"),
        .total = number_in(object, "total"),
    };
    for (unsigned i = 0; phase && i < 3; i++) {
        if (strcmp(phases[i], phase) == 0)
            progress.phase = (enum clip_index_phase)i;
    }
    if (call->on_progress)
        call->on_progress(call->data, &progress);
}

static void take_event(struct client_call *call, const char *line, size_t len)
{
    json_t *object = json_loadb(line, len, 0, NULL);
    json_t *progress = json_object_get(object, "progress");
    if (progress) {
        hand_on_progress(call, progress);
        json_decref(object);
    } else if (object) {
        json_decref(call->answer);
        call->answer = object;
    }
}

static void take_lines(struct reply *reply)
{
    char *end, *at = reply->text;
    while ((end = memchr(at, '\n', reply->len - (size_t)(at - reply->text)))) {
        take_event(reply->call, at, (size_t)(end - at));
        at = end + 1;
    }
    reply->len -= (size_t)(at - reply->text);
    memmove(reply->text, at, reply->len);
}

static int on_body(void *data, const char *bytes, size_t len)
{
    struct reply *reply = data;
    if (len > ANSWER_MAX - reply->len)
        return -EFBIG;
    if (reply->len + len > reply->cap) {
        size_t cap = (reply->len + len) * 2;
        char *grown = realloc(reply->text, cap);
        if (!grown)
            return -ENOMEM;
        reply->text = grown;
        reply->cap = cap;
    }
    memcpy(reply->text + reply->len, bytes, len);
    reply->len += len;
    if (reply->events)
        take_lines(reply);
    return 0;
}

static int feed(struct control_message *message, const char *bytes, size_t len)
{
    int n = control_message_feed(message, bytes, len);
    return n < 0 ? n : 0;
}

static int read_response(int fd, struct control_message *message)
{
    char bytes[16 * 1024];
    while (!message->whole) {
        ssize_t n = read(fd, bytes, sizeof(bytes));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0) {
            int r = message->begun ? control_message_end(message) : -ECONNRESET;
            return r < 0 || !message->whole ? -ECONNRESET : 0;
        }
        int r = feed(message, bytes, (size_t)n);
        if (r < 0)
            return r;
    }
    return 0;
}

static int exchange(int fd, struct client_call *call)
{
    struct reply reply = {.call = call, .events = strstr(call->path, "events=1") != NULL};
    struct control_message message;
    int r = control_message_init(&message, CONTROL_RESPONSE, on_body, &reply);
    if (r == 0)
        r = write_request(fd, call);
    /* clipd may refuse a request before it has read all of it: what it says counts */
    if (r == 0 || r == -EPIPE || r == -ECONNRESET)
        r = read_response(fd, &message);
    call->status = r == 0 ? message.status : 0;
    if (r == 0 && !call->answer && reply.len > 0)
        call->answer = json_loadb(reply.text, reply.len, 0, NULL);
    control_message_fini(&message);
    free(reply.text);
    return r;
}

static int judge(const struct client_call *call)
{
    const char *why = json_string_value(json_object_get(call->answer, "error"));
    if (!why && call->answer && call->status / 100 == 2)
        return 0;
    if (call->quiet)
        return 1;
    if (why)
        say_error("%s", why);
    else
        say_error("clipd answered %d %s", call->status, control_reason(call->status));
    return 1;
}

int client_ask(struct client_call *call)
{
    int fd = connect_daemon(call->run);
    call->answer = NULL;
    call->status = 0;
    if (fd < 0) {
        if (!call->quiet)
            say_unreachable(call->run, fd);
        return 1;
    }
    int r = exchange(fd, call);
    close(fd);
    if (r == 0)
        return judge(call);
    if (!call->quiet)
        say_error("clipd did not answer: %s",
                  r == -ECONNRESET ? "it closed the connection" : strerror(-r));
    return 1;
}

int client_check_id(const char *id)
{
    if (*id && !strpbrk(id, "/?#% ") && strlen(id) <= CLIENT_ID_MAX)
        return 0;
    say_error("'%s' is no ID: a letter or digit, then letters, digits, _ . + -", id);
    return 1;
}

int client_end_container(const char *run, const char *id, const char *how)
{
    char path[512];
    struct client_call call = {.run = run, .method = "DELETE", .path = path};
    snprintf(path, sizeof(path), "/v1/containers/%.*s?%s", CLIENT_ID_MAX, id, how);
    int r = client_ask(&call);
    json_decref(call.answer);
    return r;
}

const char *client_text(json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text ? text : "-";
}
