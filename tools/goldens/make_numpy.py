"""Makes tiny random checkpoints of what no library has a class for, and what plain numpy computes from them.

    python tools/goldens/make_numpy.py [NAME...]        with numpy and safetensors

Gated attention (use_gated_attn) on latent and grouped attention, and the keys of grouped attention that every
architecture shares: windows, KV heads and RoPE base by layer, value width, value scale, fused projections. One row at a
time, in float64, from the formulas. Folders as make_models.py writes them.
"""

import json
import pathlib
import shutil
import sys

import numpy as np
from safetensors.numpy import save_file

OUT = pathlib.Path(__file__).resolve().parents[2] / "tests" / "goldens"
PROMPT_LENGTHS = [1, 9, 47, 131]
GREEDY_TOKENS = 16
MIN_MARGIN = 0.02

COMMON = dict(vocab_size=79, hidden_size=36, intermediate_size=44, hidden_act="silu", max_position_embeddings=256,
              rms_norm_eps=1e-6, tie_word_embeddings=False, rope_theta=10000.0)
QWEN3 = dict(COMMON, architectures=["Qwen3ForCausalLM"], model_type="qwen3")
LLAMA = dict(COMMON, architectures=["LlamaForCausalLM"], model_type="llama")
FLASH = dict(COMMON, architectures=["Glm4MoeLiteForCausalLM"], model_type="glm4_moe_lite", num_hidden_layers=2,
             mlp_layer_types=["dense", "dense"], moe_intermediate_size=8, n_routed_experts=4, num_experts_per_tok=2,
             n_shared_experts=1, use_gated_attn=True)

MODELS = {
    "numpy-latent-sigmoid": dict(FLASH, num_attention_heads=5, q_lora_rank=12, kv_lora_rank=14, qk_nope_head_dim=7,
                                 qk_rope_head_dim=4, v_head_dim=9, use_bias=True, gated_attn_act="sigmoid"),
    "numpy-latent-scaled": dict(FLASH, num_attention_heads=3, q_lora_rank=None, kv_lora_rank=16, qk_nope_head_dim=8,
                                qk_rope_head_dim=6, v_head_dim=14, use_bias=False, gated_attn_act="scaled_softsign"),
    "numpy-latent-shifted": dict(FLASH, num_attention_heads=10, q_lora_rank=10, kv_lora_rank=9, qk_nope_head_dim=4,
                                 qk_rope_head_dim=2, v_head_dim=3, use_bias=True, gated_attn_act="shifted_softsign"),
    "numpy-grouped-fused-gate": dict(QWEN3, num_hidden_layers=4, num_attention_heads=6, num_key_value_heads=2,
                                     head_dim=10, v_head_dim=7, num_key_value_heads_list=[1, 2, 3, 6],
                                     window_attn_skip_freq=[0, 1, 1, 0], sliding_window=11, swa_rope_theta=500.0,
                                     attention_value_scale=0.7, use_gated_attn=True, use_bias=True,
                                     gated_attn_act="shifted_softsign", attention_bias=True,
                                     attention_projection_layout="fused_qkv_gate"),
    "numpy-grouped-wide-values": dict(LLAMA, num_hidden_layers=3, num_attention_heads=8, num_key_value_heads=1,
                                      head_dim=6, v_head_dim=13, window_attn_skip_freq=2, sliding_window=[40, 0],
                                      use_gated_attn=True, gated_attn_act="scaled_softsign", attention_bias=True,
                                      attention_projection_layout="fused_qkv"),
}


# ---- weights ----

class Maker:
    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)
        self.weights = {}

    def matrix(self, name, rows, cols, biased=False, scale=1.3):
        self.weights[name + ".weight"] = (scale / cols ** 0.5 * self.rng.standard_normal((rows, cols))).astype(np.float32)
        if biased:
            self.weights[name + ".bias"] = (0.3 * self.rng.standard_normal(rows)).astype(np.float32)

    def norm(self, name, size):
        self.weights[name + ".weight"] = (1 + 0.25 * self.rng.standard_normal(size)).astype(np.float32)


