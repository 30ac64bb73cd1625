#include "tokenizer/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <thread>

#include "base/mapped_file.h"

namespace gannet {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

const Json& Components() {
  static const Json json = [] {
    Result<Json> parsed = Json::Parse(ReadTextFile(GANNET_SOURCE_DIR "/tests/tokenizer/components.json"));
    return std::move(parsed).value();
  }();
  return json;
}

std::shared_ptr<const Tokenizer> Load(const Json& component) {
  if (const Json* gguf = component.Find("gguf")) return Tokenizer::FromGguf(*gguf);
  return Tokenizer::FromTokenizerJson(component.Find("tokenizer")->Dump(), nullptr);
}

const Json& Component(std::string_view name) {
  for (const Json& component : Components().as_array()) {
    if (component.Find("name")->as_string() == name) return component;
  }
  throw std::runtime_error("no such component");
}

std::vector<TokenId> Ids(const Json& list) {
  std::vector<TokenId> ids;
  for (const Json& id : list.as_array()) ids.push_back(static_cast<TokenId>(*id.as_int()));
  return ids;
}

std::string ErrorOf(const Json& tokenizer) {
  try {
    Tokenizer::FromTokenizerJson(tokenizer.Dump(), nullptr);
  } catch (const LoadError& e) {
    return e.what();
  }
  return "no error";
}

std::string GgufErrorOf(const Json& metadata) {
  try {
    Tokenizer::FromGguf(metadata);
  } catch (const LoadError& e) {
    return e.what();
  }
  return "no error";
}

// Any character, the plain ones more often.
std::string RandomText(std::mt19937& random, int characters) {
  std::string text;
  for (int i = 0; i < characters; ++i) {
    char32_t c = 0;
    switch (random() % 6) {
      case 0:
        c = random() % 0x110000;
        break;
      case 1:
        c = 0x80 + random() % 0x700;
        break;
      case 2:
        c = random() % 4 ? 0x20 : 0x0a;
        break;
      default:
        c = random() % 0x80;
    }
    if (c >= 0xd800 && c < 0xe000) c = 0x1f600;
    AppendUtf8(c, text);
  }
  return text;
}

TEST(Tokenizer, ComponentsEqualHuggingFace) {
  size_t rows = 0;
  for (const Json& component : Components().as_array()) {
    SCOPED_TRACE(component.Find("name")->as_string());
    const auto tokenizer = Load(component);
    for (const Json& row : component.Find("rows")->as_array()) {
      const std::string& text = row.Find("text")->as_string();
      SCOPED_TRACE(text);
      const std::vector<TokenId> ids = Ids(*row.Find("ids"));
      EXPECT_EQ(tokenizer->Encode(text), ids);
      EXPECT_EQ(tokenizer->Encode(text, {.parse_special = false}), Ids(*row.Find("plain")));
      EXPECT_EQ(tokenizer->Decode(ids), row.Find("decoded")->as_string());
      EXPECT_EQ(tokenizer->Decode(ids, true), row.Find("skipped")->as_string());
      ++rows;
    }
  }
  EXPECT_GE(rows, 1000u);
}

TEST(Tokenizer, ByteLevelDecodesToWhatWasEncoded) {
  const auto tokenizer = Load(Component("byte level"));
  std::mt19937 random(1);
  for (int i = 0; i < 3000; ++i) {
    const std::string text = RandomText(random, 1 + static_cast<int>(random() % 60));
    EXPECT_EQ(tokenizer->Decode(tokenizer->Encode(text)), text);
  }
}

TEST(Tokenizer, InvalidUtf8IsReadAsReplacements) {
  const auto tokenizer = Load(Component("byte level"));
  EXPECT_EQ(tokenizer->Decode(tokenizer->Encode("a\xff\xe2\x82z\xed\xa0\x80")), "a\ufffd\ufffdz\ufffd\ufffd\ufffd");
  std::mt19937 random(2);
  for (int i = 0; i < 2000; ++i) {
    std::string bytes(random() % 40, '\0');
    for (char& c : bytes) c = static_cast<char>(random() % 3 ? random() % 256 : "\xe2\x82\xf0\x9f"[random() % 4]);
    EXPECT_EQ(tokenizer->Encode(bytes), tokenizer->Encode(RepairUtf8(bytes)));
  }
}

TEST(Tokenizer, StreamEqualsDecodeAndNeverHalvesACharacter) {
  for (const char* name : {"byte level", "sentencepiece", "metaspace first", "unk", "gguf llama"}) {
    SCOPED_TRACE(name);
    const auto tokenizer = Load(Component(name));
    std::mt19937 random(3);
    for (int i = 0; i < 500; ++i) {
      std::vector<TokenId> ids;
      if (i % 2) {
        ids = tokenizer->Encode(RandomText(random, 30));
      } else {
        const auto count = static_cast<uint32_t>(tokenizer->vocab_size()) + 4;
        for (int k = 0; k < 40; ++k) ids.push_back(static_cast<TokenId>(random() % count) - 2);
      }
      const bool skip = random() % 2;
      StreamDetokenizer stream(tokenizer, skip);
      std::string joined;
      for (const TokenId id : ids) {
        const std::string piece = stream.Push(id);
        EXPECT_TRUE(IsValidUtf8(piece));
        joined += piece;
      }
      joined += stream.Finish();
      EXPECT_EQ(joined, tokenizer->Decode(ids, skip));
      // The same from the tokens' bytes alone, but for the front, which SentencePiece strips.
      std::string bytes;
      for (const TokenId id : ids) {
        if (!skip || !tokenizer->IsSpecial(id)) bytes += tokenizer->TokenBytes(id);
      }
      if (std::string_view(name) != "byte level") continue;
      EXPECT_EQ(joined, RepairUtf8(bytes));
    }
  }
}

TEST(Tokenizer, StreamGivesCharactersAsSoonAsTheyAreWhole) {
  const auto tokenizer = Load(Component("gguf llama"));
  const auto byte = [&](const char* text) { return *tokenizer->Find(text); };
  StreamDetokenizer stream(tokenizer, false);
  EXPECT_EQ(stream.Push(byte("<0xE2>")), "");
  EXPECT_EQ(stream.Push(byte("<0x82>")), "");
  EXPECT_EQ(stream.Push(byte("<0xAC>")), "\u20ac");
  EXPECT_EQ(stream.Push(byte("<0xE2>")), "");
  EXPECT_EQ(stream.Push(*tokenizer->Find("a")), "\ufffda");
  EXPECT_EQ(stream.Push(byte("<0xF0>")), "");
  EXPECT_EQ(stream.Finish(), "\ufffd");
  EXPECT_EQ(stream.Push(*tokenizer->Find("a")), "a");
}

TEST(Tokenizer, OneWordOfAMegabyteIsQuick) {
  for (const char* name : {"byte level", "sentencepiece"}) {
    const auto tokenizer = Load(Component(name));
    for (const char* unit : {"a", "the", "ab\u00e9", " ", "\u0301\u0323", "\n ", "<tok", "'"}) {
      std::string text;
      while (text.size() < 1'000'000) text += unit;
      EXPECT_FALSE(tokenizer->Encode(text).empty());  // quadratic work would run into the test's time limit
    }
  }
}

TEST(Tokenizer, SameFromManyThreads) {
  const auto tokenizer = Load(Component("byte level"));
  std::mt19937 random(4);
  std::vector<std::string> texts;
  for (int i = 0; i < 200; ++i) texts.push_back("the theory of things " + RandomText(random, 50));
  std::vector<std::vector<std::vector<TokenId>>> found(4);
  std::vector<std::thread> threads;
  for (auto& mine : found) {
    threads.emplace_back([&] {
      for (const std::string& text : texts) mine.push_back(tokenizer->Encode(text));
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const auto& mine : found) EXPECT_EQ(mine, found[0]);
}

TEST(Tokenizer, ConfigNamesBosAndEos) {
  const Json tokenizer = *Component("byte level").Find("tokenizer");  // has no template
  Json config;
  config.Set("bos_token", "<s>");
  Json eos;
  eos.Set("content", "</s>");
  config.Set("eos_token", eos);
  config.Set("pad_token", "<pad> that is not there");
  config.Set("add_bos_token", true);
  const auto made = Tokenizer::FromTokenizerJson(tokenizer.Dump(), &config);
  EXPECT_EQ(made->bos(), made->Find("<s>"));
  EXPECT_EQ(made->eos(), made->Find("</s>"));
  EXPECT_FALSE(made->pad());
  EXPECT_THAT(made->EndIds(), ElementsAre(*made->eos()));
  EXPECT_EQ(made->Encode("a"), (std::vector<TokenId>{*made->bos(), *made->Find("a")}));
  EXPECT_EQ(made->Encode("a", {.add_special = false}), (std::vector<TokenId>{*made->Find("a")}));
  EXPECT_TRUE(made->IsSpecial(*made->bos()));
  EXPECT_FALSE(made->IsSpecial(-1));
  EXPECT_EQ(made->TokenText(*made->eos()), "</s>");
  EXPECT_EQ(made->TokenText(1 << 30), "");
}

TEST(Tokenizer, RefusesByName) {
  const Json good = *Component("byte level").Find("tokenizer");
  EXPECT_EQ(ErrorOf(good), "no error");
  const auto with = [&](const char* part, std::string_view json) {
    Json changed = good;
    changed.Set(part, Json::Parse(json).value());
    return ErrorOf(changed);
  };
  const auto with_model = [&](const char* key, std::string_view json) {
    Json changed = good;
    Json model = *good.Find("model");
    model.Set(key, Json::Parse(json).value());
    changed.Set("model", model);
    return ErrorOf(changed);
  };
  EXPECT_THAT(with("normalizer", R"({"type":"Nmt"})"), HasSubstr("normalizer \"Nmt\" is not implemented"));
  EXPECT_THAT(with("normalizer", R"({"type":"Sequence"})"), HasSubstr("normalizers"));
  EXPECT_THAT(with("normalizer", "3"), HasSubstr("type"));
  EXPECT_THAT(with("pre_tokenizer", R"({"type":"UnicodeScripts"})"),
              HasSubstr("\"UnicodeScripts\" is not implemented"));
  EXPECT_THAT(with("pre_tokenizer", R"({"type":"Split","pattern":{"Regex":"(a"},"behavior":"Isolated"})"),
              HasSubstr("(a"));
  EXPECT_THAT(with("pre_tokenizer", R"({"type":"Split","pattern":{"String":"a"},"behavior":"Sideways"})"),
              HasSubstr("Sideways"));
  EXPECT_THAT(with("pre_tokenizer", R"({"type":"Sequence","pretokenizers":[{"type":"ByteLevel"},{"type":"Digits"}]})"),
              HasSubstr("Digits after ByteLevel"));
  EXPECT_THAT(with("post_processor", R"({"type":"Other"})"), HasSubstr("post-processor \"Other\" is not implemented"));
  EXPECT_THAT(with("decoder", R"({"type":"WordPiece"})"), HasSubstr("decoder \"WordPiece\" is not implemented"));
  EXPECT_THAT(with("decoder", "null"), HasSubstr("without a decoder"));
  EXPECT_THAT(with("added_tokens", R"([{"id":99999999999,"content":"x"}])"), HasSubstr("integer in 0..16777215"));
  EXPECT_THAT(with("added_tokens", R"([{"id":5,"content":"zzz"}])"), HasSubstr("token id 5 is both"));
  EXPECT_THAT(with("added_tokens", R"([{"id":5,"content":"<s>"}])"), HasSubstr("vocabulary says 1"));
  EXPECT_THAT(with("model", R"({"type":"Unigram"})"), HasSubstr("model \"Unigram\" is not implemented"));
  EXPECT_THAT(with_model("merges", R"(["a b c"])"), HasSubstr("merge 0 is neither"));
  EXPECT_THAT(with_model("merges", R"([["a"," "]])"), HasSubstr("merge 0 needs the token \" \""));
  EXPECT_THAT(with_model("vocab", R"({"a":-1})"), HasSubstr("\"a\" has no id"));
  EXPECT_THAT(with_model("vocab", R"({"a":1e300})"), HasSubstr("\"a\" has no id"));
  EXPECT_THAT(with_model("dropout", "0.1"), HasSubstr("dropout"));
  EXPECT_THAT(with_model("end_of_word_suffix", "\"</w>\""), HasSubstr("end_of_word_suffix"));
  EXPECT_THAT(with_model("unk_token", "\"nope\""), HasSubstr("nope"));
  for (const char* text :
       {"", "[]", "{}", "{\"model\":{\"type\":\"BPE\",\"vocab\":[],\"merges\":[]}}", "{\"model\":"}) {
    EXPECT_THROW(Tokenizer::FromTokenizerJson(text, nullptr), LoadError) << text;
  }
}

Json SmallGguf(const char* pre) {
  Json metadata = Json::Parse(R"({"tokenizer.ggml.model":"gpt2","tokenizer.ggml.tokens":["a","b","ab","<e>","1","11",
      "\u0120","!", "<u>", "A", "'", "s", "'s"],
      "tokenizer.ggml.merges":["a b","1 1","' s"],"tokenizer.ggml.token_type":[1,1,1,3,1,1,1,1,4,1,1,1,1],
      "tokenizer.ggml.bos_token_id":3,"tokenizer.ggml.eos_token_id":3,"tokenizer.ggml.eot_token_id":8})")
                      .value();
  metadata.Set("tokenizer.ggml.pre", pre);
  return metadata;
}

TEST(Gguf, PreTokenizersDiffer) {
  const auto encode = [](const char* pre) { return Tokenizer::FromGguf(SmallGguf(pre))->Encode("ab<u>11<e> ab's"); };
  const std::vector<TokenId> together = {2, 8, 5, 3, 6, 2, 12}, apart = {2, 8, 4, 4, 3, 6, 2, 12};
  EXPECT_EQ(encode("gpt-2"), together);
  EXPECT_EQ(encode("smollm"), apart);
  EXPECT_EQ(encode("qwen2"), apart);
  EXPECT_EQ(encode("deepseek-v3"), together);
  EXPECT_EQ(encode("glm4"), together);
  EXPECT_EQ(encode("gpt-4o"), together);  // "ab's" is one piece, but no merge crosses it
  EXPECT_EQ(encode("llama-bpe"), (std::vector<TokenId>{3, 2, 8, 5, 3, 6, 2, 12}));  // with BOS
  const auto tokenizer = Tokenizer::FromGguf(SmallGguf("gpt-2"));
  EXPECT_THAT(tokenizer->EndIds(), ElementsAre(3, 8));
  EXPECT_EQ(tokenizer->Encode("<u><e>", {.parse_special = false}),
            (std::vector<TokenId>{8}));  // nothing spells <, e, >
  EXPECT_EQ(tokenizer->Decode(std::vector<TokenId>{0, 6, 3}), "a <e>");
  EXPECT_EQ(tokenizer->Decode(std::vector<TokenId>{0, 6, 3}, true), "a ");
}

TEST(Gguf, RefusesByName) {
  EXPECT_THAT(GgufErrorOf(SmallGguf("jina-v9")), HasSubstr("tokenizer.ggml.pre is \"jina-v9\""));
  const auto with = [](const char* key, std::string_view json) {
    Json changed = SmallGguf("gpt-2");
    changed.Set(key, Json::Parse(json).value());
    return GgufErrorOf(changed);
  };
  EXPECT_THAT(with("tokenizer.ggml.pre", "null"), HasSubstr("tokenizer.ggml.pre"));
  EXPECT_THAT(with("tokenizer.ggml.model", "\"t5\""), HasSubstr("\"t5\""));
  EXPECT_THAT(with("tokenizer.ggml.model", "\"llama\""), HasSubstr("tokenizer.ggml.scores"));
  EXPECT_THAT(with("tokenizer.ggml.tokens", "[]"), HasSubstr("0 entries"));
  EXPECT_THAT(with("tokenizer.ggml.tokens", "[1]"), HasSubstr("no string at 0"));
  EXPECT_THAT(with("tokenizer.ggml.token_type", "[1]"), HasSubstr("1 entries for 13 tokens"));
  EXPECT_THAT(with("tokenizer.ggml.merges", "[\"a  b\"]"), HasSubstr("at 0"));
  EXPECT_THAT(with("tokenizer.ggml.merges", "[\"a zz\"]"), HasSubstr("\"zz\""));
  EXPECT_THAT(with("tokenizer.ggml.merges", "[\"a \"]"), HasSubstr("at 0"));
  EXPECT_THAT(with("tokenizer.ggml.eos_token_id", "13"), HasSubstr("0..12"));
  EXPECT_THAT(with("tokenizer.ggml.add_bos_token", "1"), HasSubstr("add_bos_token"));
}

}  // namespace
}  // namespace gannet
