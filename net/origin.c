/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The happy path of a request for a connection is:
 * - a kept one is handed out in place, the one that was used last.
 * - else the request stands in line; pump() opens a connection for the first in line as long as the
 *   limits allow. Of an https origin the trust is loaded first, by a job.
 * - a connection that comes back goes to the next in line, or is kept: it is read all the time, so
 *   that its end is seen at once, and does not keep the loop alive.
 * Possible failure modes are: no memory, trust that does not load, a connection that does not open.
 *   Each ends the requests that it concerns; the next request tries anew.
 * When the net's limit is reached: the connection kept longest, of whatever origin, is closed; if
 * there is none the origin starves until any connection ends.
 * On close: kept connections are closed; those in use end with their fetches.
 */
#include "net/origin.h"

#include "engine/log.h"

#include <stdlib.h>
#include <string.h>

struct origin {
    struct net *net;
    struct queue node;         /* in net->origins */
    struct queue starved_node; /* in net->starved */
    struct url url;
    char *ca_file, *certs_dir;
    const struct proxy *proxy;

    struct tls_trust *trust;
    struct tls_session *session;
    struct tls_job load;
    bool loading;
    int load_status;
    struct tls_trust *loaded;
    struct clip_error load_err;

    struct queue waiting[WORK_BLOCK];
    struct queue idle; /* used last comes first */
    struct later later;
    unsigned n_conns, n_bulk; /* open or opening */
};

static void pump(struct origin *origin);

/* ------------------------------------------------------------------ the table */

