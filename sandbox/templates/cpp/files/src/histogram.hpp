#pragma once

#include <map>
#include <string>
#include <string_view>

/// Counts each word of a text, ignoring case and punctuation.
std::map<std::string, int> histogram(std::string_view text);
