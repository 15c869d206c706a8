/* Layers of a network in training, between convolutions in bfloat16: thresholds, neurons and levels, on a CPU.

   What the convolutions exchange is bfloat16; everything in between is float32, in registers. Arrays are [steps, samples, size],
   without gaps, and all per-sample arrays (`factor`, `offset`, `initial`, `scale`) are [size], in the memory order of a sample. The potentials
   that a gradient needs are computed again from the currents, a block at a time, which is faster than keeping them.

   Samples are divided among `parts`, each with sums of its own: [parts, size]. */

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define BLOCK 256
#define MOST_STEPS 64

enum reset { HARD, SOFT };
enum surrogate { RECTANGLE = 1, TRIANGLE, ARC_TANGENT, FAST_SIGMOID, STRAIGHT_THROUGH };

typedef uint16_t bfloat16;

typedef struct {
    float decay;
    int32_t reset, surrogate, detached;
    float a, b; /* constants of the surrogate */
} neuron;

#define INLINE static inline __attribute__((always_inline))

INLINE float wide(bfloat16 x) {
    uint32_t bits = (uint32_t)x << 16;
    float y;
    memcpy(&y, &bits, 4);
    return y;
}

/* To the nearest, halves to the even neighbour; what is not finite is noticed by the training loop, in the loss. */
INLINE bfloat16 narrow(float x) {
    uint32_t bits;
    memcpy(&bits, &x, 4);
    return (bfloat16)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

/* The number of spikes. */
INLINE int32_t charge(const bfloat16 *restrict x, const float *restrict factor, const float *restrict offset, float *restrict h,
                      float *restrict v, bfloat16 *restrict s, int64_t count, float decay, enum reset reset) {
    int32_t spikes = 0;
    for (int64_t i = 0; i < count; i++) {
        float charged = v[i] * decay + (wide(x[i]) * factor[i] + offset[i]);
        float fired = charged > 1.0f ? 1.0f : 0.0f;
        spikes += charged > 1.0f;
        if (s) s[i] = charged > 1.0f ? 0x3f80 : 0;
        if (h) h[i] = charged;
        v[i] = reset == HARD ? charged + -charged * fired : charged - fired;
    }
    return spikes;
}

INLINE int64_t fire(const bfloat16 *x, int64_t x_step, const float *factor, const float *offset, const float *initial,
                    bfloat16 *s, int64_t steps,
                 int64_t samples, int64_t size, const neuron n, enum reset reset, int64_t first, int64_t last) {
    float v[BLOCK];
    int64_t spikes = 0;
    for (int64_t sample = first; sample < last; sample++)
        for (int64_t start = 0; start < size; start += BLOCK) {
            int64_t count = size - start < BLOCK ? size - start : BLOCK, at = sample * size + start;
            memcpy(v, initial + start, count * sizeof *v);
            for (int64_t t = 0; t < steps; t++)
                spikes += charge(x + t * x_step + at, factor + start, offset + start, NULL, v, s + t * samples * size + at, count,
                                 n.decay, reset);
        }
    return spikes;
}

#define PARTS(part, first, last)                      \
    _Pragma("omp parallel for num_threads(parts) if (parts > 1)") for (int32_t part = 0; part < parts; part++) { \
        int64_t first = samples * part / parts, last = samples * (part + 1) / parts;

/* x: currents, [steps or 1, samples, size], `x_step` values between two steps; initial: potentials before the first; s: spikes of 0 and 1; spikes: how many of these,
   [parts]. */
void neurodeploy_bf16_fire(const bfloat16 *x, int64_t x_step, const float *factor, const float *offset, const float *initial,
                           bfloat16 *s, int64_t *spikes, int64_t steps, int64_t samples, int64_t size, const neuron *n, int32_t parts) {
    PARTS(part, first, last)
        if (n->reset == HARD)
            spikes[part] = fire(x, x_step, factor, offset, initial, s, steps, samples, size, *n, HARD, first, last);
        else
            spikes[part] = fire(x, x_step, factor, offset, initial, s, steps, samples, size, *n, SOFT, first, last);
    }
}

/* The surrogate's derivative at `x = h − 1`, as `surrogates.py` has it for a threshold of 1, of a block. */
static void derive(const float *restrict h, float *restrict slopes, const neuron *n) {
    float a = n->a, b = n->b;
    switch (n->surrogate) {
        case RECTANGLE:
            for (int64_t i = 0; i < BLOCK; i++) slopes[i] = (fabsf(h[i] - 1.0f) < a ? 1.0f : 0.0f) / b;
            break;
        case TRIANGLE:
            for (int64_t i = 0; i < BLOCK; i++) {
                float height = 1.0f - fabsf(h[i] - 1.0f);
                slopes[i] = (height < 0.0f ? 0.0f : height) * a;
            }
            break;
        case ARC_TANGENT:
            for (int64_t i = 0; i < BLOCK; i++) {
                float scaled = (h[i] - 1.0f) * a;
                slopes[i] = b / (scaled * scaled + 1.0f);
            }
            break;
        case FAST_SIGMOID:
            for (int64_t i = 0; i < BLOCK; i++) {
                float root = fabsf(h[i] - 1.0f) * a + 1.0f;
                slopes[i] = 1.0f / (root * root);
            }
            break;
        case STRAIGHT_THROUGH:
            for (int64_t i = 0; i < BLOCK; i++) slopes[i] = fabsf(h[i] - 1.0f) <= 1.0f ? 1.0f : 0.0f;
    }
}

INLINE void discharge(const bfloat16 *restrict x, const float *restrict h, const float *restrict slopes,
                      const bfloat16 *restrict grad_s, const float *restrict factor, float *restrict g, float *restrict sum,
                      bfloat16 *restrict grad_x, float *restrict grad_factor, float *restrict grad_offset, int64_t count,
                      const neuron n, enum reset reset, int detached) {
    for (int64_t i = 0; i < count; i++) {
        float slope = slopes[i], through;
        if (reset == SOFT) {
            through = detached ? 1.0f : 1.0f - slope;
        } else {
            through = h[i] <= 1.0f ? 1.0f : 0.0f;
            if (!detached) through -= h[i] * slope;
        }
        float grad = wide(grad_s[i]) * slope + n.decay * through * g[i];
        g[i] = grad;
        grad_factor[i] += grad * wide(x[i]);
        grad_offset[i] += grad;
        sum[i] += grad;
        if (grad_x) grad_x[i] = narrow(grad * factor[i]);
    }
}

INLINE void back(const bfloat16 *x, int64_t x_step, const float *factor, const float *offset, const float *initial,
                 const bfloat16 *grad_s, bfloat16 *grad_x, float *grad_factor, float *grad_offset, float *grad_initial, int64_t steps, int64_t samples, int64_t size,
                 const neuron n, enum reset reset, int detached, int64_t first, int64_t last) {
    float h[MOST_STEPS * BLOCK], v[BLOCK], g[BLOCK], sum[BLOCK], slopes[BLOCK];
    memset(h, 0, sizeof h); /* the last block of a sample may not be full */
    for (int64_t sample = first; sample < last; sample++)
        for (int64_t start = 0; start < size; start += BLOCK) {
            int64_t count = size - start < BLOCK ? size - start : BLOCK, at = sample * size + start;
            memcpy(v, initial + start, count * sizeof *v), memset(g, 0, sizeof g), memset(sum, 0, sizeof sum);
            for (int64_t t = 0; t < steps; t++)
                charge(x + t * x_step + at, factor + start, offset + start, h + t * BLOCK, v, NULL, count, n.decay, reset);
            for (int64_t t = steps - 1; t >= 0; t--) {
                int64_t now = t * samples * size + at;
                derive(h + t * BLOCK, slopes, &n);
                discharge(x + t * x_step + at, h + t * BLOCK, slopes, grad_s + now, factor + start, g, sum,
                          x_step ? grad_x + now : NULL, grad_factor + start, grad_offset + start, count, n, reset, detached);
            }
            for (int64_t i = 0; i < count; i++) grad_initial[start + i] += n.decay * g[i];
            if (!x_step)
                for (int64_t i = 0; i < count; i++) grad_x[at + i] = narrow(sum[i] * factor[start + i]);
        }
}

#define BACK(RESET, DETACHED)                                                                                                   \
    back(x, x_step, factor, offset, initial, grad_s, grad_x, grad_factor + part * size, grad_offset + part * size, \
         grad_initial + part * size, steps, samples, size, *n, RESET, DETACHED, first, last)

/* grad_x: as x, without gaps; grad_factor, grad_offset, grad_initial: [parts, size], added to. */
void neurodeploy_bf16_back(const bfloat16 *x, int64_t x_step, const float *factor, const float *offset, const float *initial,
                           const bfloat16 *grad_s, bfloat16 *grad_x, float *grad_factor, float *grad_offset,
                           float *grad_initial, int64_t steps, int64_t samples, int64_t size, const neuron *n, int32_t parts) {
    PARTS(part, first, last)
        if (n->reset == HARD && n->detached) BACK(HARD, 1);
        else if (n->reset == HARD) BACK(HARD, 0);
        else if (n->detached) BACK(SOFT, 1);
        else BACK(SOFT, 0);
    }
}

