"""Makes the tiny random checkpoints under tests/goldens/ and what transformers computes from them.

    python tools/goldens/make_models.py [NAME...]        with the packages of tools/goldens/requirements.txt

Each folder gets the checkpoint as save_pretrained writes it, and
    goldens.json   prompts: ids, 16 greedy ids, min_margin (top-1 minus top-2 over the greedy steps), first row in logits.npy
    logits.npy     fp32 [rows, vocab]: of prompt 0 and its greedy ids, all positions, then prompt 1, ...
computed in fp32 (bf16 and fp16 weights upcast) with eager attention.
"""

import json
import pathlib
import shutil
import sys

import numpy as np
import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import (AutoModelForCausalLM, DeepseekV3Config, Ernie4_5_MoeConfig, Glm4MoeConfig,
                          Glm4MoeLiteConfig, GptOssConfig, LlamaConfig, MiMoV2FlashConfig, Qwen3Config, Qwen3MoeConfig)
from transformers.models.step3p7.configuration_step3p7 import Step3p7Config, Step3p7TextConfig
from transformers.models.step3p7.modeling_step3p7 import Step3p7ForConditionalGeneration

ROOT = pathlib.Path(__file__).resolve().parents[2]
OUT = ROOT / "tests" / "goldens"
PROMPT_LENGTHS = [1, 9, 47, 131]
GREEDY_TOKENS = 16
MIN_MARGIN = 0.02  # far above the 1e-4 that logits may differ by, so that greedy ids must be equal

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


def randomize(model, seed):
    """Weights large enough that the logits and their order mean something; norms and biases away from 1 and 0."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if name.endswith("norm.weight"):
                value = (0.0 if "Step" in type(model).__name__ else 1.0) + 0.25 * noise
            elif name.endswith("bias"):
                value = 0.3 * noise
            elif name.endswith("sinks") or parameter.dim() == 1:
                value = noise
            elif parameter.dim() == 3:  # experts [experts, out, in]
                value = 1.3 / parameter.shape[2] ** 0.5 * noise
            elif name.endswith(("embed_tokens.weight", "lm_head.weight")):
                value = 0.4 * noise
            else:
                value = 1.3 / parameter.shape[1] ** 0.5 * noise
            parameter.copy_(value)
        for name, buffer in model.named_buffers():
            if name.endswith("e_score_correction_bias"):
                buffer.copy_(0.2 * torch.randn(buffer.shape, generator=generator))


def respell(folder, spelling):
    """Writes config.json as most published ones read: rope_parameters -> rope_theta and rope_scaling, dtype ->
    torch_dtype; "mimo hub" and "step hub" with those models' own keys."""
    path = folder / "config.json"
    config = json.loads(path.read_text())
    if spelling == "step hub":
        config = respell_step(config["text_config"], config["dtype"])
        weights = load_file(folder / "model.safetensors")
        save_file({name: w for name, w in weights.items() if not name.startswith(("vision_model.", "vit_large"))},
                  folder / "model.safetensors", metadata={"format": "pt"})
    elif spelling == "mimo hub":
        respell_mimo(config)
    else:
        rope = config.pop("rope_parameters")
        config["rope_theta"] = rope.pop("rope_theta")
        config["rope_scaling"] = rope
    config["torch_dtype"] = config.pop("dtype")
    config["transformers_version"] = "4.51.0"
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def respell_mimo(config):
    rope = config.pop("rope_parameters")
    config["rope_theta"] = rope["full_attention"]["rope_theta"]
    config["swa_rope_theta"] = rope["sliding_attention"]["rope_theta"]
    config["partial_rotary_factor"] = rope["full_attention"]["partial_rotary_factor"]
    config["hybrid_layer_pattern"] = [int(kind == "sliding_attention") for kind in config.pop("layer_types")]
    config["moe_layer_freq"] = [int(kind == "sparse") for kind in config.pop("mlp_layer_types")]
    config["sliding_window"] = config["sliding_window_size"]
    config["swa_num_key_value_heads"] = 2 * config["num_key_value_heads"]
    config["swa_num_attention_heads"] = config["num_attention_heads"]
    config["swa_head_dim"], config["swa_v_head_dim"] = config["head_dim"], config["v_head_dim"]
    config.update(add_swa_attention_sink_bias=True, add_full_attention_sink_bias=False, routed_scaling_factor=None,
                  n_shared_experts=None, scoring_func="sigmoid", topk_method="noaux_tc",
                  layernorm_epsilon=config.pop("rms_norm_eps"))


