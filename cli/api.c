/* SPDX-License-Identifier: Apache-2.0 */
/* The happy path of a call is:
 * - api_call() finds its route by method and path; most answer at once.
 * - PUT and DELETE of a container make a `struct pending` that waits for it; on_settled() answers.
 *   With ?events=1 a timer looks ten times a second whether the index run got further.
 * Possible failure modes are: no such route, method or container, a body that is not what it should
 *   be: a status and {"error", "code"}. The client goes away while it waits: container_leave(),
 *   which takes the container away if nobody else waits for it.
 * On close: control_close() lets all clients go. */
#include "api.h"

#include "reply.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define JSON_TYPE   "application/json"
#define EVENTS_TYPE "application/x-ndjson"
#define EVENT_MS    100
#define CONTAINERS  "/v1/containers"

/* ---- answers */

static void answer_json(struct control_call *call, int status, json_t *object)
{
    char *text = object ? json_dumps(object, JSON_COMPACT | JSON_PRESERVE_ORDER) : NULL;
    char *line = NULL;
    int len = text ? asprintf(&line, "%s\n", text) : -1;
    free(text);
    json_decref(object);
    control_answer(call, status, JSON_TYPE, len < 0 ? NULL : line, len < 0 ? 0 : (size_t)len);
}

static void answer_failure(struct control_call *call, const struct clip_error *err)
{
    answer_json(call, reply_status(err->code), reply_failure(err));
}

static void answer_error(struct control_call *call, int status, const char *text)
{
    answer_json(call, status,
                json_pack("{s:s, s:s}", "error", text, "code",
                          status == 404   ? "ENOENT"
                          : status == 405 ? "EOPNOTSUPP"
                                          : "EINVAL"));
}

static void send_event(struct control_call *call, json_t *object)
{
    char *text = object ? json_dumps(object, JSON_COMPACT | JSON_PRESERVE_ORDER) : NULL;
    char *line = NULL;
    int len = text ? asprintf(&line, "%s\n", text) : -1;
    if (len > 0)
        control_event(call, line, (size_t)len);
    free(len < 0 ? NULL : line);
    free(text);
    json_decref(object);
}

/* ---- calls that wait */

struct pending {
    struct container_wait wait;
    struct control_call *call;
    bool events, for_end;
    uint64_t n_events;
    uv_timer_t timer;
};

static void on_timer_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static void free_pending(struct pending *pending)
{
    pending->call = NULL;
    uv_close((uv_handle_t *)&pending->timer, on_timer_closed);
}

static void on_gone(struct control_call *call)
{
    struct pending *pending = call->data;
    container_leave(&pending->wait);
    free_pending(pending);
}

static json_t *describe_end(const struct pending *pending, int status, const struct clip_error *err)
{
    if (status < 0)
        return reply_failure(err);
    if (pending->for_end)
        return json_pack("{s:s}", "id", pending->wait.container->id);
    return container_json(pending->wait.container);
}

static void on_settled(struct container_wait *wait, int status, const struct clip_error *err)
{
    struct pending *pending = (struct pending *)wait;
    struct control_call *call = pending->call;
    json_t *object = describe_end(pending, status, err);
    bool events = pending->events;
    if (events && status == 0)
        object = json_pack("{s:o}", "container", object);
    call->on_gone = NULL;
    free_pending(pending);
    if (events) {
        send_event(call, object);
        control_end(call);
    } else {
        answer_json(call, status < 0 ? reply_status(status) : 200, object);
    }
}

static void on_event_time(uv_timer_t *timer)
{
    struct pending *pending = timer->data;
    const struct container *c = pending->wait.container;
    if (!c || c->state != CONTAINER_INDEXING)
        return;
    uint64_t n = indexes_n_events(&c->index_wait);
    if (n == pending->n_events)
        return;
    pending->n_events = n;
    send_event(pending->call, json_pack("{s:o}", "progress", indexes_progress(&c->index_wait)));
}

static struct pending *new_pending(struct daemon *daemon, struct control_call *call, bool for_end)
{
    struct pending *pending = calloc(1, sizeof(*pending));
    if (!pending)
        return NULL;
    pending->call = call;
    pending->for_end = for_end;
    uv_timer_init(daemon->loop, &pending->timer);
    pending->timer.data = pending;
    call->data = pending;
    return pending;
}

/* ---- query */

