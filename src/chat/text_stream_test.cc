#include "chat/text_stream.h"

#include <gtest/gtest.h>

namespace gannet {
namespace {

// Byte-level: "a" to "f", "</", "s>", the three bytes of a euro sign one by one, and a special token.
std::shared_ptr<const Tokenizer> SmallTokenizer() {
  return Tokenizer::FromTokenizerJson(R"({
    "added_tokens": [{"id": 11, "content": "<|end|>", "special": true, "single_word": false, "lstrip": false,
                      "rstrip": false, "normalized": false}],
    "normalizer": null,
    "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
    "post_processor": null,
    "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
    "model": {"type": "BPE", "dropout": null, "unk_token": null, "fuse_unk": false, "byte_fallback": false,
              "ignore_merges": false,
              "vocab": {"a": 0, "b": 1, "c": 2, "d": 3, "e": 4, "f": 5, "</": 6, "s>": 7, "â": 8, "Ĥ": 9, "¬": 10},
              "merges": []}})",
                                      nullptr);
}

std::string Show(TextStream& stream, const std::vector<TokenId>& ids, bool* stopped) {
  std::string shown;
  for (const TokenId id : ids) {
    const TextStream::Piece piece = stream.Push(id);
    shown += piece.text + "|";
    *stopped = piece.stopped;
    if (piece.stopped) return shown;
  }
  const TextStream::Piece rest = stream.Finish();
  *stopped = rest.stopped;
  return shown + rest.text;
}

TEST(TextStream, StopStringsSpanTokens) {
  bool stopped = false;
  TextStream stream(SmallTokenizer(), {"</s>"}, true);
  EXPECT_EQ(Show(stream, {0, 6, 1, 6, 7, 0}, &stopped), "a||</b|||");
  EXPECT_TRUE(stopped);
}

TEST(TextStream, NoHalfCharacters) {
  bool stopped = true;
  TextStream stream(SmallTokenizer(), {}, true);
  EXPECT_EQ(Show(stream, {0, 8, 9, 10, 11, 1}, &stopped), "a|||€||b|");
  EXPECT_FALSE(stopped);
  TextStream cut(SmallTokenizer(), {}, false);
  EXPECT_EQ(Show(cut, {11, 8, 9}, &stopped), "<|end|>|||\xef\xbf\xbd");
}

TEST(TextStream, TheRestOfACharacterMayCompleteAStop) {
  bool stopped = false;
  TextStream stream(SmallTokenizer(), {"b\xef\xbf\xbd"}, true);
  EXPECT_EQ(Show(stream, {0, 1, 8, 9}, &stopped), "a||||");
  EXPECT_TRUE(stopped);
}

}  // namespace
}  // namespace gannet