static bool same_text(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

static struct origin *find(struct net *net, const struct url *url, const struct net_trust *trust)
{
    queue_for_each(node, &net->origins)
    {
        struct origin *origin = container_of(node, struct origin, node);
        if (url_same_origin(&origin->url, url) && same_text(origin->ca_file, trust->ca_file) &&
            same_text(origin->certs_dir, trust->certs_dir))
            return origin;
    }
    return NULL;
}

static bool is_unused(const struct origin *origin)
{
    return origin->n_conns == 0 && !origin->loading && queue_empty(&origin->waiting[WORK_READ]) &&
           queue_empty(&origin->waiting[WORK_BULK]);
}

static void free_origin(struct origin *origin)
{
    origin->net->n_origins--;
    queue_remove(&origin->node);
    queue_remove(&origin->starved_node);
    later_cancel(&origin->later);
    tls_session_free(origin->session);
    tls_trust_free(origin->trust);
    url_fini(&origin->url);
    free(origin->ca_file);
    free(origin->certs_dir);
    free(origin);
}

/* Those that nobody asked for longest, until there are few enough. */
static void forget_unused(struct net *net)
{
    struct queue *node = net->origins.next;

    while (net->n_origins > NET_ORIGINS_KEPT && node != &net->origins) {
        struct origin *origin = container_of(node, struct origin, node);
        node = node->next;
        if (is_unused(origin))
            free_origin(origin);
    }
}

static int copy_text(const char *text, char **out)
{
    *out = text ? strdup(text) : NULL;
    return text && !*out ? -ENOMEM : 0;
}

static int make(struct net *net, const struct url *url, const struct net_trust *trust,
                struct origin **out, struct clip_error *err)
{
    struct origin *origin = calloc(1, sizeof(*origin));
    int r = -ENOMEM;

    if (!origin)
        return err_set(err, r, "out of memory for an origin");
    origin->net = net;
    net->n_origins++;
    queue_push(&net->origins, &origin->node);
    queue_init(&origin->starved_node);
    queue_init(&origin->idle);
    for (int lane = 0; lane < WORK_BLOCK; lane++)
        queue_init(&origin->waiting[lane]);
    later_init(&origin->later);
    if (copy_text(trust->ca_file, &origin->ca_file) == 0 &&
        copy_text(trust->certs_dir, &origin->certs_dir) == 0)
        r = url_parse(url->origin, &origin->url, err);
    if (r < 0) {
        free_origin(origin);
        return r == -ENOMEM ? err_set(err, r, "out of memory for an origin") : r;
    }
    *out = origin;
    return 0;
}

int origin_get(struct net *net, const struct url *url, const struct net_trust *trust,
               struct origin **out, struct clip_error *err)
{
    struct origin *origin;
    const struct proxy *proxy;
    int r = proxy_find(&net->proxies, url, &proxy, err);

    if (r < 0)
        return r;
    forget_unused(net);
    origin = find(net, url, trust);
    if (!origin && (r = make(net, url, trust, &origin, err)) < 0)
        return r;
    queue_remove(&origin->node);
    queue_push(&net->origins, &origin->node);
    origin->proxy = proxy;
    *out = origin;
    return 0;
}

const struct proxy *origin_proxy(const struct origin *origin)
{
    return origin->proxy;
}

/* --------------------------------------------------------- connections counted */

static void count(struct origin *origin, enum work_lane lane, int n)
{
    struct net *net = origin->net;

    origin->n_conns += (unsigned)n;
    net->n_conns += (unsigned)n;
    net->conns.value = net->n_conns;
    if (lane == WORK_BULK)
        origin->n_bulk += (unsigned)n;
}

static void feed_starved(struct later *later)
{
    struct net *net = container_of(later, struct net, later);
    struct queue now;
    struct queue *node;

    queue_init(&now);
    queue_splice(&now, &net->starved);
    while ((node = queue_pop(&now)))
        pump(container_of(node, struct origin, starved_node));
}

static void on_pump_later(struct later *later)
{
    pump(container_of(later, struct origin, later));
}

static void pump_later(struct origin *origin)
{
    later_call(origin->net->engine, &origin->later, on_pump_later);
}

/* The connection is not the origin's any more. */
static void drop(struct conn *conn)
{
    struct origin *origin = conn->origin;
    struct net *net = origin->net;

    queue_remove(&conn->node);
    queue_remove(&conn->idle_node);
    count(origin, conn->lane, -1);
    conn_close(conn);
    if (!queue_empty(&origin->waiting[WORK_READ]) || !queue_empty(&origin->waiting[WORK_BULK]))
        pump_later(origin);
    if (!queue_empty(&net->starved))
        later_call(net->engine, &net->later, feed_starved);
}

/* ---------------------------------------------------------------- the kept ones */

static void on_idle_alloc(void *data, void **out, size_t *out_len)
{
    static uint8_t nowhere[16];

    (void)data;
    *out = nowhere;
    *out_len = sizeof(nowhere);
}

/* Nothing was asked: whatever it says, it is of no use any more. */
static void on_idle_read(void *data, ssize_t n, const struct clip_error *err)
{
    (void)n;
    (void)err;
    drop(data);
}

static const struct conn_events idle_events = {.on_alloc = on_idle_alloc, .on_read = on_idle_read};

/* A connection counts as what it is used for; a kept one as a read's. */
static void set_lane(struct conn *conn, enum work_lane lane)
{
    count(conn->origin, conn->lane, -1);
    conn->lane = lane;
    count(conn->origin, conn->lane, 1);
}

static void keep(struct conn *conn, uint64_t keep_ms)
{
    struct origin *origin = conn->origin;

    set_lane(conn, WORK_READ);
    queue_push_front(&origin->idle, &conn->node);
    queue_push(&origin->net->idle, &conn->idle_node);
    conn_set_owner(conn, &idle_events, conn);
    conn->idle_ms = keep_ms;
    conn_expect(conn, CONN_WAIT_IDLE);
    conn_read(conn);
    conn_keep(conn, true);
}

static bool may_lend(const struct origin *origin, const struct origin_wait *wait)
{
    return !wait->fresh && !queue_empty(&origin->idle) &&
           (wait->lane == WORK_READ || origin->n_bulk < NET_ORIGIN_BULK_MAX);
}

static void lend(struct origin *origin, struct origin_wait *wait)
{
    struct conn *conn = container_of(origin->idle.next, struct conn, node);

    queue_remove(&conn->node);
    queue_remove(&conn->idle_node);
    conn_keep(conn, false);
    conn_expect(conn, CONN_WAIT_NONE);
    set_lane(conn, wait->lane);
    origin->net->reused.value++;
    wait->conn = conn;
    wait->reused = true;
}

void origin_return(struct conn *conn, uint64_t keep_ms)
{
    struct origin *origin = conn->origin;

    if (keep_ms == 0 || origin->net->closing) {
        drop(conn);
        return;
    }
    keep(conn, keep_ms);
    pump_later(origin);
    if (!queue_empty(&origin->net->starved))
        later_call(origin->net->engine, &origin->net->later, feed_starved);
}

void origin_distrust(struct origin *origin)
{
    while (!queue_empty(&origin->idle))
        drop(container_of(origin->idle.next, struct conn, node));
}

void origins_close_idle(struct net *net)
{
    while (!queue_empty(&net->idle))
        drop(container_of(net->idle.next, struct conn, idle_node));
}

void origins_free(struct net *net)
{
    while (!queue_empty(&net->origins))
        free_origin(container_of(net->origins.next, struct origin, node));
}

/* -------------------------------------------------------------------- opening */

static void finish(struct origin_wait *wait, int status, const struct clip_error *err)
{
    queue_remove(&wait->node);
    wait->opening = NULL;
    if (status < 0)
        wait->err = *err;
    wait->done(wait, status);
}

static void on_open(void *data, int status, const struct clip_error *err)
{
    struct origin_wait *wait = data;
    struct origin *origin = wait->origin;
    struct conn *conn = wait->opening;
    struct tls_session *session;

    if (status < 0) {
        struct clip_error copy = *err;
        drop(conn);
        finish(wait, status, &copy);
        return;
    }
    session = conn_session(conn);
    if (session) {
        tls_session_free(origin->session);
        origin->session = session;
    }
    wait->conn = conn;
    wait->reused = false;
    finish(wait, 0, NULL);
}

static int open_for(struct origin *origin, struct origin_wait *wait, struct clip_error *err)
{
    static const struct conn_events opening_events = {.on_open = on_open};
    struct conn_options options = {
        .url = &origin->url,
        .proxy = origin->proxy,
        .trust = origin->trust,
        .session = origin->session,
        .lane = wait->lane,
        .events = &opening_events,
        .data = wait,
    };
    int r = conn_open(origin->net, &options, &wait->opening, err);

    if (r < 0)
        return r;
    wait->opening->origin = origin;
    count(origin, wait->lane, 1);
    return 0;
}

/* Is one more connection allowed? Makes room in the net if something kept can go. */
static bool may_open(struct origin *origin, enum work_lane lane)
{
    struct net *net = origin->net;
    unsigned limit = lane == WORK_BULK ? NET_CONNS_BULK_MAX : NET_CONNS_MAX;

    if (origin->n_conns >= NET_ORIGIN_MAX ||
        (lane == WORK_BULK && origin->n_bulk >= NET_ORIGIN_BULK_MAX))
        return false;
    if (net->n_conns >= limit && !queue_empty(&net->idle))
        drop(container_of(net->idle.next, struct conn, idle_node));
    if (net->n_conns < limit)
        return true;
    queue_remove(&origin->starved_node);
    queue_push(&net->starved, &origin->starved_node);
    return false;
}

static struct origin_wait *first_in_line(struct origin *origin)
{
    for (int lane = 0; lane < WORK_BLOCK; lane++)
        if (!queue_empty(&origin->waiting[lane]))
            return container_of(origin->waiting[lane].next, struct origin_wait, node);
    return NULL;
}

/* ---- the trust of an https origin */

static void load_run(struct work *work)
{
    struct origin *origin = container_of(work, struct origin, load.work);
    struct tls_trust_options options = {
        .host = origin->url.host,
        .port = origin->url.port,
        .ca_file = origin->ca_file,
        .certs_dir = origin->certs_dir,
    };

    origin->load_status =
        tls_trust_load(&options, &origin->net->store, &origin->loaded, &origin->load_err);
}

static void fail_all(struct origin *origin, int status, const struct clip_error *err)
{
    struct origin_wait *wait;

    while ((wait = first_in_line(origin)))
        finish(wait, status, err);
}

static void load_done(struct tls_job *job)
{
    struct origin *origin = container_of(job, struct origin, load);

    origin->loading = false;
    if (origin->load_status == 0)
        origin->trust = origin->loaded;
    if (origin->load_status < 0)
        fail_all(origin, origin->load_status, &origin->load_err);
    else
        pump(origin);
}

static bool is_ready(struct origin *origin)
{
    if (!origin->url.tls || origin->trust)
        return true;
    if (!origin->loading) {
        origin->loading = true;
        net_tls_submit(origin->net, &origin->load, WORK_READ, load_run, load_done);
    }
    return false;
}

/* Gives the first in line a kept connection, or begins to open one; so on as far as it goes. */
static void pump(struct origin *origin)
{
    struct origin_wait *wait;
    struct clip_error err;
    int r;

    while ((wait = first_in_line(origin))) {
        if (may_lend(origin, wait)) {
            lend(origin, wait);
            finish(wait, 0, NULL);
            continue;
        }
        if (!is_ready(origin) || !may_open(origin, wait->lane))
            return;
        queue_remove(&wait->node);
        r = open_for(origin, wait, &err);
        if (r < 0)
            finish(wait, r, &err);
    }
}

int origin_ask(struct origin *origin, struct origin_wait *wait, enum work_lane lane, bool fresh,
               origin_wait_cb done)
{
    wait->conn = wait->opening = NULL;
    wait->origin = origin;
    wait->lane = lane == WORK_READ ? WORK_READ : WORK_BULK;
    wait->fresh = fresh;
    wait->done = done;
    queue_init(&wait->node);
    if (may_lend(origin, wait)) {
        lend(origin, wait);
        return 1;
    }
    queue_push(&origin->waiting[wait->lane], &wait->node);
    pump_later(origin);
    return 0;
}

void origin_ask_cancel(struct origin_wait *wait)
{
    queue_remove(&wait->node);
    if (wait->opening)
        drop(wait->opening);
    wait->opening = NULL;
}