static bool query_has(const struct control_call *call, const char *name)
{
    size_t len = strlen(name);
    for (const char *at = call->query; *at;) {
        size_t part = strcspn(at, "&");
        if (part == len + 2 && strncmp(at, name, len) == 0 && strncmp(at + len, "=1", 2) == 0)
            return true;
        at += part;
        at += *at == '&';
    }
    return false;
}

/* ---- one container */

/* NULL: there is none, and that is answered. */
static struct container *find_container(struct daemon *daemon, struct control_call *call,
                                        const char *id)
{
    struct container *c = containers_find(&daemon->containers, id);
    if (!c)
        answer_error(call, 404, "there is no such container");
    return c;
}

static void get_container(struct daemon *daemon, struct control_call *call, const char *id)
{
    struct container *c = find_container(daemon, call, id);
    if (c)
        answer_json(call, 200, container_json(c));
}

static void get_profile(struct daemon *daemon, struct control_call *call, const char *id)
{
    struct container *c = find_container(daemon, call, id);
    if (!c)
        return;
    if (!c->image || c->image->state != IMAGE_READY)
        answer_error(call, 404, "the container's image is not mounted");
    else
        answer_json(call, 200, images_profile_json(c->image));
}

static int read_spec(struct control_call *call, struct spec *out, struct clip_error *err)
{
    json_error_t where;
    json_t *body =
        json_loadb(call->body ? call->body : "", call->body_len, JSON_REJECT_DUPLICATES, &where);
    if (!body)
        return reply_error(err, -EINVAL, "the body is no JSON: %s", where.text);
    int r = spec_read(body, out, err);
    json_decref(body);
    return r;
}

static void create_detached(struct daemon *daemon, struct control_call *call, const char *id,
                            struct spec *spec)
{
    struct clip_error err;
    if (containers_create(&daemon->containers, id, spec, NULL, NULL, &err) < 0) {
        answer_failure(call, &err);
        return;
    }
    struct container *c = containers_find(&daemon->containers, id);
    answer_json(call, 202, c ? container_json(c) : NULL);
}

static void create_and_wait(struct daemon *daemon, struct control_call *call, const char *id,
                            struct spec *spec)
{
    struct clip_error err;
    struct pending *pending = new_pending(daemon, call, false);
    int r = pending
                ? containers_create(&daemon->containers, id, spec, &pending->wait, on_settled, &err)
                : reply_error(&err, -ENOMEM, "out of memory");
    if (r < 0) {
        if (pending)
            free_pending(pending);
        spec_fini(spec);
        answer_failure(call, &err);
        return;
    }
    call->on_gone = on_gone;
    if (!query_has(call, "events"))
        return;
    pending->events = true;
    uv_timer_start(&pending->timer, on_event_time, 0, EVENT_MS);
    control_begin(call, EVENTS_TYPE);
}

static void put_container(struct daemon *daemon, struct control_call *call, const char *id)
{
    struct clip_error err;
    struct spec spec;
    int r = read_spec(call, &spec, &err);
    if (r < 0)
        answer_failure(call, &err);
    else if (query_has(call, "detach"))
        create_detached(daemon, call, id, &spec);
    else
        create_and_wait(daemon, call, id, &spec);
}

static void delete_container(struct daemon *daemon, struct control_call *call, const char *id)
{
    struct container *c = find_container(daemon, call, id);
    struct pending *pending = c ? new_pending(daemon, call, true) : NULL;
    if (!c)
        return;
    if (!pending) {
        answer_json(call, 500, NULL);
        return;
    }
    call->on_gone = on_gone;
    container_end(c, !query_has(call, "keep"), query_has(call, "lazy"), &pending->wait, on_settled);
}

/* ---- lists */

static void get_containers(struct daemon *daemon, struct control_call *call)
{
    json_t *list = json_array();
    for (struct container *c = daemon->containers.first; c; c = c->next)
        json_array_append_new(list, container_json(c));
    answer_json(call, 200, json_pack("{s:o}", "containers", list));
}

static json_t *image_json(const struct image *image)
{
    static const char *const states[] = {"opening", "ready", "dead", "closing"};
    json_t *object =
        json_pack("{s:s, s:s, s:s, s:I}", "index", image->path, "mountpoint", image->mountpoint,
                  "state", states[image->state], "containers", (json_int_t)image->n_users);
    if (!object || image->state == IMAGE_OPENING || image->state == IMAGE_CLOSING)
        return object;
    json_object_set_new(object, "reference", json_string(image->info.reference));
    json_object_set_new(object, "manifest_digest", json_string(image->info.manifest_digest));
    json_object_set_new(object, "mount_seconds", json_real((double)image->mount_ns / 1e9));
    json_object_set_new(object, "counters", images_counters_json(image));
    return object;
}

