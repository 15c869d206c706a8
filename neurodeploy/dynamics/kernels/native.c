/* The multi-step neuron update and its gradient, for float32 on a CPU: the arithmetic of `handwritten.py`, operation by operation.

   Compiled without contraction and without reordering. `fmaf` is written where torch's own kernels fuse a product with a sum, so
   that every value has the same bits; `native.py` compares them before it uses what was compiled.

   Neurons do not see each other: a block of them goes through all steps while it is in the innermost cache, and threads share the
   blocks. Arrays are [steps, neurons], a step contiguous, and `stride` values lie between two steps (0 repeats one step). */

#include <math.h>
#include <stddef.h>
#include <stdint.h>

#define BLOCK 1024

enum reset { HARD, SOFT, NONE };
enum surrogate { GIVEN, RECTANGLE, TRIANGLE, ARC_TANGENT, FAST_SIGMOID, STRAIGHT_THROUGH };

typedef struct {
    float decay, threshold;
    int32_t reset, surrogate, detached;
    float a, b; /* constants of the surrogate */
} neuron;

#define INLINE static inline __attribute__((always_inline))

INLINE void fire_block(const float *restrict x, float *restrict s, float *restrict h, float *restrict v, int64_t count,
                       float decay, float threshold, enum reset reset) {
    for (int64_t i = 0; i < count; i++) {
        float charged = v[i] * decay + x[i];
        float fired = charged > threshold ? 1.0f : 0.0f;
        s[i] = fired;
        if (h) h[i] = charged;
        v[i] = reset == HARD ? charged + -charged * fired : reset == SOFT ? charged - fired * threshold : charged;
    }
}

INLINE void fire_steps(const float *x, int64_t x_stride, float *s, float *h, float *v, int64_t steps, int64_t neurons,
                       int64_t first, int64_t count, const neuron *n, enum reset reset) {
    for (int64_t t = 0; t < steps; t++) {
        float *kept = h ? h + t * neurons + first : NULL;
        if (kept)
            fire_block(x + t * x_stride + first, s + t * neurons + first, kept, v + first, count, n->decay, n->threshold, reset);
        else
            fire_block(x + t * x_stride + first, s + t * neurons + first, NULL, v + first, count, n->decay, n->threshold, reset);
    }
}

/* s: spikes; h: charged potentials, or NULL where no gradient will be asked for; v: the potential before, and then after. */
void neurodeploy_fire(const float *x, int64_t x_stride, float *s, float *h, float *v, int64_t steps, int64_t neurons,
                      const neuron *n, int32_t threads) {
#pragma omp parallel for num_threads(threads) if (threads > 1)
    for (int64_t first = 0; first < neurons; first += BLOCK) {
        int64_t count = neurons - first < BLOCK ? neurons - first : BLOCK;
        if (n->reset == HARD)
            fire_steps(x, x_stride, s, h, v, steps, neurons, first, count, n, HARD);
        else if (n->reset == SOFT)
            fire_steps(x, x_stride, s, h, v, steps, neurons, first, count, n, SOFT);
        else
            fire_steps(x, x_stride, s, h, v, steps, neurons, first, count, n, NONE);
    }
}

/* The surrogate's derivative at `x = h − θ`, as `surrogates.py` has it. */
INLINE float derivative(float x, float threshold, float a, float b, enum surrogate kind) {
    if (kind == RECTANGLE) return (fabsf(x) < a ? 1.0f : 0.0f) / b;
    if (kind == TRIANGLE) {
        float height = 1.0f - fabsf(x / threshold);
        return (height < 0.0f ? 0.0f : height) * a; /* NaN stays NaN */
    }
    if (kind == ARC_TANGENT) {
        float scaled = x * a;
        return 1.0f / (scaled * scaled + 1.0f) * b;
    }
    if (kind == FAST_SIGMOID) {
        float root = fabsf(x) * a + 1.0f;
        return 1.0f / (root * root);
    }
    return fabsf(x) <= threshold ? 1.0f : 0.0f; /* STRAIGHT_THROUGH */
}

