/* What several layers share: rounding as float32 does it, and the lowest bit of a word. Only integers of C99 are asked for. */
#ifndef MODEL_SUPPORT_H
#define MODEL_SUPPORT_H

#include <stdint.h>

#ifdef __FAST_MATH__
#error "potentials in float32 are exact without -ffast-math alone"
#endif
#if defined(__FLT_EVAL_METHOD__) && __FLT_EVAL_METHOD__ != 0
#error "floats are computed in another precision here; on 32-bit x86 compile with -msse2 -mfpmath=sse"
#endif

/* Potentials that decay by halves are shifted: the compiler must shift their sign in. */
typedef char model_shifts_are_arithmetic[(-1 >> 1) == -1 ? 1 : -1];

#ifndef MODEL_TRACE
#define MODEL_TRACE(layer, values) ((void)0)
#endif

#if defined(__GNUC__)
#define MODEL_UNUSED __attribute__((unused))
#else
#define MODEL_UNUSED
#endif

/* The number of the lowest bit that is set; there must be one. */
MODEL_UNUSED static int32_t model_lowest(uint32_t bits) {
#if defined(__GNUC__)
    return __builtin_ctz(bits);
#else
    int32_t n = 0;
    while ((bits & 1u) == 0) {
        bits >>= 1;
        n++;
    }
    return n;
#endif
}

/* To 24 significant bits, halves to the even neighbour: what float32 makes of an integer. */
MODEL_UNUSED static int32_t model_round24(int32_t x) {
    uint32_t size = x < 0 ? (uint32_t)-x : (uint32_t)x;
    int32_t shift = 0;
    if (size <= 0x1000000u) return x;
    while ((size >> shift) > 0xffffffu) shift++;
    {
        const uint32_t rest = size & (((uint32_t)1 << shift) - 1u), half = (uint32_t)1 << (shift - 1);
        size >>= shift;
        if (rest > half || (rest == half && (size & 1u) != 0)) size++;
        size <<= shift;
    }
    return x < 0 ? -(int32_t)size : (int32_t)size;
}

/* x / 2^bits, halves to the even neighbour. */
MODEL_UNUSED static int32_t model_shifted(int32_t x, int32_t bits) {
    int32_t whole, rest, half;
    if (bits > 30) return 0;
    whole = x >> bits;
    rest = x - whole * ((int32_t)1 << bits);
    half = (int32_t)1 << (bits - 1);
    if (rest > half || (rest == half && (whole & 1) != 0)) whole++;
    return whole;
}

MODEL_UNUSED static int32_t model_clip(int32_t x, int32_t largest) {
    return x > largest ? largest : (x < -largest ? -largest : x);
}

/* Halves to the even neighbour; from 2^23 on a float is whole. */
MODEL_UNUSED static float model_nearest(float x) {
    const float whole = 8388608.0f;
    volatile float sum;
    if (!(x < whole && x > -whole)) return x;
    sum = x < 0.0f ? x - whole : x + whole;
    return x < 0.0f ? sum + whole : sum - whole;
}

MODEL_UNUSED static float model_floor(float x) {
    const float near = model_nearest(x);
    return near > x ? near - 1.0f : near;
}

MODEL_UNUSED static int32_t model_clip_float(float x, int32_t largest) {
    return x >= (float)largest ? largest : (x <= (float)-largest ? -largest : (int32_t)x);
}

/* x (4096 - decay) / 4096, rounded towards zero. */
MODEL_UNUSED static int64_t model_decayed(int32_t x, int32_t decay) {
    return (int64_t)x * (4096 - decay) / 4096;
}

#endif
