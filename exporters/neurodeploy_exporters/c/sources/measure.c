/* Counts the instructions of inferences on QEMU's MPS2 boards, where with -icount shift=0 an instruction takes 1 ns of the time that
   the board's 25 MHz timer counts: 40 instructions a tick. A loop of known length comes first, so that the count is checked. */
#include "sample.h"

#define TICK 40u
#define LOOPS 100000u
#define PAINT 0x5aa55aa5u
#define PAINTED 4096

void selftest_print(const char *text);
int selftest(void);
void model_trace(int layer, const void *values);

model_t measured_context;
static model_logit_t logits[MODEL_CLASSES];
static volatile uint32_t *const timer = (volatile uint32_t *)0x40000000;
static char line[128];
static int32_t length;

void model_trace(int layer, const void *values) {
    (void)layer;
    (void)values;
}

static void text(const char *part) {
    while (*part != '\0') line[length++] = *part++;
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

static void say(const char *what, uint32_t value) {
    length = 0;
    text(what);
    text(" ");
    number(value);
    text("\n");
    selftest_print(line);
}

static uint32_t since(uint32_t start) { return start - timer[1]; }

int selftest(void) {
    uint32_t start, loops = LOOPS;
    timer[2] = 0xffffffffu;
    timer[1] = 0xffffffffu;
    timer[0] = 1u;
    start = timer[1];
    __asm__ volatile("1: sub %0, #1\n\tcmp %0, #0\n\tbne 1b" : "+r"(loops) : : "cc");
    say("loop", since(start) * TICK);
    for (int32_t n = 0; n < SELFTEST_SAMPLES; n++) {
        start = timer[1];
        if (SELFTEST_INFER(&measured_context, selftest_inputs + n * SELFTEST_INPUT_SIZE, logits) != 0) return 1;
        say("instructions", since(start));
        for (int32_t i = 0; i < MODEL_CLASSES; i++)
            if (logits[i] < selftest_logits[n * MODEL_CLASSES + i] || logits[i] > selftest_logits[n * MODEL_CLASSES + i]) return 1;
    }
    {
        uint32_t *top;
        int32_t used = PAINTED;
        __asm__ volatile("mov %0, sp" : "=r"(top)); /* what lies below is painted, and what a call used of it no longer is */
        for (int32_t i = 1; i <= PAINTED; i++) top[-i] = PAINT;
        (void)SELFTEST_INFER(&measured_context, selftest_inputs, logits);
        while (used > 0 && top[-used] == PAINT) used--;
        say("stack", (uint32_t)used * 4u);
    }
    (void)selftest_tables;
    (void)selftest_sizes;
    (void)selftest_kinds;
    (void)selftest_counts;
    (void)selftest_digests;
    return 0;
}
