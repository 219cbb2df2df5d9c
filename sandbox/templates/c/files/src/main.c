/* Press Run. Everybody who is here sees the output. */
#include <stdio.h>

#include "primes.h"

int main(void) {
    unsigned primes[32];
    size_t count = primes_below(50, primes, sizeof primes / sizeof *primes);

    printf("Hello from C!\nPrimes below 50:");
    for (size_t i = 0; i < count; i++) printf(" %u", primes[i]);
    putchar('\n');
    return 0;
}
