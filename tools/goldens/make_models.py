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
from tiny_models import MODELS, step
from transformers import AutoModelForCausalLM
from transformers.models.step3p7.configuration_step3p7 import Step3p7Config
from transformers.models.step3p7.modeling_step3p7 import Step3p7ForConditionalGeneration

ROOT = pathlib.Path(__file__).resolve().parents[2]
OUT = ROOT / "tests" / "goldens"
PROMPT_LENGTHS = [1, 9, 47, 131]
GREEDY_TOKENS = 16
MIN_INDEX_MARGIN = 1e-4  # between the last score chosen and the first one not: torch breaks ties as it likes
MIN_MARGIN = 0.02  # far above the 1e-4 that logits may differ by, so that greedy ids must be equal

def randomize(model, seed, zero_centered=False):
    """Weights large enough that the logits and their order mean something; norms and biases away from 1 and 0. Norms of
    some models are stored as what they add to 1 (zero_centered)."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if name.endswith("norm.weight"):
                value = (0.0 if zero_centered else 1.0) + 0.25 * noise
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
    torch_dtype; "mimo hub", "step hub" and "dsa hub" with those models' own keys."""
    path = folder / "config.json"
    config = json.loads(path.read_text())
    if spelling == "step hub":
        config = respell_step(config["text_config"], config["dtype"])
        weights = load_file(folder / "model.safetensors")
        save_file({name: w for name, w in weights.items() if not name.startswith(("vision_model.", "vit_large"))},
                  folder / "model.safetensors", metadata={"format": "pt"})
    elif spelling == "mimo hub":
        respell_mimo(config)
    elif spelling == "dsa hub":  # keeps index_topk_freq and index_skip_topk_offset
        del config["indexer_types"], config["mlp_layer_types"], config["layer_types"]
        config.update(indexer_rope_interleave=True, scoring_func="sigmoid", topk_method="noaux_tc", moe_layer_freq=1)
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


def index_margin(model, ids):
    """The smallest margin of a sparse attention's choice. The indexers alone call topk as a method."""
    smallest = float("inf")
    topk = torch.Tensor.topk

    def watched(scores, k, dim=-1):
        nonlocal smallest
        if k < scores.shape[-1]:
            best = topk(scores, k + 1, dim=dim).values
            margins = best[..., k - 1] - best[..., k]
            seen = margins[torch.isfinite(margins) & (best[..., k] > -1e30)]
            smallest = min(smallest, seen.min().item() if seen.numel() else smallest)
        return topk(scores, k, dim=dim)

    torch.Tensor.topk = watched
    try:
        all_logits(model, ids)
    finally:
        torch.Tensor.topk = topk
    return smallest


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
        if hasattr(model.config, "index_topk") and index_margin(model, ids + generated) < MIN_INDEX_MARGIN:
            return None
        logits = all_logits(model, ids + generated)
        drift = max(drift, (all_logits(precise, ids + generated) - logits).abs().max().item())
        prompts.append(dict(ids=ids, greedy=generated, min_margin=round(margin, 4), first_row=sum(map(len, rows))))
        rows.append(logits.numpy())
    return prompts, np.concatenate(rows), drift


def write_goldens(folder, seed, prompts, logits, drift):
    np.save(folder / "logits.npy", logits.astype(np.float32))
    about = dict(seed=seed, fp64_difference=float(f"{drift:.2g}"), prompts=prompts)
    (folder / "goldens.json").write_text(json.dumps(about) + "\n")
    size = sum(f.stat().st_size for f in folder.iterdir())
    distinct = len({t for p in prompts for t in p["greedy"]})
    print(f"{folder.name}: seed {seed}, {logits.shape}, std {logits.std():.2f}, max {np.abs(logits).max():.1f}, "
          f"fp32 - fp64 {drift:.1e}, {distinct} distinct greedy ids, {size / 1000:.0f} kB", flush=True)


def make(name):
    config, dtype, options, old_spelling = MODELS[name]
    folder = OUT / name
    for seed in range(1, 500):
        shutil.rmtree(folder, ignore_errors=True)
        make_model = Step3p7ForConditionalGeneration if isinstance(config, Step3p7Config) else AutoModelForCausalLM.from_config
        model = make_model(config)
        randomize(model, seed, zero_centered=isinstance(config, Step3p7Config))
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
    write_goldens(folder, seed, *result)


if __name__ == "__main__":
    torch.set_num_threads(1)
    transformers.utils.logging.disable_progress_bar()
    for model_name in sys.argv[1:] or MODELS:
        make(model_name)