def respell_step(text, dtype):
    rope = text.pop("rope_parameters")
    kinds = text["layer_types"]
    text["rope_theta"] = [rope[kind]["rope_theta"] for kind in kinds]
    text["partial_rotary_factors"] = [rope[kind]["partial_rotary_factor"] for kind in kinds]
    text["moe_layers_enum"] = ",".join(str(i) for i, kind in enumerate(text.pop("mlp_layer_types")) if kind == "sparse")
    text["moe_num_experts"] = text.pop("n_routed_experts")
    text["moe_top_k"] = text.pop("num_experts_per_tok")
    text["num_attention_groups"] = text.pop("num_key_value_heads")
    text["attention_other_setting"] = dict(
        attention_type="sliding_attention", num_attention_heads=text.pop("num_sliding_attention_heads"),
        num_attention_groups=text["num_attention_groups"], head_dim=text["head_dim"], true_head_dim=text["head_dim"])
    del text["per_layer_config"], text["query_pre_attn_scalar"]
    text.update(architectures=["Step3p5ForCausalLM"], dtype=dtype, use_head_wise_attn_gate=True, att_impl_type="GQA",
                use_moe_router_bias=True, moe_router_activation="sigmoid", need_fp32_gate=True,
                norm_expert_weight=True, zero_centered=True)
    return text


def all_logits(model, ids):
    with torch.no_grad():
        return model(torch.tensor([ids]), use_cache=False).logits[0]


def greedy(model, prompt):
    ids = list(prompt)
    margin = float("inf")
    for _ in range(GREEDY_TOKENS):
        top = torch.topk(all_logits(model, ids)[-1], 2)
        margin = min(margin, (top.values[0] - top.values[1]).item())
        ids.append(int(top.indices[0]))
    return ids[len(prompt):], margin


def load(folder, dtype):
    with open(folder / "config.json") as file:
        architecture = json.load(file)["architectures"][0]
    options = dict(dtype=dtype, attn_implementation="eager", experts_implementation="eager")
    if architecture.startswith("Step3p"):
        if architecture == "Step3p5ForCausalLM":
            text = json.loads((folder / "config.json").read_text())
            options["config"] = Step3p7Config(text_config=text, vision_config=step().vision_config)
        return Step3p7ForConditionalGeneration.from_pretrained(folder, **options).eval()
    return AutoModelForCausalLM.from_pretrained(folder, **options).eval()


def compute(folder, seed, vocab):
    model, precise = load(folder, torch.float32), load(folder, torch.float64)
    rng = np.random.default_rng(seed)
    prompts, rows, drift = [], [], 0.0
    for length in PROMPT_LENGTHS:
        ids = rng.integers(0, vocab, length).tolist()
        generated, margin = greedy(model, ids)
        if margin < MIN_MARGIN:
            return None
        logits = all_logits(model, ids + generated)
        drift = max(drift, (all_logits(precise, ids + generated) - logits).abs().max().item())
        prompts.append(dict(ids=ids, greedy=generated, min_margin=round(margin, 4), first_row=sum(map(len, rows))))
        rows.append(logits.numpy())
    return prompts, np.concatenate(rows), drift


def make(name):
    config, dtype, options, old_spelling = MODELS[name]
    folder = OUT / name
    for seed in range(1, 500):
        shutil.rmtree(folder, ignore_errors=True)
        make_model = Step3p7ForConditionalGeneration if isinstance(config, Step3p7Config) else AutoModelForCausalLM.from_config
        model = make_model(config)
        randomize(model, seed)
        model.to(dtype).save_pretrained(folder, **options)
        (folder / "generation_config.json").unlink(missing_ok=True)
        for file in folder.iterdir():
            file.chmod(0o644)
        if old_spelling:
            respell(folder, old_spelling)
        result = compute(folder, seed, config.get_text_config().vocab_size)
        if result:
            break
    else:
        sys.exit(f"{name}: no seed gives margins of {MIN_MARGIN}")
    prompts, logits, drift = result
    np.save(folder / "logits.npy", logits.astype(np.float32))
    about = dict(seed=seed, fp64_difference=float(f"{drift:.2g}"), prompts=prompts)
    (folder / "goldens.json").write_text(json.dumps(about) + "\n")
    size = sum(f.stat().st_size for f in folder.iterdir())
    distinct = len({t for p in prompts for t in p["greedy"]})
    print(f"{name}: seed {seed}, {logits.shape}, std {logits.std():.2f}, max {np.abs(logits).max():.1f}, "
          f"fp32 - fp64 {drift:.1e}, {distinct} distinct greedy ids, {size / 1000:.0f} kB")


if __name__ == "__main__":
    torch.set_num_threads(1)
    transformers.utils.logging.disable_progress_bar()
    for model_name in sys.argv[1:] or MODELS:
        make(model_name)
