"""The tiny models of make_models.py: two or more for every architecture, of odd sizes, one with every optional feature on."""

import torch
from transformers import (DeepseekV3Config, DeepseekV32Config, Ernie4_5_MoeConfig, Glm4MoeConfig, Glm4MoeLiteConfig,
                          GlmMoeDsaConfig, GptOssConfig, LlamaConfig, MiMoV2FlashConfig, Qwen3Config, Qwen3MoeConfig)
from transformers.models.step3p7.configuration_step3p7 import Step3p7Config, Step3p7TextConfig

COMMON = dict(max_position_embeddings=256, bos_token_id=None, eos_token_id=None, pad_token_id=None)


def llama(**options):
    return LlamaConfig(**{**COMMON, **options})


def qwen3(**options):
    return Qwen3Config(**{**COMMON, **options})


def tiny(config_class, **options):
    return config_class(**{**COMMON, "vocab_size": 83, "hidden_size": 40, "intermediate_size": 50,
                           "moe_intermediate_size": 21, "rms_norm_eps": 1e-6, **options})


def gpt_oss(**options):
    return GptOssConfig(**{**COMMON, "vocab_size": 83, "hidden_size": 40, "rms_norm_eps": 1e-6, **options})


def step(**options):
    """Step-3.7, whose text part is Step-3.5, with a picture part as small as it gets."""
    text = tiny(Step3p7TextConfig, pad_token_id=0, **options)
    return Step3p7Config(text_config=text, vision_config=dict(
        hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8, image_size=28))


