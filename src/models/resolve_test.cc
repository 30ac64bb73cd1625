// Whole configurations: what they become, and which are refused and how.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "base/result.h"
#include "models/registry.h"

namespace gannet {
namespace {

using testing::Contains;
using testing::HasSubstr;

constexpr std::string_view kLlama = R"({"architectures": ["LlamaForCausalLM"], "model_type": "llama",
  "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
  "num_key_value_heads": 2, "vocab_size": 100, "max_position_embeddings": 512, "rms_norm_eps": 1e-5,
  "rope_theta": 10000.0, "tie_word_embeddings": false})";
constexpr std::string_view kQwen3 = R"({"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3",
  "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 4, "num_attention_heads": 4,
  "num_key_value_heads": 2, "head_dim": 10, "vocab_size": 100, "max_position_embeddings": 512, "rms_norm_eps": 1e-6,
  "rope_parameters": {"rope_theta": 10000.0, "rope_type": "default"}, "tie_word_embeddings": false})";
constexpr std::string_view kGguf = R"({"general.architecture": "llama", "llama.block_count": 2,
  "llama.context_length": 512, "llama.embedding_length": 64, "llama.feed_forward_length": 96,
  "llama.attention.head_count": 4, "llama.attention.head_count_kv": 2, "llama.rope.freq_base": 10000.0,
  "llama.attention.layer_norm_rms_epsilon": 1e-5, "llama.vocab_size": 100, "llama.rope.dimension_count": 16})";

ModelSource Source(std::string_view config, std::vector<std::string> overrides = {}) {
  ModelSource source;
  Result<Json> json = Json::Parse(config);
  EXPECT_TRUE(json.ok());
  source.config = std::move(json).value();
  source.dialect = source.config.Find("general.architecture") ? Dialect::kGguf : Dialect::kHuggingFace;
  source.overrides = std::move(overrides);
  return source;
}
ModelSpec Resolve(std::string_view config, std::vector<std::string> overrides = {}) {
  return ResolveModel(Source(config, std::move(overrides))).spec;
}
GroupedAttention Attention(const ModelSpec& spec, size_t layer) {
  return std::get<GroupedAttention>(spec.layers.at(layer).mixer);
}

TEST(Resolve, Llama) {
  const ModelSpec spec = Resolve(kLlama);
  EXPECT_EQ(spec.hidden, 64);
  EXPECT_EQ(spec.vocab, 100);
  EXPECT_EQ(spec.max_positions, 512);
  EXPECT_FALSE(spec.tied_embeddings);
  ASSERT_EQ(spec.layers.size(), 2u);
  const GroupedAttention attention = Attention(spec, 1);
  EXPECT_EQ(attention.query_heads, 4);
  EXPECT_EQ(attention.kv_heads, 2);
  EXPECT_EQ(attention.key_dim, 16);
  EXPECT_EQ(attention.value_dim, 16);
  EXPECT_DOUBLE_EQ(attention.scale, 0.25);
  ASSERT_TRUE(attention.rope);
  EXPECT_EQ(attention.rope->dims, 16);
  EXPECT_EQ(attention.rope->pairing, RopePairing::kHalves);
  EXPECT_FALSE(attention.window || attention.qk_norm || attention.biases.q);
  EXPECT_EQ(std::get<DenseFfn>(spec.layers[0].ffn).width, 96);
  EXPECT_EQ(spec.layers[0].norm.epsilon, 1e-5);
}

TEST(Resolve, LlamaOptions) {
  const ModelSpec spec = Resolve(kLlama, {"head_dim=10", "attention_bias=true", "mlp_bias=true",
                                          "tie_word_embeddings=true", "num_key_value_heads=null"});
  const GroupedAttention attention = Attention(spec, 0);
  EXPECT_EQ(attention.key_dim, 10);
  EXPECT_EQ(attention.kv_heads, 4);
  EXPECT_TRUE(attention.biases.q && attention.biases.k && attention.biases.v && attention.biases.o);
  EXPECT_TRUE(std::get<DenseFfn>(spec.layers[1].ffn).biases);
  EXPECT_TRUE(spec.tied_embeddings);
}

std::vector<int64_t> WindowsOf(const std::vector<std::string>& overrides) {
  std::vector<int64_t> windows;
  for (const LayerSpec& layer : Resolve(kQwen3, overrides).layers) {
    windows.push_back(std::get<GroupedAttention>(layer.mixer).window.value_or(0));
  }
  return windows;
}

