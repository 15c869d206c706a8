/* The body without the head: what it hands on in each step. The argument is the number of steps. */
#include <stdio.h>
#include <stdlib.h>

#include "model.h"

static model_body_t body;
static model_input_t input[MODEL_INPUT_SIZE];
static model_spikes_t spikes;

int main(int count, char **arguments) {
    const long steps = count > 1 ? strtol(arguments[1], 0, 10) : 0;
    model_body_reset(&body);
    for (long t = 0; t < steps; t++) {
        const int fresh = MODEL_TIMED || t == 0;
        if (fresh && fread(input, sizeof input, 1, stdin) != 1) return 1;
        if (model_body_step(&body, fresh ? input : 0, &spikes) != 0) return 2;
        if (fwrite(&spikes, sizeof spikes, 1, stdout) != 1) return 3;
    }
    return 0;
}
