// tokenizer_dump (--json FILE [--config FILE] | --gguf-json FILE) [--no-special] [--decode] [--repeat N]
// Texts on stdin, each a little-endian uint32 length and its bytes; for each one line of ids on stdout, with --decode
// followed by a line of the decoded text's bytes in hexadecimal. --repeat N: encodes all N times, prints only the best
// processor seconds of a round.
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <iostream>
#include <iterator>
#include <string>

#include "base/mapped_file.h"
#include "tokenizer/tokenizer.h"

int main(int argc, char** argv) {
  using gannet::Json;
  std::string json, config, gguf;
  gannet::EncodeOptions options;
  bool decode = false;
  int repeat = 0;
  for (int i = 1; i < argc; ++i) {
    const std::string flag = argv[i];
    if (flag == "--no-special") options.parse_special = false;
    if (flag == "--decode") decode = true;
    if (i + 1 >= argc) continue;
    if (flag == "--json") json = argv[++i];
    if (flag == "--config") config = argv[++i];
    if (flag == "--gguf-json") gguf = argv[++i];
    if (flag == "--repeat") repeat = std::atoi(argv[++i]);
  }
  try {
    const auto read = [](const std::string& path) {
      gannet::Result<Json> parsed = Json::Parse(gannet::ReadTextFile(path));
      if (!parsed.ok()) throw gannet::LoadError("tokenizer_dump", path + ": " + parsed.error().message);
      return std::move(parsed).value();
    };
    const Json config_json = config.empty() ? Json() : read(config);
    const auto tokenizer = gguf.empty() ? gannet::Tokenizer::FromTokenizerJson(gannet::ReadTextFile(json),
                                                                               config.empty() ? nullptr : &config_json)
                                        : gannet::Tokenizer::FromGguf(read(gguf));
    const std::string input((std::istreambuf_iterator<char>(std::cin)), std::istreambuf_iterator<char>());
    std::vector<std::string_view> texts;
    for (size_t at = 0; at + 4 <= input.size();) {
      uint32_t length = 0;
      std::memcpy(&length, input.data() + at, 4);
      at += 4;
      if (length > input.size() - at) throw gannet::LoadError("tokenizer_dump", "stdin ends inside a text");
      texts.push_back(std::string_view(input).substr(at, length));
      at += length;
    }
    if (repeat > 0) {
      double best = 1e30;
      size_t ids = 0;
      for (int round = 0; round < repeat; ++round) {
        const std::clock_t start = std::clock();
        ids = 0;
        for (const std::string_view text : texts) ids += tokenizer->Encode(text, options).size();
        best = std::min(best, static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC);
      }
      std::printf("%.6f %zu\n", best, ids);
      return 0;
    }
    std::string out;
    for (const std::string_view text : texts) {
      const std::vector<gannet::TokenId> ids = tokenizer->Encode(text, options);
      for (const gannet::TokenId id : ids) out += std::to_string(id) + ' ';
      out += '\n';
      if (!decode) continue;
      for (const char c : tokenizer->Decode(ids)) {
        constexpr char kHex[] = "0123456789abcdef";
        out += kHex[static_cast<unsigned char>(c) >> 4];
        out += kHex[static_cast<unsigned char>(c) & 15];
      }
      out += '\n';
    }
    std::fwrite(out.data(), 1, out.size(), stdout);
  } catch (const std::exception& e) {
    std::cerr << e.what() << "\n";
    return 1;
  }
  return 0;
}