TEST(Resolve, Qwen3) {
  const GroupedAttention attention = Attention(Resolve(kQwen3), 0);
  EXPECT_EQ(attention.key_dim, 10);
  ASSERT_TRUE(attention.qk_norm);
  EXPECT_EQ(attention.qk_norm->epsilon, 1e-6);
  EXPECT_DOUBLE_EQ(attention.scale, 1 / std::sqrt(10.0));
}

// The expected lists are what transformers 5.23's Qwen3Config(...).layer_types and .sliding_window say.
TEST(Resolve, Qwen3Windows) {
  using List = std::vector<int64_t>;
  EXPECT_EQ(WindowsOf({}), (List{0, 0, 0, 0}));
  EXPECT_EQ(WindowsOf({"sliding_window=8", "max_window_layers=1"}), (List{0, 0, 0, 0}));
  EXPECT_EQ(WindowsOf({"use_sliding_window=true", "sliding_window=8", "max_window_layers=1"}), (List{0, 8, 8, 8}));
  EXPECT_EQ(WindowsOf({"use_sliding_window=true", "sliding_window=8"}), (List{0, 0, 0, 0}));
  EXPECT_EQ(WindowsOf({"use_sliding_window=true", "sliding_window=8", "max_window_layers=0"}), (List{8, 8, 8, 8}));
  EXPECT_EQ(WindowsOf({"use_sliding_window=true", "sliding_window=8", "max_window_layers=1",
                       R"(layer_types=["sliding_attention","full_attention","full_attention","sliding_attention"])"}),
            (List{8, 0, 0, 8}));
}

// Which layers slide, by any key that any architecture brought: 1 = sliding, the row's own token within the window.
TEST(Resolve, WindowsBySharedKeys) {
  using List = std::vector<int64_t>;
  EXPECT_EQ(WindowsOf({"sliding_window=8"}), (List{8, 8, 8, 8}));
  EXPECT_EQ(WindowsOf({"sliding_window=[8,0]"}), (List{8, 8, 8, 8}));
  EXPECT_EQ(WindowsOf({"sliding_window=-1"}), (List{0, 0, 0, 0}));
  // The switch of Qwen's configurations, in one without any other of its keys.
  for (const LayerSpec& layer : Resolve(kLlama, {"sliding_window=8", "use_sliding_window=false"}).layers) {
    EXPECT_FALSE(std::get<GroupedAttention>(layer.mixer).window);
  }
  EXPECT_EQ(WindowsOf({"sliding_window=8", "window_attn_skip_freq=[0,1,1,0]"}), (List{0, 8, 8, 0}));
  EXPECT_EQ(WindowsOf({"sliding_window=8", "window_attn_skip_freq=3"}), (List{0, 8, 8, 0}));
  EXPECT_EQ(WindowsOf({"sliding_window=8", "hybrid_layer_pattern=[1,0,0,1]"}), (List{8, 0, 0, 8}));
  EXPECT_EQ(WindowsOf({"sliding_window=8", "hybrid_layer_pattern=[1,0,0,1]", "window_attn_skip_freq=[1,0,0,1]"}),
            (List{8, 0, 0, 8}));
  EXPECT_EQ(WindowsOf({"use_sliding_window=true", "max_window_layers=1", "sliding_window=8",
                       "window_attn_skip_freq=[0,0,0,1]"}),
            (List{0, 0, 0, 8}));
}

TEST(Resolve, SharedKeysOfGroupedAttention) {
  const ModelSpec spec = Resolve(
      kQwen3, {"num_key_value_heads_list=[1,2,4,2]", "window_attn_skip_freq=[0,1,0,1]", "sliding_window=8",
               "swa_rope_theta=500.0", "v_head_dim=6", "attention_value_scale=0.5", "use_gated_attn=true",
               "use_bias=true", "gated_attn_act=shifted_softsign", "attention_projection_layout=fused_qkv_gate"});
  for (size_t layer = 0; layer < 4; ++layer) {
    const GroupedAttention attention = Attention(spec, layer);
    EXPECT_EQ(attention.kv_heads, (std::vector<int64_t>{1, 2, 4, 2}[layer]));
    EXPECT_EQ(attention.value_dim, 6);
    EXPECT_EQ(attention.value_scale, 0.5);
    EXPECT_DOUBLE_EQ(attention.scale, 1 / std::sqrt(10.0)) << "of the key's width, not the value's";
    EXPECT_EQ(attention.rope->theta, layer % 2 == 1 ? 500 : 10000);
    ASSERT_TRUE(attention.gate);
    EXPECT_EQ(attention.gate->activation, Activation::kShiftedSoftsign);
    EXPECT_TRUE(attention.gate->bias && attention.biases.o && !attention.biases.q);
  }
  EXPECT_EQ(spec.tensors.qkv, TensorNames::Qkv::kFusedWithGate);
}

