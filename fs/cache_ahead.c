/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The happy path of reading ahead is:
 * - a layer remembers the places at which it was read last (streams), and how long it was read on
 *   there. Its window is a WINDOW_PART of that, up to WINDOW_MAX bytes: what turns out not to be
 *   wanted is a small part of what was. The kernel reads ahead in a file by itself, after all.
 * - when half of the window has been used, the spans up to its end are wanted by nobody, which
 *   puts them behind all that somebody waits for.
 * - a file whose beginning is read is asked for whole (cache_ask), if it is not large; and when two
 *   spans in a row have been read, in whatever order, so is the one behind them: what a program
 *   needs of a package lies together. That one stands in line like what is waited for.
 *   What was asked for and is not read by now is counted: beyond a GUESS_PART of what was read,
 *   and some spans that are free, no more is asked for. So who looks at the beginnings of many
 *   files does not fetch them all.
 * - where the index has a profile, what it names is foreseen from the start, in its order, and the
 *   guesses of the point above are not made.
 * - else what files need is foreseen as they are read (fs/foresee.h), as long as not too much of it
 *   has not been read by now. Who reads what was foreseen does not go by where it lies: a stream
 *   goes on with it, but its window does not grow, and nothing is asked for because of it.
 * Nothing is kept by handle or by file: readers of one place are one stream, and files that lie
 * behind each other in the layer are read on as one.
 * Possible failure modes are: no memory, then it is not read ahead.
 */
#include "fs/cache_private.h"

#define WINDOW_MAX   (12ull << 20) /* decoded bytes */
#define WINDOW_PART  4u
#define GUESS_PART   16u
#define GUESS_FREE   16u /* spans */
#define FORESEE_PART 4u  /* of what was read may have been foreseen in vain, beyond FORESEE_MAX */
#define REORDER      4u  /* spans: requests of one reader may overtake each other */

static struct cache_stream *stream_at(struct cache_layer *layer, uint64_t index)
{
    for (unsigned i = 0; i < CACHE_STREAMS; i++) {
        struct cache_stream *stream = &layer->streams[i];
        if (stream->next > 0 && index + REORDER >= stream->next && index <= stream->next + 1)
            return stream;
    }
    return NULL;
}

static void begin_stream(struct cache_layer *layer, uint64_t index)
{
    struct cache_stream *oldest = &layer->streams[0];

    for (unsigned i = 1; i < CACHE_STREAMS; i++)
        if (layer->streams[i].turn < oldest->turn)
            oldest = &layer->streams[i];
    *oldest = (struct cache_stream){
        .next = index + 1,
        .asked = index + 1,
        .run = 1,
        .turn = ++layer->stream_turn,
    };
}

/* From the stream's end on, as far as the window reaches. */
static void ask_ahead(struct cache_client *client, struct cache_layer *layer,
                      struct cache_stream *stream)
{
    uint64_t len = 0;

    for (uint64_t i = stream->next; i < layer->n_spans && i < stream->next + stream->window; i++) {
        len += span_len(&layer->spans[i]);
        if (len > WINDOW_MAX)
            break;
        if (i < stream->asked)
            continue;
        span_guess(&layer->spans[i], client, true);
        stream->asked = i + 1;
    }
}

static void advance(struct cache_client *client, struct cache_layer *layer,
                    struct cache_stream *stream, uint64_t index, bool was_foreseen)
{
    stream->next = index + 1;
    stream->turn = ++layer->stream_turn;
    if (stream->asked < stream->next)
        stream->asked = stream->next;
    if (was_foreseen)
        return;
    stream->run++;
    stream->window = stream->run / WINDOW_PART;
    if (stream->asked - stream->next <= stream->window / 2)
        ask_ahead(client, layer, stream);
}

static bool may_guess(const struct cache_client *client, const struct cache_layer *layer)
{
    return !client->profile && layer->n_guessed < GUESS_FREE + layer->n_read / GUESS_PART;
}

