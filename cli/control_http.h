/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One HTTP/1.1 message of the control socket, read piece by piece: a request at clipd, a response
 * at clip. Pure: bytes in, a message out, no I/O. What is too long is refused, not stored.
 */
#ifndef CLIP_CLI_CONTROL_HTTP_H
#define CLIP_CLI_CONTROL_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CONTROL_HEAD_MAX   (16 * 1024) /* bytes that are not body */
#define CONTROL_TARGET_MAX 1024
#define CONTROL_BODY_MAX   (64 * 1024) /* of a request */

enum control_kind { CONTROL_REQUEST, CONTROL_RESPONSE };

/* A piece of a response's body, as it comes. Not 0 stops reading with that. */
typedef int (*control_body_cb)(void *data, const char *bytes, size_t len);

struct control_message {
    /* read-only */
    bool begun; /* a byte of it came */
    bool whole;
    bool keep_alive;
    const char *method;              /* of a request */
    int status;                      /* of a response */
    char target[CONTROL_TARGET_MAX]; /* path and query, as they came */
    char *body;                      /* of a request; NUL terminated, or NULL */
    size_t body_len;
    /* private */
    struct control_parser *parser;
    size_t n_overhead, target_len;
    int failure;
    control_body_cb on_body;
    void *data;
};

/* With `on_body` the body goes there and is not kept. 0 or -ENOMEM. */
int control_message_init(struct control_message *message, enum control_kind kind,
                         control_body_cb on_body, void *data);
void control_message_fini(struct control_message *message);
/* Ready for the next message of the same connection. */
void control_message_reset(struct control_message *message);

/* Takes bytes until the message is whole; how many it took, or why not:
 * -EBADMSG no HTTP, -ENAMETOOLONG the target, -E2BIG the head, -EFBIG the body, -ENOMEM. */
int control_message_feed(struct control_message *message, const char *bytes, size_t len);
/* The connection ended: 0 if that was a proper end of the message. */
int control_message_end(struct control_message *message);

/* "Not Found" */
const char *control_reason(int status);

#endif