INLINE void back_block(const float *restrict h, const float *restrict grad_s, const float *restrict slopes,
                       const float *restrict before, float *restrict g, int64_t count, float scale,
                       const neuron n, enum reset reset, int detached, enum surrogate kind) {
    for (int64_t i = 0; i < count; i++) {
        float slope = kind == GIVEN ? slopes[i] : derivative(h[i] - n.threshold, n.threshold, n.a, n.b, kind);
        float grad = grad_s[i] * slope, through;
        if (reset == NONE || (reset == SOFT && detached)) {
            grad = fmaf(before[i], scale, grad);
        } else {
            if (reset == SOFT) {
                through = 1.0f - slope * n.threshold;
            } else {
                through = h[i] <= n.threshold ? 1.0f : 0.0f;
                if (!detached) through = fmaf(-h[i], slope, through);
            }
            grad = fmaf(scale * through, before[i], grad);
        }
        g[i] = grad;
    }
}

static const float silence[BLOCK]; /* a gradient of zeros */

INLINE void back_steps(const float *h, int64_t h_stride, const float *grad_s, int64_t s_stride, const float *slopes,
                       int64_t slope_stride, const float *grad_v, float *g, int64_t g_stride, float *grad_v0, int64_t steps,
                       int64_t first, int64_t count, const neuron n, enum reset reset, int detached, enum surrogate kind) {
    const float *before = grad_v ? grad_v + first : silence;
    float scale = 1.0f; /* the gradient from outside is that of v after the last step itself */
    for (int64_t t = steps - 1; t >= 0; t--) {
        float *now = g + t * g_stride + first;
        back_block(h + t * h_stride + first, grad_s ? grad_s + t * s_stride + first : silence,
                   slopes ? slopes + t * slope_stride + first : NULL, before, now, count, scale, n, reset, detached, kind);
        before = now;
        scale = n.decay;
    }
    if (grad_v0)
        for (int64_t i = 0; i < count; i++) grad_v0[first + i] = before[i] * scale;
}

#define BACK(RESET, DETACHED, KIND)                                                                                               \
    back_steps(h, h_stride, grad_s, s_stride, slopes, slope_stride, grad_v, g, g_stride, grad_v0, steps, first, count, *n, RESET, \
               DETACHED, KIND)
#define BACK_OF(KIND)                                                    \
    case KIND:                                                           \
        if (n->reset == HARD && n->detached) BACK(HARD, 1, KIND);        \
        else if (n->reset == HARD) BACK(HARD, 0, KIND);                  \
        else if (n->reset == SOFT && n->detached) BACK(SOFT, 1, KIND);   \
        else if (n->reset == SOFT) BACK(SOFT, 0, KIND);                  \
        else BACK(NONE, 0, KIND);                                        \
        break

/* g: gradient of the current at every step; grad_s, grad_v, grad_v0: NULL where there is none, or none is wanted; slopes: the
   surrogate's derivative where this file has none of its kind. */
void neurodeploy_back(const float *h, int64_t h_stride, const float *grad_s, int64_t s_stride, const float *slopes,
                      int64_t slope_stride, const float *grad_v, float *g, int64_t g_stride, float *grad_v0, int64_t steps,
                      int64_t neurons, const neuron *n, int32_t threads) {
#pragma omp parallel for num_threads(threads) if (threads > 1)
    for (int64_t first = 0; first < neurons; first += BLOCK) {
        int64_t count = neurons - first < BLOCK ? neurons - first : BLOCK;
        switch (n->surrogate) {
            BACK_OF(GIVEN);
            BACK_OF(RECTANGLE);
            BACK_OF(TRIANGLE);
            BACK_OF(ARC_TANGENT);
            BACK_OF(FAST_SIGMOID);
            BACK_OF(STRAIGHT_THROUGH);
        }
    }
}
