/* SPDX-License-Identifier: Apache-2.0 */
/* The happy path of a message is:
 * - control_message_feed() runs llhttp over what came; its callbacks keep the target and the body,
 *   and count what is neither.
 * - at the message's end llhttp is paused, so that the bytes behind it stay with the caller: they
 *   are the next request.
 * Possible failure modes are: what llhttp refuses, one of the limits, no memory. A message that
 * failed stays failed: the connection is of no use any more. */
#include "control_http.h"

#include <errno.h>
#include <llhttp.h>
#include <stdlib.h>
#include <string.h>

struct control_parser {
    llhttp_t http;
    llhttp_settings_t settings;
};

static struct control_message *message_of(llhttp_t *http)
{
    return http->data;
}

static int fail(llhttp_t *http, int r)
{
    message_of(http)->failure = r;
    return HPE_USER;
}

static int on_begin(llhttp_t *http)
{
    message_of(http)->begun = true;
    return HPE_OK;
}

static int on_overhead(llhttp_t *http, const char *at, size_t len)
{
    (void)at;
    struct control_message *message = message_of(http);
    message->n_overhead += len;
    return message->n_overhead > CONTROL_HEAD_MAX ? fail(http, -E2BIG) : HPE_OK;
}

static int on_target(llhttp_t *http, const char *at, size_t len)
{
    struct control_message *message = message_of(http);
    if (len >= CONTROL_TARGET_MAX - message->target_len)
        return fail(http, -ENAMETOOLONG);
    memcpy(message->target + message->target_len, at, len);
    message->target_len += len;
    message->target[message->target_len] = '\0';
    return on_overhead(http, at, len);
}

static int on_headers_complete(llhttp_t *http)
{
    struct control_message *message = message_of(http);
    if (http->http_major != 1)
        return fail(http, -EBADMSG);
    if (message->on_body || http->content_length <= CONTROL_BODY_MAX)
        return HPE_OK;
    return http->flags & F_CONTENT_LENGTH ? fail(http, -EFBIG) : HPE_OK;
}

static int keep_body(llhttp_t *http, const char *at, size_t len)
{
    struct control_message *message = message_of(http);
    if (len > CONTROL_BODY_MAX - message->body_len)
        return fail(http, -EFBIG);
    char *grown = realloc(message->body, message->body_len + len + 1);
    if (!grown)
        return fail(http, -ENOMEM);
    memcpy(grown + message->body_len, at, len);
    message->body = grown;
    message->body_len += len;
    grown[message->body_len] = '\0';
    return HPE_OK;
}

static int on_body(llhttp_t *http, const char *at, size_t len)
{
    struct control_message *message = message_of(http);
    if (!message->on_body)
        return keep_body(http, at, len);
    int r = message->on_body(message->data, at, len);
    return r < 0 ? fail(http, r) : HPE_OK;
}

/* The chunk sizes of a request that never ends count as overhead, though there is no callback
 * with their bytes. */
static int on_chunk(llhttp_t *http)
{
    struct control_message *message = message_of(http);
    return message->on_body ? HPE_OK : on_overhead(http, NULL, 8);
}

static int on_complete(llhttp_t *http)
{
    struct control_message *message = message_of(http);
    message->whole = true;
    message->keep_alive = llhttp_should_keep_alive(http);
    message->status = http->status_code;
    if (http->type == HTTP_REQUEST)
        message->method = llhttp_method_name((llhttp_method_t)http->method);
    return HPE_PAUSED;
}

int control_message_init(struct control_message *message, enum control_kind kind,
                         control_body_cb on_body_cb, void *data)
{
    *message = (struct control_message){.on_body = on_body_cb, .data = data};
    message->parser = calloc(1, sizeof(*message->parser));
    if (!message->parser)
        return -ENOMEM;
    llhttp_settings_t *settings = &message->parser->settings;
    llhttp_settings_init(settings);
    settings->on_message_begin = on_begin;
    settings->on_url = on_target;
    settings->on_header_field = on_overhead;
    settings->on_header_value = on_overhead;
    settings->on_headers_complete = on_headers_complete;
    settings->on_body = on_body;
    settings->on_chunk_header = on_chunk;
    settings->on_message_complete = on_complete;
    llhttp_init(&message->parser->http, kind == CONTROL_REQUEST ? HTTP_REQUEST : HTTP_RESPONSE,
                settings);
    message->parser->http.data = message;
    return 0;
}

void control_message_fini(struct control_message *message)
{
    free(message->body);
    free(message->parser);
    message->body = NULL;
    message->parser = NULL;
}

void control_message_reset(struct control_message *message)
{
    free(message->body);
    message->body = NULL;
    message->body_len = message->n_overhead = message->target_len = 0;
    message->target[0] = '\0';
    message->begun = message->whole = false;
    message->method = NULL;
    message->status = 0;
}

int control_message_feed(struct control_message *message, const char *bytes, size_t len)
{
    llhttp_t *http = &message->parser->http;
    if (message->failure < 0)
        return message->failure;
    llhttp_resume(http);
    llhttp_errno_t e = llhttp_execute(http, bytes, len);
    if (e == HPE_OK)
        return (int)len;
    if (e == HPE_PAUSED)
        return (int)(llhttp_get_error_pos(http) - bytes);
    if (message->failure == 0)
        message->failure = -EBADMSG;
    return message->failure;
}

int control_message_end(struct control_message *message)
{
    llhttp_t *http = &message->parser->http;
    if (message->whole || !message->begun)
        return 0;
    if (message->failure == 0 && llhttp_finish(http) == HPE_OK && message->whole)
        return 0;
    return message->whole ? 0 : -EBADMSG;
}

const char *control_reason(int status)
{
    static const struct {
        int status;
        const char *reason;
    } reasons[] = {
        {200, "OK"},
        {202, "Accepted"},
        {400, "Bad Request"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {409, "Conflict"},
        {413, "Payload Too Large"},
        {414, "URI Too Long"},
        {422, "Unprocessable Entity"},
        {431, "Request Header Fields Too Large"},
        {501, "Not Implemented"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
        {507, "Insufficient Storage"},
    };
    for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++) {
        if (reasons[i].status == status)
            return reasons[i].reason;
    }
    return "Internal Server Error";
}
