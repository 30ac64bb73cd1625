"""Makes the tiny quantized checkpoints under tests/goldens/ and what transformers computes from what they mean.

    python tools/goldens/make_formats.py [NAME...]        with the packages of tools/goldens/requirements.txt

The projections of a random model are quantized by plain numpy (tests/formats.py); transformers gets the same weights
dequantized. Files as those of make_models.py.
"""

import json
import pathlib
import shutil
import sys
import tempfile

import numpy as np
import torch
import transformers
from make_models import MIN_MARGIN, OUT, compute, randomize, write_goldens
from safetensors.torch import load_file, save_file
from tiny_models import gpt_oss, llama, qwen3, tiny
from transformers import (AutoModelForCausalLM, DeepseekV3Config, Ernie4_5_MoeConfig, Glm4MoeConfig, Glm4MoeLiteConfig,
                          GlmMoeDsaConfig, Qwen3MoeConfig)

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tests"))
import formats as f  # noqa: E402

SIZES = dict(hidden_size=64, intermediate_size=96, moe_intermediate_size=32)
LATENT = dict(num_attention_heads=4, num_key_value_heads=4, q_lora_rank=32, kv_lora_rank=32, qk_nope_head_dim=8,
              qk_rope_head_dim=8, v_head_dim=16, n_shared_experts=1, first_k_dense_replace=1, num_experts_per_tok=2)
GROUPED = dict(num_attention_heads=4, num_key_value_heads=2, head_dim=16)
DENSE = dict(vocab_size=83, hidden_size=64, intermediate_size=96, num_hidden_layers=2, **GROUPED)


def projections(module):
    return "_proj" in module.rsplit(".", 1)[-1] or module.endswith((".wq_b", ".wk"))


def but_kv_b(module):  # as most checkpoints are
    return projections(module) and not module.endswith("kv_b_proj")


def desc_act(w):
    return f.quantize_gptq(w, order=np.random.default_rng(w.shape[1]).permutation(w.shape[1]))


QUARK = dict(quant_method="quark", global_quant_config=dict(weight=dict(dtype="fp4", group_size=32, qscheme="per_group", scale_format="e8m0")))
# name -> (config, modules that are quantized, quantize, dequantize, quantization_config)
MODELS = {
    "mxfp4-glm4-moe-lite": (
        tiny(Glm4MoeLiteConfig, num_hidden_layers=3, n_routed_experts=6, mlp_layer_types=["dense", "sparse", "sparse"], **{**SIZES, **LATENT}),
        but_kv_b, f.quantize_mxfp4, f.dequantize_mxfp4, dict(QUARK, exclude=["re:.*kv_b_proj", "lm_head"])),
    "mxfp4-glm-moe-dsa": (
        tiny(GlmMoeDsaConfig, num_hidden_layers=3, n_routed_experts=4, index_topk=9, index_n_heads=8, index_head_dim=32,
             indexer_types=["full", "shared", "full"], **{**SIZES, **LATENT}),
        projections, f.quantize_mxfp4, f.dequantize_mxfp4, dict(QUARK, exclude=["lm_head"])),
    "mxfp4-gpt-oss": (
        gpt_oss(num_hidden_layers=2, hidden_size=64, intermediate_size=32, num_local_experts=4, num_experts_per_tok=2,
                sliding_window=16, layer_types=["sliding_attention", "full_attention"], **GROUPED,
                rope_parameters=dict(rope_type="default", rope_theta=10000.0)),
        None, None, None, dict(quant_method="mxfp4", modules_to_not_convert=["model.layers.*.self_attn", "model.layers.*.mlp.router"])),
    "nvfp4-qwen3-moe": (
        tiny(Qwen3MoeConfig, num_hidden_layers=2, num_experts=5, num_experts_per_tok=2, norm_topk_prob=True, **SIZES, **GROUPED),
        projections, f.quantize_nvfp4, f.dequantize_nvfp4, dict(quant_method="modelopt", quant_algo="NVFP4", ignore=["lm_head"])),
    "nvfp4-packed-qwen3": (
        qwen3(**DENSE), projections, f.quantize_nvfp4_packed, f.dequantize_nvfp4_packed,
        dict(quant_method="compressed-tensors", format="nvfp4-pack-quantized", ignore=["lm_head"])),
    "fp8-block-deepseek-v3": (
        tiny(DeepseekV3Config, num_hidden_layers=2, n_routed_experts=4, n_group=1, topk_group=1,
             **{**SIZES, **LATENT, "hidden_size": 144, "intermediate_size": 140}),
        projections, f.quantize_fp8_block, f.dequantize_fp8_block,
        dict(quant_method="fp8", fmt="e4m3", activation_scheme="dynamic", weight_block_size=[128, 128])),
    "fp8-tensor-llama": (
        llama(**DENSE), projections, f.quantize_fp8_tensor, f.dequantize_eight, dict(quant_method="quark", exclude=["lm_head"])),
    "fp8-channel-glm4-moe": (
        tiny(Glm4MoeConfig, num_hidden_layers=2, n_routed_experts=4, num_experts_per_tok=2, n_shared_experts=1, n_group=1,
             topk_group=1, first_k_dense_replace=1, **SIZES, **GROUPED),
        projections, f.quantize_fp8_channel, f.dequantize_eight, dict(quant_method="compressed-tensors", ignore=["lm_head"])),
    "int8-ernie": (
        tiny(Ernie4_5_MoeConfig, num_hidden_layers=2, moe_num_experts=4, moe_k=2, moe_num_shared_experts=1,
             moe_layer_start_index=1, moe_layer_end_index=1, moe_layer_interval=1, **SIZES, **GROUPED),
        projections, f.quantize_int8_channel, f.dequantize_eight, dict(quant_method="compressed-tensors", ignore=["lm_head"])),
    "int4-qwen3-moe": (
        tiny(Qwen3MoeConfig, num_hidden_layers=2, num_experts=5, num_experts_per_tok=2, norm_topk_prob=True, **SIZES, **GROUPED),
        projections, f.quantize_packed, f.dequantize_packed, dict(quant_method="compressed-tensors", ignore=["lm_head"])),
    "int4-zeros-qwen3": (
        qwen3(**DENSE), projections, lambda w: f.quantize_packed(w, symmetric=False), f.dequantize_packed,
        dict(quant_method="compressed-tensors", ignore=["lm_head"])),
    "awq-llama": (
        llama(**DENSE), projections, f.quantize_awq, f.dequantize_awq,
        dict(quant_method="awq", bits=4, group_size=32, version="gemm", zero_point=True, modules_to_not_convert=["lm_head"])),
    "gptq-llama": (
        llama(**DENSE), projections, f.quantize_gptq, f.dequantize_gptq, dict(quant_method="gptq", bits=4, group_size=32, desc_act=False)),
    "gptq-desc-act-qwen3-moe": (
        tiny(Qwen3MoeConfig, num_hidden_layers=2, num_experts=5, num_experts_per_tok=2, norm_topk_prob=True, **SIZES, **GROUPED),
        projections, desc_act, f.dequantize_gptq, dict(quant_method="gptq", bits=4, group_size=32, desc_act=True)),
}


