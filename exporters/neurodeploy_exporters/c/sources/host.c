/* The self-test as a program of an operating system. */
#include <stdio.h>

void selftest_print(const char *text);
int selftest(void);

void selftest_print(const char *text) { (void)fputs(text, stdout); }

int main(void) { return selftest(); }