TEST(Resolve, FusedProjectionsAreSeenInTheFile) {
  ModelSource source = Source(kLlama);
  source.has_tensor = [](std::string_view name) { return name == "model.layers.0.self_attn.qkv_proj.weight"; };
  EXPECT_EQ(ResolveModel(source).spec.tensors.qkv, TensorNames::Qkv::kFused);
}

TEST(Resolve, RopeOfEachLayerType) {
  const ModelSpec spec =
      Resolve(kQwen3, {"sliding_window=8", "window_attn_skip_freq=2",
                       R"(rope_parameters={"full_attention":{"rope_theta":7000.0,"rope_type":"linear","factor":2},
                          "sliding_attention":{"rope_theta":300.0,"rope_type":"default"}})"});
  EXPECT_EQ(Attention(spec, 0).rope->theta, 7000);
  EXPECT_EQ(std::get<RopeLinear>(Attention(spec, 2).rope->scaling).factor, 2);
  EXPECT_EQ(Attention(spec, 1).rope->theta, 300);
  EXPECT_TRUE(std::holds_alternative<std::monostate>(Attention(spec, 3).rope->scaling));
}

TEST(Resolve, GgufLlama) {
  const ModelSpec spec = Resolve(kGguf);
  EXPECT_TRUE(spec.tied_embeddings);
  EXPECT_EQ(Attention(spec, 0).rope->pairing, RopePairing::kInterleaved);
  EXPECT_EQ(Attention(spec, 0).key_dim, 16);
  EXPECT_TRUE(std::holds_alternative<std::monostate>(Attention(spec, 0).rope->scaling));
}

TEST(Resolve, GgufSaysSomeThingsByTensors) {
  ModelSource source = Source(kGguf, {"llama.vocab_size=null"});
  source.tokenizer_size = 77;
  const std::set<std::string, std::less<>> tensors{"output.weight", "rope_freqs.weight", "blk.0.attn_q.bias",
                                                   "blk.0.ffn_gate.bias"};
  source.has_tensor = [&](std::string_view name) { return tensors.contains(name); };
  const ModelSpec spec = ResolveModel(source).spec;
  EXPECT_EQ(spec.vocab, 77);
  EXPECT_FALSE(spec.tied_embeddings);
  EXPECT_EQ(std::get<RopeDivisors>(Attention(spec, 1).rope->scaling).tensor, "rope_freqs.weight");
  EXPECT_TRUE(Attention(spec, 1).biases.q);
  EXPECT_FALSE(Attention(spec, 1).biases.o);
  EXPECT_TRUE(std::get<DenseFfn>(spec.layers[1].ffn).biases);
}

TEST(Resolve, GgufLengthsOfHeads) {
  const ModelSpec spec = Resolve(
      kGguf, {"llama.attention.key_length=24", "llama.attention.value_length=8", "llama.rope.dimension_count=24"});
  EXPECT_EQ(Attention(spec, 0).key_dim, 24);
  EXPECT_EQ(Attention(spec, 0).value_dim, 8);
}

TEST(Resolve, GgufQwen3) {
  std::string text(kGguf);
  for (size_t at = 0; (at = text.find("llama", at)) != std::string::npos;) text.replace(at, 5, "qwen3");
  const ModelSpec spec = Resolve(text);
  EXPECT_EQ(Attention(spec, 0).rope->pairing, RopePairing::kHalves);
  EXPECT_TRUE(Attention(spec, 0).qk_norm);
}

TEST(Resolve, OverridesReachNestedKeysAndAreReported) {
  const ResolvedModel model =
      ResolveModel(Source(kLlama, {"rope_scaling.type=linear", "rope_scaling.factor=4", "transformers_version=x=y"}));
  EXPECT_EQ(std::get<RopeLinear>(Attention(model.spec, 0).rope->scaling).factor, 4);
  EXPECT_THAT(model.notices, Contains("--config-override rope_scaling.factor=4"));
}

struct Refusal {
  std::string_view config;
  std::vector<std::string> overrides;
  std::vector<std::string> says;
};

