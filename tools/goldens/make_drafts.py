"""Gives tiny checkpoints of tests/goldens/ draft heads (MTP), and writes what these compute.

    python tools/goldens/make_drafts.py [NAME...]        after make_models.py, with the same packages

Adds the heads' tensors to model.safetensors under their published names, their number to config.json, and
    drafts.npy     fp32 [heads, rows, vocab]: of the last prompt and its greedy ids; NaN where a head has no row
Where transformers has the head (modeling_layers.MtpModel: DeepSeek-V3, GLM-4.5) its numbers are written; everywhere it is
put together here, around a decoder layer of transformers, and both must agree.
"""

import copy
import json
import sys

import numpy as np
import torch
import transformers
from make_models import OUT, load, randomize
from safetensors.torch import load_file, save_file
from torch import nn
from transformers.modeling_layers import MtpModel


class Head(nn.Module):
    """enorm, hnorm, eh_proj, a decoder layer, a norm; whose hidden state it takes is the recipe's."""

    def __init__(self, recipe, base, config, index):
        super().__init__()
        norm = type(base.norm)
        self.enorm = norm(config.hidden_size, eps=config.rms_norm_eps)
        self.hnorm = norm(config.hidden_size, eps=config.rms_norm_eps)
        self.eh_proj = nn.Linear(2 * config.hidden_size, config.hidden_size, bias=False)
        self.block = type(base.layers[0])(config, index)
        self.final_norm = norm(config.hidden_size, eps=config.rms_norm_eps) if recipe.get("norms_output", True) else None
        self.output = nn.Linear(config.hidden_size, config.vocab_size, bias=False) if recipe.get("own_output") else None


def experts_apart(name, tensor):
    """One tensor for each expert, as published, of transformers' fused ones."""
    if name.endswith("experts.gate_up_proj"):
        for e, both in enumerate(tensor):
            half = both.shape[0] // 2
            yield name.replace("gate_up_proj", f"{e}.gate_proj.weight"), both[:half]
            yield name.replace("gate_up_proj", f"{e}.up_proj.weight"), both[half:]
    elif name.endswith("experts.down_proj"):
        for e, one in enumerate(tensor):
            yield name.replace("down_proj", f"{e}.down_proj.weight"), one
    else:
        yield name, tensor


def deepseek_names(part, head, layers):
    return f"model.layers.{layers + head}." + part.replace("final_norm.", "shared_head.norm.")


def mimo_names(part, head, layers):
    part = part.replace("post_attention_layernorm", "pre_mlp_layernorm").replace("sinks", "attention_sink_bias")
    return f"model.mtp.layers.{head}." + part.replace("final_norm.", "final_layernorm.")


def step_names(part, head, layers):
    part = part.replace("final_norm.", "transformer.shared_head.norm.").replace("output.", "transformer.shared_head.output.")
    return f"model.layers.{layers + head}." + part


def ernie_names(part, head, layers):
    for here, there in (("enorm", "mtp_emb_norm"), ("hnorm", "mtp_hidden_norm"), ("eh_proj", "mtp_linear_proj")):
        if part.startswith(here):
            return f"model.{there}.{head}.weight"
    return f"model.mtp_block.{head}." + part


DEEPSEEK = dict(heads=1, names=deepseek_names)
# block: which layer's kind a head has; change: of a copy of the configuration, so that this layer is of that kind
RECIPES = {
    "deepseek-v3-yarn": dict(DEEPSEEK, block=[2], in_transformers=True),
    "glm4-moe-f32": dict(DEEPSEEK, block=[2], in_transformers=True),
    "glm4-moe-lite-f32": dict(DEEPSEEK, block=[2]),
    "deepseek-v32-yarn": dict(DEEPSEEK, block=[2]),
    "glm-moe-dsa-mixed": dict(DEEPSEEK, block=[2]),
    "mimo-v2-flash-hub": dict(heads=3, names=mimo_names, block=[1, 1, 1], chained=False, normed=False,
                              change=lambda config: setattr(config, "mlp_layer_types", ["dense"] * 3)),
    "step3p5-hub": dict(heads=3, names=step_names, block=[0, 1, 2], normed=False, own_output=True, zero_centered=True,
                        change=lambda config: config.__dict__.update(mlp_layer_types=["dense"] * 3,
                                                                     swiglu_limits_shared=[0.5, 0.0, 0.0]),
                        keys=lambda keys: keys.update(
                            layer_types=keys["layer_types"][:3] * 2, rope_theta=keys["rope_theta"][:3] * 2,
                            partial_rotary_factors=keys["partial_rotary_factors"][:3] * 2,
                            swiglu_limits_shared=[0.0, 0.0, 0.0, 0.5, 0.0, 0.0])),
    "ernie4-5-moe-bf16": dict(heads=1, names=ernie_names, block=[0], norms_output=False, skips_first=True),
}


def mask_of(config, kind, rows):
    """What eager attention adds: zero where a row sees a key."""
    row, key = torch.arange(rows)[:, None], torch.arange(rows)[None]
    window = config.sliding_window if kind == "sliding_attention" else rows
    if getattr(config, "sliding_window_size", None) and kind == "sliding_attention":
        window = config.sliding_window_size + 1
    seen = (key <= row) & (row - key < window)
    return torch.where(seen, 0.0, torch.finfo(torch.float32).min)[None, None]


