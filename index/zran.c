/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The happy path of a span is: a decoder that goes on at the checkpoint, the compressed bytes fed
 * in one piece, the decoded bytes taken until they are all there.
 * Possible failure modes are: bytes that do not decode, or end early; no memory.
 */
#include "index/zran.h"

#include "index/decoder.h"
#include "index/gunzip.h"

static int open_at(enum codec codec, enum inflate_backend backend, const struct checkpoint *at,
                   struct decoder **out)
{
    int r;

    if (codec == CODEC_GZIP)
        return gunzip_resume(backend, at, out);
    r = decoder_new(codec, DECODER_ENDLESS, out);
    if (r == 0)
        (*out)->in_off = at->in_bit / 8;
    return r;
}

int zran_open(enum codec codec, const struct checkpoint *at, struct decoder **out)
{
    return open_at(codec, inflate_default(), at, out);
}

int zran_take(struct decoder *decoder, void *out, size_t out_len, struct clip_error *err)
{
    size_t done = 0;

    while (done < out_len) {
        size_t n;
        int r = decoder_step(decoder, (uint8_t *)out + done, out_len - done, &n, err);

        done += n;
        if (done == out_len)
            break;
        if (r < 0)
            return r;
        if (r == CODEC_MORE_IN || r == CODEC_END)
            return err_set(err, CLIP_EFORMAT, "the span ends after %zu of %zu bytes", done,
                           out_len);
    }
    return 0;
}

int zran_decode_with(enum inflate_backend backend, enum codec codec, const struct checkpoint *at,
                     const void *in, size_t in_len, void *out, size_t out_len,
                     struct clip_error *err)
{
    struct decoder *decoder;
    int r = open_at(codec, backend, at, &decoder);

    if (r < 0)
        return err_set(err, r, r == -ENOMEM ? "no memory" : "a checkpoint that cannot be");
    decoder_feed(decoder, in, in_len);
    r = zran_take(decoder, out, out_len, err);
    decoder_free(decoder);
    return r;
}

int zran_decode(enum codec codec, const struct checkpoint *at, const void *in, size_t in_len,
                void *out, size_t out_len, struct clip_error *err)
{
    return zran_decode_with(inflate_default(), codec, at, in, in_len, out, out_len, err);
}
