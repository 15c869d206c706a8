/* The self-test on Arm's MPS2 boards, as QEMU emulates them: mps2-an386 (Cortex-M4) and mps2-an500 (Cortex-M7). */
#include <stdint.h>

void selftest_print(const char *text);
int selftest(void);
void reset_handler(void);
extern uint32_t bss_begin[], bss_end[], stack_end[];

/* A request to whoever debugs the board, here QEMU. */
static int32_t semihosting(int32_t operation, const void *argument) {
    register int32_t r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

void selftest_print(const char *text) { (void)semihosting(0x04, text); }

void reset_handler(void) {
    uint32_t code[2] = {0x20026, 0};
#if defined(__ARM_FP)
    *(volatile uint32_t *)0xe000ed88 |= 0xf00000; /* CPACR: the floating-point unit is switched off after a reset */
    __asm__ volatile("dsb\n\tisb");
#endif
    for (uint32_t *word = bss_begin; word < bss_end; word++) *word = 0;
    code[1] = (uint32_t)selftest();
    (void)semihosting(0x20, code); /* SYS_EXIT_EXTENDED */
    for (;;) {
    }
}

__attribute__((section(".vectors"), used)) static const struct {
    uint32_t *stack;
    void (*handlers[15])(void);
} vectors = {stack_end, {reset_handler, reset_handler, reset_handler, reset_handler, reset_handler, reset_handler}};
