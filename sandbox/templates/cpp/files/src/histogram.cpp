#include "histogram.hpp"

#include <cctype>

std::map<std::string, int> histogram(std::string_view text) {
    std::map<std::string, int> counts;
    std::string word;
    auto finish = [&] {
        if (!word.empty()) ++counts[word];
        word.clear();
    };
    for (unsigned char character : text) {
        if (std::isalnum(character)) {
            word += static_cast<char>(std::tolower(character));
        } else {
            finish();
        }
    }
    finish();
    return counts;
}
