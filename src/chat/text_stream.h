// Token ids to the text a client sees.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "chat/stop_matcher.h"
#include "tokenizer/tokenizer.h"

namespace gannet {

// Never gives out half a character or the beginning of a stop string that may yet be completed.
class TextStream {
 public:
  TextStream(std::shared_ptr<const Tokenizer> tokenizer, std::vector<std::string> stop_strings, bool skip_special)
      : detokenizer_(std::move(tokenizer), skip_special), matcher_(std::move(stop_strings)) {}

  using Piece = StopMatcher::Piece;
  // After a piece with `stopped` the text has ended before the stop string, and later ids are ignored.
  Piece Push(TokenId id) { return matcher_.Push(detokenizer_.Push(id)); }
  // The rest, when no more ids come. The end of a character that was held back may still complete a stop string.
  Piece Finish() {
    Piece piece = matcher_.Push(detokenizer_.Finish());
    piece.text += matcher_.Finish();
    return piece;
  }

 private:
  StreamDetokenizer detokenizer_;
  StopMatcher matcher_;
};

}  // namespace gannet
