#include <cassert>
#include <iostream>

#include "histogram.hpp"

int main() {
    assert(histogram("").empty());
    assert((histogram("To be, or not to be!") ==
            std::map<std::string, int>{{"be", 2}, {"not", 1}, {"or", 1}, {"to", 2}}));
    std::cout << "all tests passed\n";
}