INLINE void round_levels(const bfloat16 *restrict x, const float *restrict factor, const float *restrict offset,
                         bfloat16 *restrict y, int64_t count, float levels) {
    for (int64_t i = 0; i < count; i++) {
        float u = wide(x[i]) * factor[i] + offset[i] + 0.5f;
        float above = u < 0.0f ? 0.0f : u;
        float within = above > levels ? levels : above;
        y[i] = narrow((float)(int32_t)within + (u - u)); /* what is not finite stays so */
    }
}

/* y: the level, a whole number from 0 to `levels`, nearest to u = x · factor + offset, halves up. */
void neurodeploy_bf16_levels(const bfloat16 *x, const float *factor, const float *offset, bfloat16 *y, int64_t samples,
                             int64_t size, float levels, int32_t parts) {
    PARTS(part, first, last)
        for (int64_t at = first * size; at < last * size; at += size) round_levels(x + at, factor, offset, y + at, size, levels);
    }
}

INLINE void pass_levels(const bfloat16 *restrict x, const float *restrict factor, const float *restrict offset,
                        const bfloat16 *restrict grad_y, bfloat16 *restrict grad_x, float *restrict grad_factor,
                        float *restrict grad_offset, int64_t count, float levels) {
    for (int64_t i = 0; i < count; i++) {
        float value = wide(x[i]), u = value * factor[i] + offset[i], above = wide(grad_y[i]);
        float grad = u > 0.0f ? above : 0.0f;
        grad = u < levels ? grad : 0.0f;
        grad_factor[i] += grad * value;
        grad_offset[i] += grad;
        grad_x[i] = narrow(grad * factor[i]);
    }
}