def make_weights(config, seed):
    make, hidden = Maker(seed), config["hidden_size"]
    make.matrix("model.embed_tokens", config["vocab_size"], hidden, scale=0.4 * hidden ** 0.5)
    make.matrix("lm_head", config["vocab_size"], hidden, scale=0.4 * hidden ** 0.5)
    make.norm("model.norm", hidden)
    gate_bias = config.get("use_bias", False)
    for i in range(config["num_hidden_layers"]):
        layer, attention = f"model.layers.{i}.", f"model.layers.{i}.self_attn."
        make.norm(layer + "input_layernorm", hidden)
        make.norm(layer + "post_attention_layernorm", hidden)
        for name, rows, cols in (("gate", config["intermediate_size"], hidden), ("up", config["intermediate_size"], hidden),
                                 ("down", hidden, config["intermediate_size"])):
            make.matrix(layer + f"mlp.{name}_proj", rows, cols)
        heads, value = config["num_attention_heads"], config["v_head_dim"]
        if "kv_lora_rank" in config:
            latent, rotated, nope = config["kv_lora_rank"], config["qk_rope_head_dim"], config["qk_nope_head_dim"]
            if config["q_lora_rank"]:
                make.matrix(attention + "q_a_proj", config["q_lora_rank"], hidden)
                make.norm(attention + "q_a_layernorm", config["q_lora_rank"])
                make.matrix(attention + "q_b_proj", heads * (nope + rotated), config["q_lora_rank"])
            else:
                make.matrix(attention + "q_proj", heads * (nope + rotated), hidden)
            make.matrix(attention + "kv_a_proj_with_mqa", latent + rotated, hidden)
            make.norm(attention + "kv_a_layernorm", latent)
            make.matrix(attention + "kv_b_proj", heads * (nope + value), latent)
            make.matrix(attention + "gate", heads * value, hidden, gate_bias)
            make.matrix(attention + "o_proj", hidden, heads * value, gate_bias)
            continue
        key, kv_heads = config["head_dim"], kv_heads_of(config, i)
        biased = config["attention_bias"]
        rows = heads * key + kv_heads * (key + value)
        if config["attention_projection_layout"] == "fused_qkv_gate":
            make.matrix(attention + "qkvg_proj", rows + heads * value, hidden, biased)
        else:
            make.matrix(attention + "qkv_proj", rows, hidden, biased)
            make.matrix(attention + "gate", heads * value, hidden, gate_bias)
        make.matrix(attention + "o_proj", hidden, heads * value, biased or gate_bias)
        if config["model_type"] == "qwen3":
            make.norm(attention + "q_norm", key)
            make.norm(attention + "k_norm", key)
    return make.weights


# ---- the forward pass ----

ACTIVATIONS = {
    "sigmoid": lambda g: 1 / (1 + np.exp(-g)),
    "scaled_softsign": lambda g: 2 * g / (1 + np.abs(g)),
    "shifted_softsign": lambda g: (g / (1 + np.abs(g)) + 1) / 2,
}


def kv_heads_of(config, layer):
    return config.get("num_key_value_heads_list", [config.get("num_key_value_heads")] * 99)[layer]


def slides(config, layer):
    every = config.get("window_attn_skip_freq")
    return bool(every[layer]) if isinstance(every, list) else every is not None and layer % every != 0


def window_of(config, layer):
    window = config.get("sliding_window")
    return (window[0] if isinstance(window, list) else window) if slides(config, layer) else 10 ** 9


def rms(x, weight, epsilon):
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + epsilon) * weight


def turn(x, position, theta, pairs):
    """RoPE of one head's dims: pairs "halves" (i, i + n/2) or "neighbours" (2i, 2i + 1)."""
    half = len(x) // 2
    angles = position * theta ** (-2.0 * np.arange(half) / len(x))
    a, b = (x[:half], x[half:]) if pairs == "halves" else (x[0::2], x[1::2])
    first, second = a * np.cos(angles) - b * np.sin(angles), b * np.cos(angles) + a * np.sin(angles)
    out = np.empty_like(x)
    if pairs == "halves":
        out[:half], out[half:] = first, second
    else:
        out[0::2], out[1::2] = first, second
    return out