def run_block(head, base, config, index, x):
    kinds = getattr(config, "layer_types", None)
    kind = kinds[index] if kinds else "full_attention"
    positions = torch.arange(x.shape[1])[None]
    per_kind = "sliding_attention" in (kinds or [])
    rope = base.rotary_emb(x, positions, kind) if per_kind else base.rotary_emb(x, position_ids=positions)
    out = head.block(x, attention_mask=mask_of(config, kind, x.shape[1]), position_embeddings=rope, position_ids=positions)
    return out[0] if isinstance(out, tuple) else out


def logits_of(recipe, model, base, config, heads, ids):
    raw = []
    hook = base.norm.register_forward_pre_hook(lambda module, inputs: raw.append(inputs[0]))
    model(torch.tensor([ids]), use_cache=False)
    hook.remove()
    previous, previous_norm = raw[0], base.norm
    rows = np.full((len(heads), len(ids), model.lm_head.weight.shape[0]), np.nan, np.float32)
    for k, head in enumerate(heads):
        count = len(ids) - 1 - k
        taken = previous[:, :count] if recipe.get("chained", True) else raw[0][:, :count]
        if recipe.get("normed", True):
            taken = previous_norm(taken)
        embedded = base.embed_tokens(torch.tensor([ids[k + 1:]]))
        if recipe.get("skips_first"):
            embedded = embedded.clone()
            embedded[:, 0] = 0
        x = head.eh_proj(torch.cat([head.enorm(embedded), head.hnorm(taken)], dim=-1))
        previous, previous_norm = run_block(head, base, config, recipe["block"][k], x), head.final_norm
        out = head.final_norm(previous) if head.final_norm else previous
        rows[k, :count] = (head.output or model.lm_head)(out)[0].numpy()
    return rows


def transformers_logits(model, base, folder, ids):
    model.config.name_or_path = str(folder)
    layers = model.config.num_hidden_layers  # the class names the published model's
    model._keys_to_ignore_on_load_unexpected = [rf"model\.layers\.{layers}\..*"]
    mtp = MtpModel.from_pretrained(model).float().eval()
    mtp.config._attn_implementation = mtp.config._experts_implementation = "eager"
    hidden = base(torch.tensor([ids]), use_cache=False).last_hidden_state[:, :-1]
    positions = torch.arange(1, len(ids))[None]
    out = mtp.forward_layer(0, hidden, positions, None, input_ids=torch.tensor([ids[1:]]))
    return model.lm_head(out)[0].numpy()


def make(name):
    recipe, folder = RECIPES[name], OUT / name
    weights = load_file(folder / "model.safetensors")
    keys = json.loads((folder / "config.json").read_text())
    dtype = weights["model.embed_tokens.weight"].dtype
    weights = {n: w for n, w in weights.items() if not is_of_head(n, keys["num_hidden_layers"])}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    keys.pop("num_mtp_layers", None)
    keys.pop("num_nextn_predict_layers", None)
    model = load(folder, torch.float32)
    base = model.get_decoder()
    config = copy.deepcopy(base.config)
    recipe.get("change", lambda config: None)(config)
    heads = []
    for k in range(recipe["heads"]):
        head = Head(recipe, base, config, recipe["block"][k])
        randomize(head, 100 + k, recipe.get("zero_centered", False))
        heads.append(head.to(dtype).float().eval())
        for part, tensor in head.state_dict().items():
            for piece, value in experts_apart(part.removeprefix("block."), tensor):
                weights[recipe["names"](piece, k, keys["num_hidden_layers"])] = value.to(dtype).contiguous()
    recipe.get("keys", lambda keys: None)(keys)
    if name != "mimo-v2-flash-hub":  # counts its heads nowhere
        keys["num_nextn_predict_layers"] = recipe["heads"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(keys, indent=2, sort_keys=True) + "\n")
    prompt = json.loads((folder / "goldens.json").read_text())["prompts"][-1]
    ids = prompt["ids"] + prompt["greedy"]
    with torch.no_grad():
        rows = logits_of(recipe, model, base, config, heads, ids)
        said = ""
        if recipe.get("in_transformers"):
            theirs = transformers_logits(model, base, folder, ids)
            difference = np.abs(theirs - rows[0, :-1]).max()
            assert difference < 2e-5, f"{name}: {difference} from transformers' MtpModel"
            rows[0, :-1], said = theirs, f", {difference:.1e} from MtpModel"
    np.save(folder / "drafts.npy", rows)
    print(f"{name}: {rows.shape}, std {np.nanstd(rows):.2f}{said}, "
          f"{sum(f.stat().st_size for f in folder.iterdir()) / 1000:.0f} kB")


def is_of_head(name, layers):
    parts = name.split(".")
    return parts[1].startswith("mtp") or (parts[1] == "layers" and int(parts[2]) >= layers)


if __name__ == "__main__":
    torch.set_num_threads(1)
    transformers.utils.logging.disable_progress_bar()
    for model_name in sys.argv[1:] or RECIPES:
        make(model_name)