/* With `floor` taken for the identity, and no gradient where u is clipped. */
void neurodeploy_bf16_levels_back(const bfloat16 *x, const float *factor, const float *offset, const bfloat16 *grad_y,
                                  bfloat16 *grad_x, float *grad_factor, float *grad_offset, int64_t samples, int64_t size,
                                  float levels, int32_t parts) {
    PARTS(part, first, last)
        for (int64_t at = first * size; at < last * size; at += size)
            pass_levels(x + at, factor, offset, grad_y + at, grad_x + at, grad_factor + part * size, grad_offset + part * size,
                        size, levels);
    }
}

INLINE void add_scaled(const bfloat16 *restrict a, const bfloat16 *restrict b, const float *restrict scale,
                       bfloat16 *restrict y, int64_t count) {
    for (int64_t i = 0; i < count; i++) y[i] = narrow(wide(a[i]) + scale[i] * wide(b[i]));
}

/* y = a + scale · b */
void neurodeploy_bf16_add(const bfloat16 *a, const bfloat16 *b, const float *scale, bfloat16 *y, int64_t samples, int64_t size,
                          int32_t parts) {
    PARTS(part, first, last)
        for (int64_t at = first * size; at < last * size; at += size) add_scaled(a + at, b + at, scale, y + at, size);
    }
}

INLINE void pass_scaled(const bfloat16 *restrict grad_y, const bfloat16 *restrict b, const float *restrict scale,
                        bfloat16 *restrict grad_b, float *restrict grad_scale, int64_t count) {
    for (int64_t i = 0; i < count; i++) {
        float grad = wide(grad_y[i]);
        grad_scale[i] += grad * wide(b[i]);
        grad_b[i] = narrow(grad * scale[i]);
    }
}

void neurodeploy_bf16_add_back(const bfloat16 *grad_y, const bfloat16 *b, const float *scale, bfloat16 *grad_b, float *grad_scale,
                               int64_t samples, int64_t size, int32_t parts) {
    PARTS(part, first, last)
        for (int64_t at = first * size; at < last * size; at += size)
            pass_scaled(grad_y + at, b + at, scale, grad_b + at, grad_scale + part * size, size);
    }
}