class Model:
    def __init__(self, config, weights):
        self.config = config
        self.weights = {name: tensor.astype(np.float64) for name, tensor in weights.items()}

    def linear(self, name, x):
        return x @ self.weights[name + ".weight"].T + self.weights.get(name + ".bias", 0.0)

    def norm(self, name, x):
        return rms(x, self.weights[name + ".weight"], self.config["rms_norm_eps"])

    def logits(self, ids):
        x = self.weights["model.embed_tokens.weight"][ids]
        for i in range(self.config["num_hidden_layers"]):
            layer = f"model.layers.{i}."
            normed = self.norm(layer + "input_layernorm", x)
            attend = self.latent if "kv_lora_rank" in self.config else self.grouped
            x = x + attend(i, layer + "self_attn.", normed)
            normed = self.norm(layer + "post_attention_layernorm", x)
            gate = self.linear(layer + "mlp.gate_proj", normed)
            x = x + self.linear(layer + "mlp.down_proj", gate / (1 + np.exp(-gate)) * self.linear(layer + "mlp.up_proj", normed))
        return self.linear("lm_head", self.norm("model.norm", x))

    @staticmethod
    def attend(q, k, v, window):
        """One head: rows of q over the rows of k and v up to their own, `window` at most."""
        out = np.zeros((len(q), v.shape[1]))
        for p in range(len(q)):
            first = max(0, p - window + 1)
            scores = k[first:p + 1] @ q[p] / np.sqrt(q.shape[1])
            weights = np.exp(scores - scores.max())
            out[p] = weights @ v[first:p + 1] / weights.sum()
        return out

    def gated(self, prefix, normed, out, gate=None):
        gate = self.linear(prefix + "gate", normed) if gate is None else gate
        return self.linear(prefix + "o_proj", out * ACTIVATIONS[self.config["gated_attn_act"]](gate))

    def grouped(self, i, prefix, normed):
        config, rows = self.config, len(normed)
        heads, key, value = config["num_attention_heads"], config["head_dim"], config["v_head_dim"]
        kv_heads = kv_heads_of(config, i)
        theta = config.get("swa_rope_theta", config["rope_theta"]) if slides(config, i) else config["rope_theta"]
        inside = config["attention_projection_layout"] == "fused_qkv_gate"
        fused = self.linear(prefix + ("qkvg_proj" if inside else "qkv_proj"), normed)
        ends = np.cumsum([heads * key, kv_heads * key, kv_heads * value])
        q, k, v, gate = np.split(fused, ends, axis=1)
        q, k, v = q.reshape(rows, heads, key), k.reshape(rows, kv_heads, key), v.reshape(rows, kv_heads, value)
        if config["model_type"] == "qwen3":
            q, k = self.norm(prefix + "q_norm", q), self.norm(prefix + "k_norm", k)
        q = np.array([[turn(head, p, theta, "halves") for head in row] for p, row in enumerate(q)])
        k = np.array([[turn(head, p, theta, "halves") for head in row] for p, row in enumerate(k)])
        out = np.concatenate([
            self.attend(q[:, h], k[:, h * kv_heads // heads], v[:, h * kv_heads // heads], window_of(config, i))
            for h in range(heads)], axis=1)
        out = out * config.get("attention_value_scale", 1.0)
        return self.gated(prefix, normed, out, gate if inside else None)

    def latent(self, i, prefix, normed):
        config, rows = self.config, len(normed)
        heads, value = config["num_attention_heads"], config["v_head_dim"]
        nope, rotated, rank = config["qk_nope_head_dim"], config["qk_rope_head_dim"], config["kv_lora_rank"]
        if config["q_lora_rank"]:
            q = self.linear(prefix + "q_b_proj", self.norm(prefix + "q_a_layernorm", self.linear(prefix + "q_a_proj", normed)))
        else:
            q = self.linear(prefix + "q_proj", normed)
        q = q.reshape(rows, heads, nope + rotated)
        down = self.linear(prefix + "kv_a_proj_with_mqa", normed)
        up = self.linear(prefix + "kv_b_proj", self.norm(prefix + "kv_a_layernorm", down[:, :rank]))
        up = up.reshape(rows, heads, nope + value)
        theta = config["rope_theta"]
        shared = np.array([turn(row, p, theta, "neighbours") for p, row in enumerate(down[:, rank:])])
        outs = []
        for h in range(heads):
            turned = np.array([turn(row, p, theta, "neighbours") for p, row in enumerate(q[:, h, nope:])])
            query = np.concatenate([q[:, h, :nope], turned], axis=1)
            keys = np.concatenate([up[:, h, :nope], shared], axis=1)
            outs.append(self.attend(query, keys, up[:, h, nope:], 10 ** 9))
        return self.gated(prefix, normed, np.concatenate(outs, axis=1))


# ---- goldens ----

def compute(model, seed):
    rng = np.random.default_rng(seed)
    prompts, rows = [], []
    for length in PROMPT_LENGTHS:
        ids = rng.integers(0, model.config["vocab_size"], length).tolist()
        generated, margin = [], float("inf")
        for _ in range(GREEDY_TOKENS):
            last = model.logits(ids + generated)[-1]
            best = np.sort(last)[-2:]
            margin = min(margin, best[1] - best[0])
            if margin < MIN_MARGIN:
                return None
            generated.append(int(last.argmax()))
        prompts.append(dict(ids=ids, greedy=generated, min_margin=round(float(margin), 4), first_row=sum(map(len, rows))))
        rows.append(model.logits(ids + generated))
    return prompts, np.concatenate(rows)


def make(name):
    config, folder = MODELS[name], OUT / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for seed in range(1, 500):
        weights = make_weights(config, seed)
        result = compute(Model(config, weights), seed)
        if result:
            break
    else:
        sys.exit(f"{name}: no seed gives margins of {MIN_MARGIN}")
    prompts, logits = result
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    np.save(folder / "logits.npy", logits.astype(np.float32))
    (folder / "goldens.json").write_text(json.dumps(dict(seed=seed, prompts=prompts)) + "\n")
    size = sum(f.stat().st_size for f in folder.iterdir())
    print(f"{name}: seed {seed}, {logits.shape}, std {logits.std():.2f}, {size / 1000:.0f} kB")


if __name__ == "__main__":
    for model_name in sys.argv[1:] or MODELS:
        make(model_name)