/* It is read for the first time, and nobody knew that it would be. */
static void ask_for_next(struct cache_client *client, struct cache_span *span)
{
    struct cache_layer *layer = span->layer;
    uint64_t next = span_index(span) + 1;

    if (next > 1 && (span[-1].flags & SPAN_READ) && next < layer->n_spans &&
        !(span[1].flags & (SPAN_READ | SPAN_CHAINED)) && may_guess(client, layer))
        span_guess(&span[1], client, false);
}

void ahead_note(struct cache_client *client, struct cache_span *span)
{
    struct cache_layer *layer = span->layer;
    uint64_t index = span_index(span);
    struct cache_stream *stream = stream_at(layer, index);
    bool was_foreseen = span->flags & SPAN_FORESEEN;

    if (span->flags & SPAN_GUESSED)
        layer->n_guessed--;
    if (was_foreseen)
        layer->foreseen_len -= span_len(span);
    span->flags &= ~(SPAN_GUESSED | SPAN_FORESEEN);
    if (!(span->flags & SPAN_READ) && !was_foreseen)
        ask_for_next(client, span);
    span->flags |= SPAN_READ;
    if (!stream || index >= stream->next)
        layer->n_read++;
    if (!stream)
        begin_stream(layer, index);
    else if (index >= stream->next)
        advance(client, layer, stream, index, was_foreseen);
}

void cache_ask(struct cache_client *client, unsigned number, uint64_t first, uint64_t last)
{
    struct cache_layer *layer = first < last ? cache_layer_of(client, number) : NULL;

    if (!layer || !may_guess(client, layer))
        return;
    /* a chain comes in its own order, whoever asks for what */
    for (uint64_t i = first; i <= last; i++)
        if (!(layer->spans[i].flags & SPAN_CHAINED))
            span_guess(&layer->spans[i], client, false);
}

static uint64_t prefetch_max(const struct cache *cache)
{
    return cache->size / 2 < PREFETCH_MAX ? cache->size / 2 : PREFETCH_MAX;
}

/* What is foreseen in vain stays counted while the layer is open, so that what was read counts too:
 * a daemon that runs for months is not to stop because of it. */
static uint64_t foresee_max(const struct cache *cache, const struct cache_layer *layer)
{
    uint64_t read_len = layer->n_read * (layer->size / layer->n_spans);
    uint64_t max = FORESEE_MAX + read_len / FORESEE_PART;

    /* its size is 0 until it is open, if it was to be chosen */
    return cache->size > 0 && prefetch_max(cache) < max ? prefetch_max(cache) : max;
}

bool cache_foresee(struct cache_client *client, unsigned number, uint64_t first, uint64_t last)
{
    const struct cache *cache = client->cache;
    struct cache_layer *layer;

    if (!cache->path || cache->status < 0)
        return false;
    layer = cache_layer_of(client, number);
    for (uint64_t i = first; layer && i <= last; i++) {
        if (layer->foreseen_len + span_len(&layer->spans[i]) > foresee_max(cache, layer))
            return false;
        span_foresee(&layer->spans[i], client);
    }
    return layer != NULL;
}

/* The directory is open and its size is known; or it cannot be used. */
static void ask_for_profile(struct cache_client *client)
{
    uint64_t len = 0;

    if (client->cache->status < 0) {
        client->profile = NULL;
        return;
    }
    for (size_t i = 0; i < client->n_profile; i++) {
        const struct clip_profile_span *at = &client->profile[i];
        struct cache_layer *layer = cache_layer_of(client, at->layer);

        if (!layer)
            return;
        len += span_len(&layer->spans[at->span]);
        if (len > prefetch_max(client->cache))
            return;
        span_foresee(&layer->spans[at->span], client);
    }
}

static void on_open(struct cache_opening *opening)
{
    struct cache_client *client = container_of(opening, struct cache_client, opening);

    if (!client->closing)
        ask_for_profile(client);
}

void cache_prefetch(struct cache_client *client, const struct clip_profile_span *spans, size_t n)
{
    if (!client->cache->path)
        return;
    client->profile = spans;
    client->n_profile = n;
    cache_when_open(client->cache, &client->opening, on_open);
    if (queue_empty(&client->opening.node))
        ask_for_profile(client);
}
