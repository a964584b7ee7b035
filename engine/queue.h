/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Intrusive doubly linked list: a node is embedded in what is queued, so that queueing cannot
 * fail. A node that is in no list points to itself. Not locked: one thread.
 */
#ifndef CLIP_ENGINE_QUEUE_H
#define CLIP_ENGINE_QUEUE_H

#include <stdbool.h>
#include <stddef.h>

struct queue {
    struct queue *next, *prev;
};

/* From a node (or any embedded member) to what it is embedded in. */
#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

static inline void queue_init(struct queue *q)
{
    q->next = q->prev = q;
}

/* Of a list: nothing in it. Of a node: in no list. */
static inline bool queue_empty(const struct queue *q)
{
    return q->next == q;
}

static inline void queue_push(struct queue *list, struct queue *node)
{
    node->next = list;
    node->prev = list->prev;
    list->prev->next = node;
    list->prev = node;
}

static inline void queue_push_front(struct queue *list, struct queue *node)
{
    queue_push(list->next, node);
}

/* Harmless for a node that is in no list. */
static inline void queue_remove(struct queue *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    queue_init(node);
}

/* The first node, taken out; NULL if empty. */
static inline struct queue *queue_pop(struct queue *list)
{
    struct queue *node = list->next;

    if (node == list)
        return NULL;
    queue_remove(node);
    return node;
}

/* Moves all of `from` to the end of `to`. */
static inline void queue_splice(struct queue *to, struct queue *from)
{
    struct queue *node;

    while ((node = queue_pop(from)))
        queue_push(to, node);
}

#define queue_for_each(it, list) for (struct queue *it = (list)->next; it != (list); it = it->next)

#endif