def gpt_oss_blocks(array):
    """[E, K, N] -> what a checkpoint holds, and what it means."""
    parts = f.quantize_mxfp4(np.ascontiguousarray(array.swapaxes(1, 2)))
    scales = parts[".weight_scale"][1]
    held = {"_blocks": ("U8", parts[".weight"][1].reshape(*scales.shape, 16)), "_scales": ("U8", scales)}
    return held, np.ascontiguousarray(f.dequantize_mxfp4(parts).swapaxes(1, 2))


def quantized(tensors, is_quantized, quantize, dequantize):
    held, meant = {}, {}
    for name, tensor in tensors.items():
        array = tensor.float().numpy()
        module = name.removesuffix(".weight")
        if is_quantized is None and array.ndim == 3:
            parts, meaning = gpt_oss_blocks(array)
            held.update({name + ending: part for ending, part in parts.items()})
        elif is_quantized and array.ndim == 2 and is_quantized(module):
            parts = quantize(array)
            meaning = dequantize(parts)
            held.update({module + ending: part for ending, part in parts.items()})
        elif array.ndim == 2:
            bits = f.to_bf16(array)
            held[name], meaning = ("BF16", bits), f.floats(("BF16", bits))
        else:
            held[name], meaning = ("F32", array), array
        meant[name] = torch.from_numpy(np.ascontiguousarray(meaning, np.float32))
    return held, meant


def make(name):
    config, is_quantized, quantize, dequantize, quantization = MODELS[name]
    folder = OUT / name
    for seed in range(1, 500):
        model = AutoModelForCausalLM.from_config(config)
        randomize(model, seed)
        with tempfile.TemporaryDirectory() as scratch:
            plain = pathlib.Path(scratch)
            model.float().save_pretrained(plain)
            held, meant = quantized(load_file(plain / "model.safetensors"), is_quantized, quantize, dequantize)
            save_file(meant, plain / "model.safetensors", metadata={"format": "pt"})
            result = compute(plain, seed, config.vocab_size)
            if not result:
                continue
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            keys = json.loads((plain / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**keys, "quantization_config": quantization}, indent=2, sort_keys=True) + "\n")
        f.write_safetensors(folder / "model.safetensors", held)
        break
    else:
        sys.exit(f"{name}: no seed gives margins of {MIN_MARGIN}")
    write_goldens(folder, seed, *result)


if __name__ == "__main__":
    torch.set_num_threads(1)
    transformers.utils.logging.disable_progress_bar()
    for model_name in sys.argv[1:] or MODELS:
        make(model_name)
