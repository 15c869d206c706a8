/* Two samples, a step of the one and a step of the other in turn, each in a context of its own. */
#include <stdio.h>

#include "model.h"

static model_t contexts[2];
static model_input_t inputs[2][MODEL_INPUT_SIZE];
static model_logit_t logits[MODEL_CLASSES];

int main(void) {
    if (fread(inputs, sizeof(model_input_t), 2 * MODEL_INPUT_SIZE, stdin) != 2 * MODEL_INPUT_SIZE) return 1;
    model_reset(&contexts[0]);
    model_reset(&contexts[1]);
    for (int t = 0; t < MODEL_STEPS; t++)
        for (int n = 0; n < 2; n++)
            if (model_step(&contexts[n], t == 0 ? inputs[n] : 0, 0) != 0) return 2;
    if (model_step(&contexts[0], 0, 0) != -1) return 3; /* no range is proved for a step more */
    for (int n = 0; n < 2; n++) {
        if (model_head_answer(&contexts[n].head, logits) != 0) return 5;
        if (fwrite(logits, sizeof logits[0], MODEL_CLASSES, stdout) != MODEL_CLASSES) return 4;
    }
    return 0;
}
