"""Writes tiny checkpoints of tests/goldens/ again as GGUF files, named as llama.cpp names things.

    python tools/goldens/make_gguf.py        with the packages of tools/goldens/requirements.txt

Each folder gets model.gguf, and a goldens.json that says whose logits it must give: the weights are the same bits.
"""

import json
import math
import pathlib
import re

import gguf
import numpy as np
import torch
from safetensors.torch import load_file

OUT = pathlib.Path(__file__).resolve().parents[2] / "tests" / "goldens"

# folder -> (source, GGUF architecture, whether kv_b stays in one tensor)
FILES = {
    "gguf-deepseek2": ("deepseek-v3-yarn", "deepseek2", False),
    "gguf-deepseek2-joined": ("deepseek-v3-yarn", "deepseek2", True),
    "gguf-deepseek32": ("deepseek-v32-bf16", "deepseek32", False),
    "gguf-glm-dsa": ("glm-moe-dsa-shared", "glm-dsa", False),
    "gguf-glm4moe": ("glm4-moe-f32", "glm4moe", False),
    "gguf-qwen3moe": ("qwen3-moe-bf16", "qwen3moe", False),
    "gguf-gpt-oss": ("gpt-oss-yarn", "gpt-oss", False),
}

NAMES = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
    "input_layernorm.weight": "attn_norm.weight",
    "post_attention_layernorm.weight": "ffn_norm.weight",  # post_attention_norm.weight in glm4moe and gpt-oss
    "mlp.gate.weight": "ffn_gate_inp.weight",
    "mlp.gate.e_score_correction_bias": "exp_probs_b.bias",
    "mlp.router.weight": "ffn_gate_inp.weight",
    "mlp.router.bias": "ffn_gate_inp.bias",
    "mlp.experts.down_proj_bias": "ffn_down_exps.bias",
    "self_attn.sinks": "attn_sinks.weight",
    "self_attn.q_a_layernorm.weight": "attn_q_a_norm.weight",
    "self_attn.kv_a_layernorm.weight": "attn_kv_a_norm.weight",
    "self_attn.kv_a_proj_with_mqa.weight": "attn_kv_a_mqa.weight",
    "self_attn.kv_b_proj.weight": "attn_kv_b.weight",
    "enorm.weight": "nextn.enorm.weight",
    "hnorm.weight": "nextn.hnorm.weight",
    "eh_proj.weight": "nextn.eh_proj.weight",
    "shared_head.norm.weight": "nextn.shared_head_norm.weight",
    "self_attn.indexer.wq_b.weight": "indexer.attn_q_b.weight",
    "self_attn.indexer.wk.weight": "indexer.attn_k.weight",
    "self_attn.indexer.k_norm.weight": "indexer.k_norm.weight",
    "self_attn.indexer.k_norm.bias": "indexer.k_norm.bias",
    "self_attn.indexer.weights_proj.weight": "indexer.proj.weight",
}
PATTERNS = [
    (r"self_attn\.([qkv])_proj\.(weight|bias)", r"attn_\1.\2"),
    (r"self_attn\.o_proj\.(weight|bias)", r"attn_output.\1"),
    (r"self_attn\.([qk])_norm\.weight", r"attn_\1_norm.weight"),
    (r"self_attn\.q_([ab])_proj\.weight", r"attn_q_\1.weight"),
    (r"mlp\.(gate|up|down)_proj\.weight", r"ffn_\1.weight"),
    (r"mlp\.shared_experts\.(gate|up|down)_proj\.weight", r"ffn_\1_shexp.weight"),
]


def gguf_name(name, arch):
    if name == "post_attention_layernorm.weight" and arch in ("glm4moe", "gpt-oss"):
        return "post_attention_norm.weight"
    if name in NAMES:
        return NAMES[name]
    for pattern, replacement in PATTERNS:
        if re.fullmatch(pattern, name):
            return re.sub(pattern, replacement, name)
    raise KeyError(name)


def tensors(weights, config, arch, joined):
    """(GGUF name, tensor) of everything."""
    experts = {}
    for name, tensor in weights.items():
        layer, rest = "", name
        if match := re.match(r"model\.layers\.(\d+)\.(.*)", name):
            layer, rest = f"blk.{match[1]}.", match[2]
        if match := re.fullmatch(r"mlp\.experts\.(\d+)\.(gate|up|down)_proj\.weight", rest):
            experts.setdefault(f"{layer}ffn_{match[2]}_exps.weight", {})[int(match[1])] = tensor
        elif rest == "mlp.experts.gate_up_proj":
            yield f"{layer}ffn_gate_exps.weight", tensor.transpose(1, 2)[:, 0::2]
            yield f"{layer}ffn_up_exps.weight", tensor.transpose(1, 2)[:, 1::2]
        elif rest == "mlp.experts.gate_up_proj_bias":
            yield f"{layer}ffn_gate_exps.bias", tensor[:, 0::2]
            yield f"{layer}ffn_up_exps.bias", tensor[:, 1::2]
        elif rest == "mlp.experts.down_proj":
            yield f"{layer}ffn_down_exps.weight", tensor.transpose(1, 2)
        elif rest == "self_attn.kv_b_proj.weight" and not joined:
            nope, value = config["qk_nope_head_dim"], config["v_head_dim"]
            heads = tensor.view(-1, nope + value, tensor.shape[1])
            yield f"{layer}attn_k_b.weight", heads[:, :nope].transpose(1, 2)
            yield f"{layer}attn_v_b.weight", heads[:, nope:]
        else:
            yield layer + gguf_name(rest, arch), tensor
    for name, parts in experts.items():
        yield name, torch.stack([parts[i] for i in range(len(parts))])


