#include "tokenizer/pre_tokenizer.h"

#include <algorithm>

#include "tokenizer/json_reading.h"

namespace gannet {
namespace {

namespace tj = tokenizer_json;

SplitBehavior ReadBehavior(const Json& json, std::string_view otherwise, std::string_view where) {
  const Json* value = tj::Get(json, "behavior");
  if (value && !value->is_string()) tj::Fail("{}: \"behavior\" is no string", where);
  const std::string_view name = value ? std::string_view(value->as_string()) : otherwise;
  if (name == "Removed") return SplitBehavior::kRemoved;
  if (name == "Isolated") return SplitBehavior::kIsolated;
  if (name == "MergedWithPrevious") return SplitBehavior::kMergedWithPrevious;
  if (name == "MergedWithNext") return SplitBehavior::kMergedWithNext;
  if (name == "Contiguous") return SplitBehavior::kContiguous;
  tj::Fail("{}: the behavior \"{}\" is unknown", where, name);
}

PreTokenizer::Split RegexSplit(std::string_view regex, SplitBehavior behavior, bool invert) {
  PreTokenizer::Split split{behavior, invert};
  const KnownRegex* known = FindKnownRegex(regex);
  if (known && behavior == SplitBehavior::kIsolated) {
    split.scanner = known->scanner;
  } else {
    split.regex.emplace_back(regex);
  }
  return split;
}

PreTokenizer::Metaspace ReadMetaspace(const Json& json, std::string_view where) {
  PreTokenizer::Metaspace metaspace{"\u2581", PreTokenizer::Prefix::kAlways, tj::Bool(json, "split", true, where)};
  if (tj::Get(json, "replacement")) metaspace.replacement = tj::String(json, "replacement", where);
  if (metaspace.replacement.empty()) tj::Fail("{}: \"replacement\" is empty", where);
  if (tj::Get(json, "prepend_scheme")) {
    const std::string& scheme = tj::String(json, "prepend_scheme", where);
    if (scheme == "first") {
      metaspace.prefix = PreTokenizer::Prefix::kFirst;
    } else if (scheme == "never") {
      metaspace.prefix = PreTokenizer::Prefix::kNever;
    } else if (scheme != "always") {
      tj::Fail("{}: the prepend_scheme \"{}\" is unknown", where, scheme);
    }
  } else if (!tj::Bool(json, "add_prefix_space", true, where)) {
    metaspace.prefix = PreTokenizer::Prefix::kNever;
  }
  return metaspace;
}

void AddStages(const Json& json, std::vector<PreTokenizer::Stage>& stages, bool& byte_level) {
  const std::string& type = tj::String(json, "type", "a pre-tokenizer");
  const std::string where = "pre_tokenizer " + type;
  using Split = PreTokenizer::Split;
  if (type == "Sequence") {
    for (const Json& part : tj::Array(json, "pretokenizers", where)) AddStages(part, stages, byte_level);
    return;
  }
  if (byte_level) tj::Fail("{} after ByteLevel is not implemented", where);
  if (type == "ByteLevel") {
    if (tj::Bool(json, "add_prefix_space", true, where)) stages.emplace_back(PreTokenizer::PrefixSpace{});
    if (tj::Bool(json, "use_regex", true, where)) {
      stages.emplace_back(RegexSplit(kGpt2Regex, SplitBehavior::kIsolated, false));
    }
    byte_level = true;
  } else if (type == "Split") {
    const tj::Pattern pattern = tj::ReadPattern(json, where);
    const SplitBehavior behavior = ReadBehavior(json, "", where);
    const bool invert = tj::Bool(json, "invert", false, where);
    if (pattern.is_regex) {
      stages.emplace_back(RegexSplit(pattern.text, behavior, invert));
    } else {
      stages.emplace_back(Split{.behavior = behavior, .invert = invert, .text = pattern.text});
    }
  } else if (type == "Digits") {
    const bool single = tj::Bool(json, "individual_digits", false, where);
    stages.emplace_back(
        Split{.behavior = single ? SplitBehavior::kIsolated : SplitBehavior::kContiguous, .classes = kNumber});
  } else if (type == "Punctuation") {
    // ASCII symbols such as $ count as punctuation here.
    stages.emplace_back(Split{.behavior = ReadBehavior(json, "Isolated", where), .classes = kPunct | kAsciiSymbol});
  } else if (type == "Whitespace") {
    stages.emplace_back(Split{.classes = kWord, .runs = true});
    stages.emplace_back(Split{.behavior = SplitBehavior::kRemoved, .classes = kSpace});
  } else if (type == "WhitespaceSplit") {
    stages.emplace_back(Split{.behavior = SplitBehavior::kRemoved, .classes = kSpace});
  } else if (type == "BertPreTokenizer") {
    stages.emplace_back(Split{.behavior = SplitBehavior::kRemoved, .classes = kSpace});
    stages.emplace_back(Split{.classes = kPunct | kAsciiSymbol});
  } else if (type == "CharDelimiterSplit") {
    stages.emplace_back(Split{.behavior = SplitBehavior::kRemoved, .text = tj::String(json, "delimiter", where)});
  } else if (type == "Metaspace") {
    stages.emplace_back(ReadMetaspace(json, where));
  } else {
    tj::Fail("the pre-tokenizer \"{}\" is not implemented", type);
  }
}

struct Span {
  size_t begin, end;
  bool match;
};

// Covers `text`: matches and what lies between them.
std::vector<Span> FindSpans(const PreTokenizer::Split& split, std::string_view text) {
  std::vector<Span> spans;
  size_t done = 0;
  const auto put = [&](size_t begin, size_t end) {
    if (done != begin) spans.push_back({done, begin, false});
    spans.push_back({begin, end, true});
    done = end;
  };
  if (!split.regex.empty()) {
    for (const Regex::Match& match : split.regex[0].FindAll(text)) put(match.begin, match.end);
  } else if (!split.text.empty()) {
    for (size_t at = text.find(split.text); at != std::string_view::npos; at = text.find(split.text, done)) {
      put(at, at + split.text.size());
    }
  } else if (split.classes != 0) {
    const CharTable& table = CharTable::Get();
    const auto end_of = [&](size_t at) { return at + static_cast<size_t>(Utf8Length(text[at])); };
    const auto matches = [&](size_t at) { return (table[DecodeUtf8(text.data() + at)] & split.classes) != 0; };
    for (size_t at = 0; at < text.size();) {
      size_t end = end_of(at);
      if (matches(at)) {
        while (split.runs && end < text.size() && matches(end)) end = end_of(end);
        put(at, end);
      }
      at = end;
    }
  }
  if (done != text.size()) spans.push_back({done, text.size(), false});
  return spans;
}

}  // namespace

PreTokenizer::PreTokenizer(std::vector<Stage> stages) : stages_(std::move(stages)) {
  const auto scanner_of = [&](size_t i) {
    const Split* split = std::get_if<Split>(&stages_[i]);
    return split ? split->scanner : nullptr;
  };
  const auto known = [](std::string_view regex) { return FindKnownRegex(regex)->scanner; };
  if (stages_.size() == 1) scanner_ = scanner_of(0);
  if (stages_.size() == 2 && scanner_of(1) == known(kGpt2Regex)) {
    const Split* digits = std::get_if<Split>(&stages_[0]);
    if (digits && digits->classes == kNumber && digits->behavior == SplitBehavior::kIsolated && !digits->runs) {
      scanner_ = ScanSmollm;
    }
  }
  if (stages_.size() == 3 && scanner_of(0) == known(kDeepseekNumbers) && scanner_of(1) == known(kDeepseekKanaHan) &&
      scanner_of(2) == known(kDeepseekWords)) {
    scanner_ = ScanDeepseek;
  }
}

PreTokenizer PreTokenizer::Parse(const Json* json) {
  std::vector<Stage> stages;
  bool byte_level = false;
  if (json && !json->is_null()) AddStages(*json, stages, byte_level);
  PreTokenizer made(std::move(stages));
  made.byte_level_ = byte_level;
  return made;
}

std::vector<PreTokenizer::Piece> PreTokenizer::Pieces(std::string_view text, bool at_start,
                                                      std::deque<std::string>& changed) const {
  std::vector<Piece> pieces = {{text, at_start}};
  for (const Stage& stage : stages_) {
    std::vector<Piece> next;
    next.reserve(pieces.size());
    for (const Piece& piece : pieces) {
      std::visit([&](const auto& s) { Run(s, piece, changed, next); }, stage);
    }
    pieces = std::move(next);
  }
  return pieces;
}

void PreTokenizer::Run(const Split& split, Piece piece, std::deque<std::string>&, std::vector<Piece>& out) {
  const auto put = [&](size_t begin, size_t end) {
    if (begin < end) out.push_back({piece.text.substr(begin, end - begin), piece.at_start && begin == 0});
  };
  if (split.scanner) {
    const CharTable& table = CharTable::Get();
    const char* begin = piece.text.data();
    const char* end = begin + piece.text.size();
    for (const char* p = begin; p < end;) {
      const char* next = split.scanner(table, p, end);
      put(static_cast<size_t>(p - begin), static_cast<size_t>(next - begin));
      p = next;
    }
    return;
  }
  std::vector<Span> spans = FindSpans(split, piece.text);
  if (split.invert) {
    for (Span& span : spans) span.match = !span.match;
  }
  switch (split.behavior) {
    case SplitBehavior::kRemoved:
      for (const Span& span : spans) {
        if (!span.match) put(span.begin, span.end);
      }
      break;
    case SplitBehavior::kIsolated:
      for (const Span& span : spans) put(span.begin, span.end);
      break;
    case SplitBehavior::kContiguous:
      for (size_t i = 0; i < spans.size();) {
        size_t j = i;
        while (j < spans.size() && spans[j].match == spans[i].match) ++j;
        put(spans[i].begin, spans[j - 1].end);
        i = j;
      }
      break;
    case SplitBehavior::kMergedWithPrevious:
      for (size_t i = 0; i < spans.size();) {
        const bool pair = !spans[i].match && i + 1 < spans.size() && spans[i + 1].match;
        put(spans[i].begin, spans[pair ? i + 1 : i].end);
        i += pair ? 2 : 1;
      }
      break;
    case SplitBehavior::kMergedWithNext:
      for (size_t i = 0; i < spans.size();) {
        const bool pair = spans[i].match && i + 1 < spans.size() && !spans[i + 1].match;
        put(spans[i].begin, spans[pair ? i + 1 : i].end);
        i += pair ? 2 : 1;
      }
      break;
  }
}

void PreTokenizer::Run(const PrefixSpace&, Piece piece, std::deque<std::string>& changed, std::vector<Piece>& out) {
  if (!piece.text.starts_with(' ')) piece.text = changed.emplace_back(" ").append(piece.text);
  out.push_back(piece);
}

void PreTokenizer::Run(const Metaspace& metaspace, Piece piece, std::deque<std::string>& changed,
                       std::vector<Piece>& out) {
  std::string& text = changed.emplace_back();
  for (const char c : piece.text) {
    if (c == ' ') {
      text += metaspace.replacement;
    } else {
      text += c;
    }
  }
  const bool wanted = metaspace.prefix == Prefix::kAlways || (metaspace.prefix == Prefix::kFirst && piece.at_start);
  if (wanted && !text.starts_with(metaspace.replacement)) text.insert(0, metaspace.replacement);
  if (!metaspace.split) {
    out.push_back({text, piece.at_start});
    return;
  }
  const Split split{.behavior = SplitBehavior::kMergedWithNext, .text = metaspace.replacement};
  Run(split, {text, piece.at_start}, changed, out);
}

}  // namespace gannet
