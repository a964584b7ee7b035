/* SPDX-License-Identifier: Apache-2.0 */
/*
 * XXH3, by the widest vectors that this processor has, where the library can choose: of an image's
 * spans that is four times as fast as what every x86 can do.
 */
#ifndef CLIP_ENGINE_XXH3_H
#define CLIP_ENGINE_XXH3_H

#include <xxhash.h>

#ifdef CLIP_HAVE_XXH_DISPATCH
#include <xxh_x86dispatch.h> /* the same names, another function behind them */
#endif

#endif
