/* The head without the body: its answer to what another program hands on. */
#include <stdio.h>

#include "model.h"

static model_head_t head;
static model_spikes_t spikes;
static model_logit_t logits[MODEL_CLASSES];

int main(void) {
    model_head_reset(&head);
    if (model_head_answer(&head, logits) != -1) return 1; /* of no step there is no answer */
    while (fread(&spikes, sizeof spikes, 1, stdin) == 1)
        if (model_head_step(&head, &spikes) != 0) return 2;
    if (model_head_answer(&head, logits) != 0) return 3;
    return fwrite(logits, sizeof logits, 1, stdout) == 1 ? 0 : 4;
}
