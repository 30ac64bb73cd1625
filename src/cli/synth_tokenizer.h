// A tokenizer for models that have none to have: 256 bytes, then numbers.
#pragma once

#include <cstdint>
#include <filesystem>

namespace gannet {

// Writes tokenizer.json and tokenizer_config.json (with a plain chat template): token i < 256 is the byte i, every
// other one is " i" and never comes from text. False, with nothing written, when `vocab` has no room for all bytes.
// Throws UsageError when a file cannot be written.
bool WriteByteTokenizer(const std::filesystem::path& folder, int64_t vocab);

}  // namespace gannet