TEST(Resolve, Refusals) {
  const Refusal refusals[] = {
      // unknown, missing, ill-typed, absurd
      {kLlama, {"logit_softcap=30"}, {"'logit_softcap' (30)", "could change the maths"}},
      {kLlama, {"sliding_windows=8"}, {"'sliding_windows'"}},
      {kLlama, {"hidden_size=null"}, {"'hidden_size' is missing"}},
      {kLlama, {"vocab_size=many"}, {"'vocab_size'", "whole number"}},
      {kLlama, {"hidden_size=-64"}, {"'hidden_size'"}},
      {kLlama, {"hidden_size=1e18"}, {"'hidden_size'"}},
      {kLlama, {"num_hidden_layers=1000000"}, {"'num_hidden_layers'", "10000"}},
      {kLlama, {"rms_norm_eps=0"}, {"'rms_norm_eps'"}},
      {kLlama, {"tie_word_embeddings=1"}, {"'tie_word_embeddings'"}},
      {kLlama, {"hidden_act=gelu"}, {"'hidden_act'", "gelu"}},
      {kLlama, {"model_type=mistral"}, {"'model_type'", "mistral"}},
      {kLlama, {"rope_interleaved=true"}, {"'rope_interleaved'"}},
      {kLlama, {"is_encoder_decoder=true"}, {"'is_encoder_decoder'"}},
      {kLlama, {"architectures=[\"MambaForCausalLM\"]"}, {"'MambaForCausalLM'", "LlamaForCausalLM"}},
      {kLlama, {"architectures=[]"}, {"'architectures'"}},
      {kLlama, {"architectures=[1]"}, {"'architectures'"}},
      // shapes that do not fit
      {kLlama, {"num_key_value_heads=3"}, {"'num_attention_heads'", "'num_key_value_heads' (3)"}},
      {kLlama,
       {"num_attention_heads=5", "num_key_value_heads=5"},
       {"'hidden_size' is 64", "'num_attention_heads' (5)"}},
      {kLlama, {"num_attention_heads=16000000", "head_dim=16000000"}, {"'num_attention_heads'", "limit"}},
      {kLlama, {"head_dim=7"}, {"'head_dim'", "even"}},
      // overrides
      {kLlama, {"novalue"}, {"--config-override 'novalue'"}},
      {kLlama, {"hidden_size.x=1"}, {"no object"}},
      // windows
      {kQwen3, {"layer_types=[\"full_attention\"]"}, {"'layer_types' has 1 entries for 4 layers"}},
      {kQwen3,
       {R"(layer_types=["full_attention","full_attention","full_attention","chunked_attention"])"},
       {"'layer_types'", "layer 3", "chunked_attention"}},
      {kQwen3,
       {R"(layer_types=["full_attention","sliding_attention","full_attention","full_attention"])", "sliding_window=4",
        "use_sliding_window=false"},
       {"'layer_types'", "layer 1", "use_sliding_window"}},
      {kQwen3, {"layer_types=full"}, {"'layer_types'", "list"}},
      {kQwen3,
       {"sliding_window=8", "window_attn_skip_freq=[0,1,0,1]", "hybrid_layer_pattern=[0,1,1,1]"},
       {"'window_attn_skip_freq'", "layer 2", "hybrid_layer_pattern"}},
      {kQwen3,
       {"sliding_window=8", "window_attn_skip_freq=2",
        R"(layer_types=["full_attention","sliding_attention","sliding_attention","full_attention"])"},
       {"'layer_types'", "layer 2", "window_attn_skip_freq"}},
      {kQwen3, {"window_attn_skip_freq=[0,1,0,1]"}, {"'window_attn_skip_freq'", "sliding_window is absent"}},
      {kQwen3, {"sliding_window=8", "window_attn_skip_freq=[0,1]"}, {"'window_attn_skip_freq' has 2 entries for 4"}},
      {kQwen3, {"sliding_window=8", "hybrid_layer_pattern=[0,1,2,1]"}, {"'hybrid_layer_pattern'", "0 to 1"}},
      {kQwen3, {"sliding_window=[8]"}, {"'sliding_window'", "[left, right]"}},
      // shared keys of grouped attention
      {kQwen3, {"num_key_value_heads_list=[2,2,3,2]"}, {"'num_key_value_heads_list'", "layer 2", "4 query heads"}},
      {kQwen3, {"num_key_value_heads_list=[2,2]"}, {"'num_key_value_heads_list' has 2 entries for 4 layers"}},
      {kQwen3, {"v_head_dim=0"}, {"'v_head_dim'"}},
      {kQwen3, {"swa_rope_theta=0.5"}, {"'swa_rope_theta'", "above 1"}},
      {kQwen3, {"use_gated_attn=true", "gated_attn_act=tanh"}, {"'gated_attn_act'", "tanh", "scaled_softsign"}},
      {kQwen3, {"attention_projection_layout=fused"}, {"'attention_projection_layout'", "fused_qkv"}},
      {kQwen3, {"attention_projection_layout=fused_qkv_gate"}, {"'use_gated_attn'"}},
      {kQwen3,
       {R"(rope_parameters={"full_attention":{"rope_theta":7000.0}})"},
       {"'rope_parameters.sliding_attention' is missing"}},
      {kQwen3, {"use_sliding_window=true", "max_window_layers=2", "sliding_window=0"}, {"'sliding_window'", "layer 2"}},
      {kQwen3, {"head_dim=null"}, {"'head_dim' is missing"}},
      {kQwen3, {"mlp_bias=true"}, {"'mlp_bias'"}},
      // GGUF
      {kGguf, {"llama.expert_count=8"}, {"'llama.expert_count'"}},
      {kGguf, {"llama.block_count=null"}, {"'llama.block_count' is missing"}},
      {kGguf, {"llama.vocab_size=null"}, {"'llama.vocab_size' is missing"}},
      {kGguf, {"llama.rope.dimension_count=18"}, {"'llama.rope.dimension_count'"}},
      {kGguf, {"llama.rope.scaling.type=longrope"}, {"'llama.rope.scaling.type'", "longrope"}},
      {kGguf, {"llama.attention.head_count=[4,4]"}, {"'llama.attention.head_count'"}},
      {kGguf, {"llama.attention.head_count_kv=3"}, {"'llama.attention.head_count'"}},
      {kGguf, {"llama.attention.sliding_window=8"}, {"'llama.attention.sliding_window'"}},
      {kGguf, {"general.architecture=mamba"}, {"'mamba'", "qwen3"}},
  };
  for (const Refusal& refusal : refusals) {
    std::string failure = "accepted";
    try {
      Resolve(refusal.config, refusal.overrides);
    } catch (const LoadError& error) {
      failure = error.what();
    }
    EXPECT_THAT(failure, testing::StartsWith("models: ")) << refusal.overrides[0];
    for (const std::string& words : refusal.says) EXPECT_THAT(failure, HasSubstr(words)) << refusal.overrides[0];
  }
}