def metadata(writer, config, joined, drafts):
    writer.add_vocab_size(config["vocab_size"])
    writer.add_block_count(config["num_hidden_layers"] + drafts)
    if drafts > 0:
        writer.add_nextn_predict_layers(drafts)
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_expert_used_count(config["num_experts_per_tok"])
    writer.add_expert_count(config.get("n_routed_experts") or config.get("num_local_experts") or config["num_experts"])
    writer.add_expert_feed_forward_length(config.get("moe_intermediate_size", config["intermediate_size"]))
    if "n_shared_experts" in config:
        writer.add_expert_shared_count(config["n_shared_experts"])
        writer.add_leading_dense_block_count(config["first_k_dense_replace"])
        writer.add_expert_weights_scale(config["routed_scaling_factor"])
        writer.add_expert_weights_norm(config["norm_topk_prob"])
        writer.add_expert_gating_func(gguf.ExpertGatingFuncType.SIGMOID)
        writer.add_expert_group_count(config["n_group"])
        writer.add_expert_group_used_count(config["topk_group"])
    if config.get("sliding_window"):
        writer.add_sliding_window(config["sliding_window"])

    rope = config["rope_parameters"] if "rope_parameters" in config else dict(config["rope_scaling"])
    writer.add_rope_freq_base(rope.get("rope_theta", config.get("rope_theta")))
    if rope.get("rope_type") == "yarn":
        writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
        writer.add_rope_scaling_factor(rope["factor"])
        writer.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
        writer.add_rope_scaling_yarn_beta_fast(rope["beta_fast"])
        writer.add_rope_scaling_yarn_beta_slow(rope["beta_slow"])
    if "kv_lora_rank" in config:
        latent, rotated = config["kv_lora_rank"], config["qk_rope_head_dim"]
        key, value = config["qk_nope_head_dim"] + rotated, config["v_head_dim"]
        writer.add_q_lora_rank(config["q_lora_rank"])
        writer.add_kv_lora_rank(latent)
        writer.add_rope_dimension_count(rotated)
        writer.add_head_count_kv(config["num_attention_heads"] if joined else 1)
        writer.add_key_length(key if joined else latent + rotated)
        writer.add_value_length(value if joined else latent)
        if not joined:
            writer.add_key_length_mla(key)
            writer.add_value_length_mla(value)
        if "index_topk" in config:
            writer.add_indexer_head_count(config["index_n_heads"])
            writer.add_indexer_key_length(config["index_head_dim"])
            writer.add_indexer_top_k(config["index_topk"])
        if "index_topk_freq" in config:
            writer.add_array("glm-dsa.attention.indexer.types",
                             [layer == 0 for layer in range(config["num_hidden_layers"])])
    if rope.get("rope_type") == "yarn" and "kv_lora_rank" in config:
        # GGUF has one multiplier for mscale and mscale_all_dim, so the source's must be the same.
        assert rope["mscale"] == rope["mscale_all_dim"] and not math.isclose(rope["mscale"], 0)
        writer.add_rope_scaling_yarn_log_mul(0.1 * rope["mscale_all_dim"])
    if "kv_lora_rank" not in config:
        writer.add_head_count_kv(config["num_key_value_heads"])
        writer.add_key_length(config["head_dim"])
        writer.add_value_length(config["head_dim"])
        share = rope.get("partial_rotary_factor", config.get("partial_rotary_factor", 1))
        writer.add_rope_dimension_count(int(config["head_dim"] * share))


def make(folder, source, arch, joined):
    out = OUT / folder
    out.mkdir(exist_ok=True)
    config = json.loads((OUT / source / "config.json").read_text())
    writer = gguf.GGUFWriter(out / "model.gguf", arch)
    weights = load_file(OUT / source / "model.safetensors")
    drafts = sum(name.endswith(".eh_proj.weight") for name in weights)
    metadata(writer, config, joined, drafts)
    for name, tensor in tensors(weights, config, arch, joined):
        tensor = tensor.contiguous()
        if tensor.dtype == torch.bfloat16:
            writer.add_tensor(name, tensor.view(torch.uint16).numpy().view(np.uint8),
                              raw_dtype=gguf.GGMLQuantizationType.BF16)
        else:
            writer.add_tensor(name, tensor.numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    (out / "goldens.json").write_text(json.dumps({"logits_of": source}) + "\n")
    print(f"{folder}: {(out / 'model.gguf').stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    for name, (source_name, architecture, in_one) in FILES.items():
        make(name, source_name, architecture, in_one)
