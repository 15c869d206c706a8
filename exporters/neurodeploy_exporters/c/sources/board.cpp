// The self-test on a board with an Arduino core: its line comes over the serial port at 115200 baud, every ten seconds.
#include <Arduino.h>

extern "C" {
int selftest(void);
void selftest_print(const char *text) { Serial.print(text); }
}

void setup() { Serial.begin(115200); }

void loop() {
    const unsigned long start = micros();
    const int failed = selftest();
    Serial.print(failed ? "failed, " : "passed, ");
    Serial.print(micros() - start);
    Serial.println(" microseconds for all samples");
    delay(10000);
}
