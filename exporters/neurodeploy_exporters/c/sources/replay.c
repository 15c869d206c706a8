/* Runs a network on the samples of standard input and writes what every spiking layer fires, and the logits. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model.h"

#define INPUTS (MODEL_TIMED ? MODEL_STEPS : 1)

static const unsigned long layer_bytes[] = {REPLAY_LAYER_BYTES};
static model_t model;
static model_input_t input[MODEL_INPUT_SIZE * INPUTS];
static model_logit_t logits[MODEL_CLASSES];

void model_trace(int layer, const void *values);

void model_trace(int layer, const void *values) {
    if (fwrite(values, 1, layer_bytes[layer], stdout) != layer_bytes[layer]) layer = -1;
}

int main(int count, char **arguments) {
    const long steps = count > 1 ? strtol(arguments[1], 0, 10) : MODEL_STEPS;
    const size_t size = (size_t)(MODEL_INPUT_SIZE * (MODEL_TIMED ? steps : 1));
    if (steps < 1 || steps > MODEL_STEPS) return 2;
    memset(&model, 0xa5, sizeof model); /* a reset must not count on zeros */
    while (fread(input, sizeof input[0], size, stdin) == size) {
        if (REPLAY_INFER(&model, input, logits) != 0) return 3;
        if (fwrite(logits, sizeof logits[0], MODEL_CLASSES, stdout) != MODEL_CLASSES) return 1;
    }
    return 0;
}