# name -> (config, storage dtype, save_pretrained options, how config.json is respelled (True: as transformers 4 wrote it))
MODELS = {
    "llama-f32": (
        llama(vocab_size=97, hidden_size=50, intermediate_size=70, num_hidden_layers=2, num_attention_heads=5,
              num_key_value_heads=1, head_dim=10),
        torch.float32, {}, False),
    "llama-bf16-tied": (
        llama(vocab_size=131, hidden_size=48, intermediate_size=81, num_hidden_layers=3, num_attention_heads=6,
              num_key_value_heads=2, tie_word_embeddings=True),
        torch.bfloat16, {}, False),
    "llama-llama3-rope": (
        llama(vocab_size=101, hidden_size=54, intermediate_size=66, num_hidden_layers=2, num_attention_heads=9,
              num_key_value_heads=3, head_dim=12,
              rope_parameters=dict(rope_type="llama3", rope_theta=10000.0, factor=8.0, low_freq_factor=1.0,
                                   high_freq_factor=4.0, original_max_position_embeddings=32)),
        torch.bfloat16, {}, True),
    "llama-yarn-bias": (
        llama(vocab_size=103, hidden_size=32, intermediate_size=60, num_hidden_layers=2, num_attention_heads=4,
              num_key_value_heads=2, head_dim=16, attention_bias=True, mlp_bias=True,
              rope_parameters=dict(rope_type="yarn", rope_theta=10000.0, factor=4.0,
                                   original_max_position_embeddings=64)),
        torch.float32, {}, False),
    "llama-linear-sharded": (
        llama(vocab_size=97, hidden_size=48, intermediate_size=52, num_hidden_layers=3, num_attention_heads=4,
              num_key_value_heads=4, rope_parameters=dict(rope_type="linear", rope_theta=5000.0, factor=4.0)),
        torch.float32, {"max_shard_size": "30KB"}, False),
    "qwen3-bf16-tied": (
        qwen3(vocab_size=127, hidden_size=60, intermediate_size=90, num_hidden_layers=2, num_attention_heads=5,
              num_key_value_heads=1, head_dim=10, tie_word_embeddings=True),
        torch.bfloat16, {}, False),
    "qwen3-sliding": (
        qwen3(vocab_size=113, hidden_size=36, intermediate_size=48, num_hidden_layers=4, num_attention_heads=6,
              num_key_value_heads=2, head_dim=8, use_sliding_window=True, sliding_window=16,
              layer_types=["sliding_attention", "full_attention", "sliding_attention", "full_attention"]),
        torch.float32, {}, False),
    "qwen3-yarn-bias": (
        qwen3(vocab_size=109, hidden_size=45, intermediate_size=64, num_hidden_layers=2, num_attention_heads=9,
              num_key_value_heads=3, head_dim=14, attention_bias=True, rms_norm_eps=1e-5,
              rope_parameters=dict(rope_type="yarn", rope_theta=1000000.0, factor=8.0, beta_fast=16.0, beta_slow=2.0,
                                   original_max_position_embeddings=32)),
        torch.bfloat16, {"max_shard_size": "25KB"}, True),
    "qwen3-f16": (
        qwen3(vocab_size=97, hidden_size=33, intermediate_size=47, num_hidden_layers=2, num_attention_heads=3,
              num_key_value_heads=3, head_dim=22),
        torch.float16, {}, False),
    "glm4-moe-lite-f32": (
        tiny(Glm4MoeLiteConfig, num_hidden_layers=3, num_attention_heads=5, num_key_value_heads=5, q_lora_rank=24,
             kv_lora_rank=18, qk_nope_head_dim=10, qk_rope_head_dim=6, v_head_dim=11, n_routed_experts=7,
             num_experts_per_tok=3, n_shared_experts=1, routed_scaling_factor=1.8, first_k_dense_replace=1,
             mlp_layer_types=["dense", "sparse", "sparse"], attention_bias=True),
        torch.float32, {}, False),
    "glm4-moe-lite-bf16": (
        tiny(Glm4MoeLiteConfig, num_hidden_layers=3, num_attention_heads=10, num_key_value_heads=10,
             q_lora_rank=None, kv_lora_rank=32, qk_nope_head_dim=8, qk_rope_head_dim=4, v_head_dim=12,
             n_routed_experts=8, num_experts_per_tok=2, n_shared_experts=2, first_k_dense_replace=1, rms_norm_eps=1e-5,
             latent_norm_eps=1e-6,  # the norms of the bottlenecks: transformers has this number in its code
             mlp_layer_types=["sparse", "dense", "sparse"], norm_topk_prob=False),
        torch.bfloat16, {}, True),
    "deepseek-v3-yarn": (
        tiny(DeepseekV3Config, num_hidden_layers=3, num_attention_heads=3, num_key_value_heads=3, q_lora_rank=20,
             kv_lora_rank=16, qk_nope_head_dim=12, qk_rope_head_dim=8, v_head_dim=20, n_routed_experts=12,
             num_experts_per_tok=4, n_shared_experts=1, n_group=4, topk_group=2, routed_scaling_factor=2.5,
             first_k_dense_replace=1,
             rope_parameters=dict(rope_type="yarn", rope_theta=10000.0, factor=4.0, beta_fast=32.0, beta_slow=1.0,
                                  mscale=0.7, mscale_all_dim=0.7, original_max_position_embeddings=64)),
        torch.float32, {}, False),
    "deepseek-v3-halves": (
        tiny(DeepseekV3Config, num_hidden_layers=2, num_attention_heads=20, num_key_value_heads=20, q_lora_rank=None,
             kv_lora_rank=17, qk_nope_head_dim=6, qk_rope_head_dim=4, v_head_dim=5, n_routed_experts=6,
             num_experts_per_tok=2, n_shared_experts=1, n_group=1, topk_group=1, first_k_dense_replace=1,
             rope_interleave=False,
             rope_parameters=dict(rope_type="yarn", rope_theta=10000.0, factor=4.0, beta_fast=32.0, beta_slow=1.0,
                                  mscale=1.0, mscale_all_dim=0.7, original_max_position_embeddings=64)),
        torch.bfloat16, {}, False),
    "deepseek-v32-yarn": (
        tiny(DeepseekV32Config, num_hidden_layers=3, num_attention_heads=5, num_key_value_heads=5, q_lora_rank=20,
             kv_lora_rank=16, qk_nope_head_dim=10, qk_rope_head_dim=6, v_head_dim=12, n_routed_experts=6,
             num_experts_per_tok=3, n_shared_experts=1, n_group=3, topk_group=2, routed_scaling_factor=2.5,
             first_k_dense_replace=1, index_topk=7, index_n_heads=9, index_head_dim=10, attention_bias=True,
             rope_parameters=dict(rope_type="yarn", rope_theta=10000.0, factor=4.0, beta_fast=32.0, beta_slow=1.0,
                                  mscale=1.0, mscale_all_dim=0.7, original_max_position_embeddings=64)),
        torch.float32, {}, False),
    "deepseek-v32-bf16": (
        tiny(DeepseekV32Config, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=4, q_lora_rank=24,
             kv_lora_rank=18, qk_nope_head_dim=8, qk_rope_head_dim=4, v_head_dim=8, n_routed_experts=4,
             num_experts_per_tok=2, n_shared_experts=1, n_group=1, topk_group=1, first_k_dense_replace=1,
             index_topk=9, index_n_heads=12, index_head_dim=8),
        torch.bfloat16, {}, True),
    "glm-moe-dsa-mixed": (
        tiny(GlmMoeDsaConfig, num_hidden_layers=5, num_attention_heads=3, num_key_value_heads=3, q_lora_rank=20,
             kv_lora_rank=16, qk_nope_head_dim=8, qk_rope_head_dim=6, v_head_dim=11, n_routed_experts=5,
             num_experts_per_tok=2, n_shared_experts=1, first_k_dense_replace=1, index_topk=7, index_n_heads=10,
             index_head_dim=9, indexer_types=["full", "shared", "full", "shared", "shared"], attention_bias=True),
        torch.float32, {}, False),
    "glm-moe-dsa-shared": (
        tiny(GlmMoeDsaConfig, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=4, q_lora_rank=16,
             kv_lora_rank=12, qk_nope_head_dim=6, qk_rope_head_dim=4, v_head_dim=8, n_routed_experts=4,
             num_experts_per_tok=2, n_shared_experts=1, first_k_dense_replace=1, index_topk=9, index_n_heads=16,
             index_head_dim=6, index_topk_freq=4, index_skip_topk_offset=1),
        torch.bfloat16, {}, "dsa hub"),
    "glm-moe-dsa-full": (
        tiny(GlmMoeDsaConfig, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=2, q_lora_rank=16,
             kv_lora_rank=12, qk_nope_head_dim=6, qk_rope_head_dim=4, v_head_dim=8, n_routed_experts=4,
             num_experts_per_tok=2, n_shared_experts=1, first_k_dense_replace=2, index_topk=9, index_n_heads=8,
             index_head_dim=8),
        torch.bfloat16, {}, False),
    "qwen3-moe-mixed": (
        tiny(Qwen3MoeConfig, num_hidden_layers=4, num_attention_heads=6, num_key_value_heads=1, head_dim=10, num_experts=9,
             num_experts_per_tok=3, norm_topk_prob=False, decoder_sparse_step=1, mlp_only_layers=[1],
             attention_bias=True),
        torch.float32, {}, False),
    "qwen3-moe-bf16": (
        tiny(Qwen3MoeConfig, num_hidden_layers=2, num_attention_heads=8, num_key_value_heads=1, head_dim=12, num_experts=5,
             num_experts_per_tok=2, norm_topk_prob=True),
        torch.bfloat16, {}, False),
    "glm4-moe-f32": (
        tiny(Glm4MoeConfig, num_hidden_layers=3, num_attention_heads=6, num_key_value_heads=2, head_dim=16, n_routed_experts=8,
             num_experts_per_tok=2, n_shared_experts=1, n_group=2, topk_group=1, routed_scaling_factor=2.5,
             first_k_dense_replace=1, use_qk_norm=True, attention_bias=True),
        torch.float32, {}, False),
    "glm4-moe-bf16": (
        tiny(Glm4MoeConfig, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=4, head_dim=12, n_routed_experts=6,
             num_experts_per_tok=3, n_shared_experts=2, first_k_dense_replace=1, rms_norm_eps=1e-5,
             norm_topk_prob=False),
        torch.bfloat16, {}, True),
    "gpt-oss-yarn": (
        gpt_oss(num_hidden_layers=3, num_attention_heads=6, num_key_value_heads=1, head_dim=10, num_local_experts=5,
                num_experts_per_tok=3, intermediate_size=22, sliding_window=12,
                rope_parameters=dict(rope_type="yarn", rope_theta=150000.0, factor=4.0, beta_fast=32.0, beta_slow=1.0,
                                     truncate=False, original_max_position_embeddings=64)),
        torch.float32, {}, False),
    "gpt-oss-bf16": (
        gpt_oss(num_hidden_layers=2, num_attention_heads=8, num_key_value_heads=8, head_dim=8, num_local_experts=4,
                num_experts_per_tok=2, intermediate_size=17, sliding_window=33, swiglu_limit=0.8, attention_bias=False,
                layer_types=["full_attention", "sliding_attention"],
                rope_parameters=dict(rope_type="default", rope_theta=10000.0)),
        torch.bfloat16, {}, True),
    "mimo-v2-flash-f32": (
        tiny(MiMoV2FlashConfig, num_hidden_layers=4, num_attention_heads=6, num_key_value_heads=1, head_dim=12,
             v_head_dim=8, n_routed_experts=6, num_experts_per_tok=2, n_group=3, topk_group=2,
             routed_scaling_factor=1.7, sliding_window=16, attention_bias=True,
             layer_types=["full_attention", "sliding_attention", "sliding_attention", "full_attention"],
             mlp_layer_types=["dense", "sparse", "sparse", "dense"]),
        torch.float32, {}, False),
    "mimo-v2-flash-hub": (
        tiny(MiMoV2FlashConfig, num_hidden_layers=3, num_attention_heads=8, num_key_value_heads=2, head_dim=18,
             v_head_dim=18, n_routed_experts=5, num_experts_per_tok=3, norm_topk_prob=False, sliding_window_size=9,
             attention_value_scale=0.6, rms_norm_eps=1e-5),  # transformers reads no layernorm_epsilon
        torch.bfloat16, {}, "mimo hub"),
    "step3p7-f32": (
        step(num_hidden_layers=4, num_attention_heads=4, num_key_value_heads=2, head_dim=12, n_routed_experts=5,
             num_experts_per_tok=2, share_expert_dim=13, sliding_window=16, num_sliding_attention_heads=6,
             layer_types=["full_attention", "sliding_attention", "sliding_attention", "full_attention"],
             mlp_layer_types=["dense", "sparse", "sparse", "sparse"], moe_router_scaling_factor=3.0,
             attention_bias=True, swiglu_limits=[None, None, 0.7, 0.0], swiglu_limits_shared=[0.9, 0.0, 0.6, None],
             rope_theta=[5e6, 1e4, 1e4, 5e6], partial_rotary_factors=[0.5, 1.0, 1.0, 0.5],
             rope_scaling=dict(rope_type="llama3", factor=2.0, low_freq_factor=1.0, high_freq_factor=32.0,
                               original_max_position_embeddings=64)),
        torch.float32, {}, False),
    "step3p5-hub": (
        step(num_hidden_layers=3, num_attention_heads=3, num_key_value_heads=3, head_dim=8, n_routed_experts=4,
             num_experts_per_tok=3, share_expert_dim=10, sliding_window=40, num_sliding_attention_heads=9,
             layer_types=["sliding_attention", "full_attention", "sliding_attention"],
             mlp_layer_types=["dense", "sparse", "sparse"], rope_theta=[1e4, 1e6, 1e4],
             partial_rotary_factors=[1.0, 0.5, 1.0]),
        torch.bfloat16, {}, "step hub"),
    "ernie4-5-moe-biased": (
        tiny(Ernie4_5_MoeConfig, num_hidden_layers=4, num_attention_heads=5, num_key_value_heads=1, moe_num_experts=6,
             moe_k=3, moe_num_shared_experts=2, moe_layer_start_index=1, moe_layer_end_index=2, use_bias=True,
             moe_norm_min=0.3),
        torch.float32, {}, False),
    "ernie4-5-moe-bf16": (
        tiny(Ernie4_5_MoeConfig, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2, head_dim=14,
             moe_num_experts=5, moe_k=2, moe_num_shared_experts=1, moe_layer_start_index=0, moe_layer_interval=2,
             tie_word_embeddings=False),
        torch.bfloat16, {}, True),
}
