#include "primes.h"

#include <stdbool.h>

static bool is_prime(unsigned n) {
    if (n < 2) return false;
    for (unsigned divisor = 2; divisor <= n / divisor; divisor++)
        if (n % divisor == 0) return false;
    return true;
}

size_t primes_below(unsigned limit, unsigned *out, size_t capacity) {
    size_t count = 0;
    for (unsigned n = 2; n < limit && count < capacity; n++)
        if (is_prime(n)) out[count++] = n;
    return count;
}
