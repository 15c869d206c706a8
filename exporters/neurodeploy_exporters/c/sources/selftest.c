/* Runs the network on its sample and compares what every layer fires, and every logit, with what the exact network does. */
#include "sample.h"

static model_t model;
static model_logit_t logits[MODEL_CLASSES];
static uint32_t counts[SELFTEST_LAYERS], digests[SELFTEST_LAYERS];

void model_trace(int layer, const void *values);
void selftest_print(const char *text);
int selftest(void);

static void take(int layer, uint32_t value, uint32_t spikes) {
    counts[layer] += spikes;
    digests[layer] = (digests[layer] ^ value) * 16777619u; /* so that a spike in another place is another number */
}

static uint32_t ones(uint32_t bits) {
    uint32_t count = 0;
    for (; bits != 0; bits &= bits - 1u) count++;
    return count;
}

void model_trace(int layer, const void *values) {
    const int32_t size = selftest_sizes[layer];
    if (selftest_kinds[layer] == 0) {
        const uint32_t *words = (const uint32_t *)values;
        for (int32_t i = 0; i < size; i++) take(layer, words[i], ones(words[i]));
    } else if (selftest_kinds[layer] == 1) {
        const uint8_t *bytes = (const uint8_t *)values;
        for (int32_t i = 0; i < size; i++) take(layer, bytes[i], bytes[i]);
    } else {
        const int16_t *halves = (const int16_t *)values;
        for (int32_t i = 0; i < size; i++) take(layer, (uint32_t)halves[i], (uint32_t)halves[i]);
    }
}

static char line[256];
static int32_t length;

static void text(const char *part) {
    while (*part != '\0' && length < (int32_t)sizeof line - 1) line[length++] = *part++;
    line[length] = '\0';
}

static void number(uint32_t value) {
    char digits[11];
    int32_t at = 10;
    digits[at] = '\0';
    do {
        digits[--at] = (char)('0' + (char)(value % 10u));
        value /= 10u;
    } while (value != 0);
    text(digits + at);
}

int selftest(void) {
    const uint32_t found[] = SELFTEST_TABLES;
    uint32_t layers = 0, answers = 0, tables = 0;
    for (uint32_t n = 0; n < sizeof found / sizeof found[0]; n++)
        if (found[n] != selftest_tables[n]) tables++;
    for (int32_t n = 0; n < SELFTEST_SAMPLES; n++) {
        for (int32_t i = 0; i < SELFTEST_LAYERS; i++) {
            counts[i] = 0;
            digests[i] = 2166136261u;
        }
        if (SELFTEST_INFER(&model, selftest_inputs + n * SELFTEST_INPUT_SIZE, logits) != 0) answers++;
        for (int32_t i = 0; i < SELFTEST_LAYERS; i++) {
            const int32_t at = n * SELFTEST_LAYERS + i;
            if (counts[i] != selftest_counts[at] || digests[i] != selftest_digests[at]) layers++;
        }
        for (int32_t i = 0; i < MODEL_CLASSES; i++)
            if (logits[i] < selftest_logits[n * MODEL_CLASSES + i] || logits[i] > selftest_logits[n * MODEL_CLASSES + i]) answers++;
    }
    length = 0;
    text("self-test: ");
    number(layers);
    text(" of ");
    number((uint32_t)SELFTEST_SAMPLES * SELFTEST_LAYERS);
    text(" spike trains of layers and ");
    number(answers);
    text(" of ");
    number((uint32_t)SELFTEST_SAMPLES * MODEL_CLASSES);
    text(" logits differ, ");
    number(tables);
    text(" of ");
    number((uint32_t)(sizeof found / sizeof found[0]));
    text(" files have damaged tables, on ");
    number((uint32_t)SELFTEST_SAMPLES);
    text(layers + answers + tables == 0 ? " samples: passed\n" : " samples: FAILED\n");
    selftest_print(line);
    return layers + answers + tables == 0 ? 0 : 1;
}