// Whatever stands in a key, it is refused with a sentence or makes a spec whose parts fit each other.
TEST(Resolve, NoValueOfAnyKeyBreaksIt) {
  const std::string_view values[] = {"null",     "true",
                                     "[]",       "{}",
                                     "\"\"",     "-1",
                                     "0",        "1",
                                     "1.5",      "3",
                                     "7",        "1e300",
                                     "-0.0",     "1e18",
                                     "[null]",   "18446744073709551615",
                                     "\"yarn\"", "{\"type\":\"yarn\",\"factor\":1e-300}",
                                     "[[[[]]]]", "16777216"};
  int resolved = 0, refused = 0;
  for (const std::string_view config : {kLlama, kQwen3, kGguf}) {
    std::vector<std::string> keys{"rope_scaling", "head_dim", "layer_types", "sliding_window",
                                  "llama.rope.scaling.type"};
    const ModelSource source = Source(config);
    for (const Json::Member& member : source.config.as_object()) keys.push_back(member.key);
    for (const std::string& key : keys) {
      for (const std::string_view value : values) {
        try {
          const ModelSpec spec = Resolve(config, {key + "=" + std::string(value), "use_sliding_window=null"});
          ++resolved;
          for (const LayerSpec& layer : spec.layers) {
            const auto& attention = std::get<GroupedAttention>(layer.mixer);
            ASSERT_GE(attention.kv_heads, 1);
            ASSERT_EQ(attention.query_heads % attention.kv_heads, 0) << key << "=" << value;
            ASSERT_TRUE(std::isfinite(attention.scale));
            ASSERT_EQ(attention.rope->dims % 2, 0) << key << "=" << value;
            ASSERT_LE(attention.rope->offset + attention.rope->dims, attention.key_dim) << key << "=" << value;
          }
        } catch (const LoadError&) {
          ++refused;
        }
      }
    }
  }
  EXPECT_GT(resolved, 50);
  EXPECT_GT(refused, 500);
}

}  // namespace
}  // namespace gannet
