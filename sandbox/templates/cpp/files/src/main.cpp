// Press Run. Everybody who is here sees the output.
#include <iomanip>
#include <iostream>

#include "histogram.hpp"

int main() {
    std::cout << "Hello from C++!\n";
    for (const auto& [word, count] : histogram("one fish two fish red fish blue fish")) {
        std::cout << std::setw(6) << word << ' ' << std::string(count, '*') << '\n';
    }
}
