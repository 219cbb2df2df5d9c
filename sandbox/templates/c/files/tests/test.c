#include <assert.h>
#include <stdio.h>

#include "primes.h"

int main(void) {
    unsigned primes[4];
    assert(primes_below(2, primes, 4) == 0);
    assert(primes_below(8, primes, 4) == 4);
    assert(primes[0] == 2 && primes[3] == 7);
    assert(primes_below(100, primes, 4) == 4);
    puts("all tests passed");
    return 0;
}
