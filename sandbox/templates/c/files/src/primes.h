#ifndef PRIMES_H
#define PRIMES_H

#include <stddef.h>

/* Writes up to `capacity` primes below `limit` to `out` and returns how many. */
size_t primes_below(unsigned limit, unsigned *out, size_t capacity);

#endif
