// What Python's str does with UTF-8 text: counting, cutting, trimming and case by code point. All text is valid UTF-8.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace gannet::jinja {

bool IsValidUtf8(std::string_view text);
bool IsAscii(std::string_view text);
// The code point that starts at byte `at`, which moves past it.
uint32_t NextCodePoint(std::string_view text, size_t& at);
void AppendCodePoint(uint32_t code_point, std::string& out);
size_t CountCodePoints(std::string_view text);
// Byte offset of every code point, and the size of the text at the end.
std::vector<size_t> CodePointOffsets(std::string_view text);

bool IsSpace(uint32_t code_point);
// Letters, digits, categories as str.isalpha, str.isdigit, str.isalnum, str.isprintable see them.
bool IsAlpha(uint32_t code_point);
bool IsDigit(uint32_t code_point);
bool IsUpper(uint32_t code_point);
bool IsLower(uint32_t code_point);
bool IsPrintable(uint32_t code_point);

std::string Upper(std::string_view text);
std::string Lower(std::string_view text);
std::string Title(std::string_view text);       // str.title
std::string Capitalize(std::string_view text);  // str.capitalize

enum class Side { kLeft, kRight, kBoth };
// Without `chars`, white space goes.
std::string_view Strip(std::string_view text, std::optional<std::string_view> chars, Side side);

// At most `limit` cuts when it is not negative. An empty optional separator splits at runs of white space.
std::vector<std::string_view> Split(std::string_view text, std::optional<std::string_view> separator, int64_t limit);
std::vector<std::string_view> SplitFromRight(std::string_view text, std::optional<std::string_view> separator,
                                             int64_t limit);
std::vector<std::string_view> SplitLines(std::string_view text, bool keep_ends);
std::string EscapeHtml(std::string_view text);

}  // namespace gannet::jinja