static void get_images(struct daemon *daemon, struct control_call *call)
{
    json_t *list = json_array();
    for (struct image *image = daemon->images.first; image; image = image->next)
        json_array_append_new(list, image_json(image));
    answer_json(call, 200, json_pack("{s:o}", "images", list));
}

static void get_info(struct daemon *daemon, struct control_call *call)
{
    const struct daemon_options *o = daemon->options;
    answer_json(call, 200,
                json_pack("{s:s, s:i, s:s, s:s, s:s, s:b, s:I, s:I, s:I, s:I, s:i, s:i}", "version",
                          clip_version(), "pid", (int)getpid(), "root", o->root, "run", daemon->run,
                          "cache_dir", o->cache_dir, "draining", daemon->state != DAEMON_SERVING,
                          "containers", (json_int_t)daemon->containers.n_containers, "images",
                          (json_int_t)daemon->images.n_images, "index_jobs",
                          (json_int_t)daemon->indexes.n_jobs, "open_files_max",
                          (json_int_t)daemon->n_files, "connections", (int)daemon->control.n_conns,
                          "connections_max", CONTROL_CONNECTIONS_MAX));
}

static void get_health(struct daemon *daemon, struct control_call *call)
{
    bool serving = daemon->state == DAEMON_SERVING;
    const char *text = serving ? "ok\n" : "draining\n";
    control_answer(call, serving ? 200 : 503, "text/plain", strdup(text), strlen(text));
}

static void get_metrics(struct daemon *daemon, struct control_call *call)
{
    size_t len = 0;
    char *text = api_metrics(daemon, &len);
    control_answer(call, 200, "text/plain; version=0.0.4; charset=utf-8", text, len);
}

/* ---- routes */

static void refuse_method(struct control_call *call)
{
    answer_error(call, 405, "this path does not know that method");
}

static bool is_get(const struct control_call *call)
{
    return strcmp(call->method, "GET") == 0 || strcmp(call->method, "HEAD") == 0;
}

/* ID/profile */
static bool route_profile(struct daemon *daemon, struct control_call *call, const char *path)
{
    const char *slash = strchr(path, '/');
    char id[SPEC_ID_MAX + 1];
    if (!slash || strcmp(slash, "/profile") != 0 || (size_t)(slash - path) >= sizeof(id))
        return false;
    snprintf(id, sizeof(id), "%.*s", (int)(slash - path), path);
    if (is_get(call))
        get_profile(daemon, call, id);
    else
        refuse_method(call);
    return true;
}

static void route_container(struct daemon *daemon, struct control_call *call, const char *id)
{
    if (route_profile(daemon, call, id))
        return;
    if (!spec_id_valid(id))
        answer_error(call, 400,
                     "an ID is a letter or digit and up to 127 more of letters, digits, _ . + -");
    else if (is_get(call))
        get_container(daemon, call, id);
    else if (strcmp(call->method, "PUT") == 0)
        put_container(daemon, call, id);
    else if (strcmp(call->method, "DELETE") == 0)
        delete_container(daemon, call, id);
    else
        refuse_method(call);
}

static const struct {
    const char *path;
    void (*get)(struct daemon *daemon, struct control_call *call);
    bool is_public;
} routes[] = {
    {"/healthz", get_health, true},    {"/metrics", get_metrics, true},
    {"/v1/info", get_info, false},     {CONTAINERS, get_containers, false},
    {"/v1/images", get_images, false},
};

void api_call(void *data, struct control_call *call)
{
    struct daemon *daemon = data;
    size_t prefix = strlen(CONTAINERS "/");
    for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
        if (strcmp(call->path, routes[i].path) != 0 || (call->is_public && !routes[i].is_public))
            continue;
        if (is_get(call))
            routes[i].get(daemon, call);
        else
            refuse_method(call);
        return;
    }
    if (!call->is_public && strncmp(call->path, CONTAINERS "/", prefix) == 0)
        route_container(daemon, call, call->path + prefix);
    else
        answer_error(call, 404, "there is no such path");
}
