"""The command line's promises: exit codes, one sentence for a mistake, text in and text out.

    python tests/e2e/check_cli.py GANNET SMOLLM2.gguf       standard library only
"""

import json
import os
import pathlib
import shutil
import struct
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from checks import Checks  # noqa: E402

GOLDENS = pathlib.Path(__file__).resolve().parents[1] / "goldens"


class CliChecks(Checks):
    def __init__(self, program):
        super().__init__()
        self.program = program

    def run(self, *arguments, text="", **environment):
        command = [self.program, *map(str, arguments)]
        return subprocess.run(command, input=text, capture_output=True, text=True, timeout=300,
                              env=os.environ | environment)

    def refused(self, what, words, *arguments, text=""):
        """Exit code 2, nothing on stdout, and a sentence on stderr that names what is wrong."""
        done = self.run(*arguments, text=text)
        said = done.stderr.strip()
        self.check(done.returncode == 2 and not done.stdout and all(word in said for word in words),
                   f"{what}: exit code {done.returncode}, said {said[-300:]!r}, expected 2 and {words}")

    def answered(self, what, expected, *arguments, text=""):
        done = self.run(*arguments, text=text)
        self.check(done.returncode == 0 and expected(done.stdout),
                   f"{what}: exit code {done.returncode}, stdout {done.stdout[:300]!r}, stderr {done.stderr[-300:]!r}")


def damaged(folder, name, change):
    """A copy of a golden checkpoint with `change(copy)` done to it."""
    copy = folder / f"damaged{len(list(folder.iterdir()))}"
    shutil.copytree(GOLDENS / name, copy)
    change(copy)
    return copy


def set_config(**keys):
    def change(copy):
        config = json.loads((copy / "config.json").read_text())
        config.update(keys)
        (copy / "config.json").write_text(json.dumps(config))
    return change


def edit_bytes(edit):
    def change(copy):
        path = copy / "model.safetensors"
        path.write_bytes(edit(path.read_bytes()))
    return change


def rename_tensor(data):
    length = struct.unpack("<Q", data[:8])[0]
    header = data[8:8 + length].replace(b"model.norm.weight", b"model.nrom.weight")
    return data[:8] + header + data[8 + length:]


def mistakes(checks, scratch):
    tiny = GOLDENS / "llama-f32"
    out = ("--out", scratch / "x.npy")
    checks.refused("no such model", ["/nonesuch"], "logits", "/nonesuch", "--ids", "1", *out)
    checks.refused("an empty folder", [], "logits", scratch, "--ids", "1", *out)
    checks.refused("ids that are none", ["--ids"], "logits", tiny, "--ids", "1,x", *out)
    checks.refused("an id beyond the vocabulary", ["97"], "logits", tiny, "--ids", "1,97", *out)
    checks.refused("a negative id", ["-1"], "logits", tiny, "--ids=-1", *out)
    checks.refused("unknown kernels", ["sse9"], "logits", tiny, "--ids", "1", "--kernels", "sse9", *out)
    checks.refused("an unknown flag", ["--bogus"], "logits", tiny, "--ids", "1", "--bogus", *out)
    checks.refused("no command", [], )
    checks.refused("neither prompt nor ids", ["--ids"], "complete", tiny)
    checks.refused("text without a tokenizer", ["tokenizer"], "complete", tiny, "--prompt", "hello")
    checks.refused("a memory limit too small", [], "logits", tiny, "--ids", "1", "--memory-limit", "1K", *out)
    for what, words, change in [
        ("a key that may change the maths", ["made_up_scale"], set_config(made_up_scale=2.0)),
        ("an unknown architecture", ["FooForCausalLM"], set_config(architectures=["FooForCausalLM"], model_type="foo")),
        ("an activation nobody computes", ["hidden_act"], set_config(hidden_act="relu")),
        ("an unknown rope type", ["rope"], set_config(rope_parameters=dict(rope_type="spiral", rope_theta=1e4))),
        ("a width that the tensors do not have", [], set_config(intermediate_size=71)),
        ("more layers than tensors", ["layers.2"], set_config(num_hidden_layers=3)),
        ("fewer layers than tensors", ["layers.1"], set_config(num_hidden_layers=1)),
        ("a negative size", ["hidden_size"], set_config(hidden_size=-50)),
        ("a huge size", [], set_config(hidden_size=2**62)),
        ("a string for a number", ["vocab_size"], set_config(vocab_size="many")),
        ("a config that is no JSON", ["config.json"], lambda copy: (copy / "config.json").write_text("{")),
        ("no config", ["config.json"], lambda copy: (copy / "config.json").unlink()),
        ("a tensor under another name", ["model.n"], edit_bytes(rename_tensor)),
        ("a truncated file", ["model.safetensors"], edit_bytes(lambda data: data[:-1000])),
        ("a file of eight bytes", ["model.safetensors"], edit_bytes(lambda data: data[:8])),
        ("an empty file", ["model.safetensors"], edit_bytes(lambda data: b"")),
        ("a header of 2^63 bytes", ["model.safetensors"], edit_bytes(lambda data: b"\xff" * 7 + b"\x7f" + data[8:])),
    ]:
        checks.refused(what, words, "logits", damaged(scratch, "llama-f32", change), "--ids", "1", *out)
    checks.refused("draft heads of a model without", ["--mtp"], "logits", tiny, "--ids", "1,2,3", "--mtp", *out)
    checks.refused("a draft head too many", ["--mtp=3", "0 to 2"], "logits", GOLDENS / "mimo-v2-flash-hub", "--ids",
                   "1,2,3,4,5,6", "--mtp", "3", *out)
    checks.refused("too few ids for a draft head", ["--mtp=2", "4 ids"], "logits", GOLDENS / "mimo-v2-flash-hub", "--ids",
                   "1,2,3", "--mtp", "2", *out)
    checks.refused("draft heads that the file lacks", ["missing", "model.layers.2."], "logits",
                   GOLDENS / "deepseek-v3-halves", "--ids", "1,2,3", "--mtp", *out)
    extra = damaged(scratch, "glm4-moe-f32", edit_bytes(lambda data: data.replace(b"layers.3.hnorm", b"layers.3.hmorn")))
    checks.answered("a draft head that is not run may hold anything", lambda said: True, "logits", extra, "--ids", "1,2,3", *out)
    checks.refused("a draft head with a wrong tensor", ["layers.3.hnorm.weight"], "logits", extra, "--ids", "1,2,3", "--mtp", *out)
    missing = damaged(scratch, "llama-linear-sharded", lambda copy: (copy / "model-00003-of-00009.safetensors").unlink())
    checks.refused("a missing shard", ["model-00003-of-00009"], "logits", missing, "--ids", "1", *out)


def refusals(checks, scratch):
    """What the model families' configurations and tensors may get wrong: key or tensor, named in one sentence."""
    grouped, latent, flash = "numpy-grouped-fused-gate", "numpy-latent-sigmoid", "glm4-moe-lite-f32"
    sparse = "glm-moe-dsa-mixed"
    for model, what, words, keys in [
        (grouped, "KV heads that do not divide", ["num_key_value_heads_list", "layer 2", "4"],
         dict(num_key_value_heads_list=[1, 2, 4, 6])),
        (grouped, "a list too short", ["num_key_value_heads_list", "3 entries"], dict(num_key_value_heads_list=[1, 2, 3])),
        (grouped, "two sources of windows that disagree", ["window_attn_skip_freq", "hybrid_layer_pattern", "layer 0"],
         dict(hybrid_layer_pattern=[1, 1, 1, 0])),
        (grouped, "a source that agrees, but no window", ["window_attn_skip_freq", "sliding_window"],
         dict(sliding_window=None)),
        (grouped, "an unknown activation of the gate", ["gated_attn_act", "tanh"], dict(gated_attn_act="tanh")),
        (grouped, "a gate inside projections and none in the maths", ["use_gated_attn"], dict(use_gated_attn=False)),
        (grouped, "projections under another name", ["q_proj.weight"], dict(attention_projection_layout="split")),
        (grouped, "values of another width", ["self_attn.qkvg_proj.weight", "shape"], dict(v_head_dim=8)),
        (latent, "a gate's bias that nothing reads", ["self_attn.gate.bias"], dict(use_bias=False)),
        (latent, "a gate that nothing reads", ["self_attn.gate.weight"], dict(use_gated_attn=False, use_bias=False)),
        (latent, "an unknown key", ["kv_lora_scale"], dict(kv_lora_scale=2.0)),
        (flash, "more experts than tensors", ["mlp.gate.weight", "shape"], dict(n_routed_experts=8)),
        (flash, "fewer experts than tensors", ["mlp.gate.weight"], dict(n_routed_experts=6)),
        (flash, "groups that do not divide", ["n_routed_experts", "n_group"], dict(n_group=2)),
        (flash, "more chosen than there are", ["num_experts_per_tok"], dict(num_experts_per_tok=8)),
        (flash, "another router", ["scoring_func", "softmax"], dict(scoring_func="softmax")),
        (flash, "a list of feed-forwards too long", ["mlp_layer_types", "5 entries"], dict(mlp_layer_types=["dense"] * 5)),
        (flash, "a layer type nobody knows", ["mlp_layer_types", "layer 0", "lookup"],
         dict(mlp_layer_types=["lookup", "sparse", "sparse"])),
        (flash, "experts where the file has none", ["layers.0.mlp.gate.weight"],
         dict(mlp_layer_types=["sparse", "sparse", "sparse"])),
        ("step3p5-hub", "a clamp for too few layers", ["swiglu_limits", "2 entries"], dict(swiglu_limits=[0, 1])),
        ("step3p5-hub", "layers that are no numbers", ["moe_layers_enum"], dict(moe_layers_enum="1,x")),
        ("step3p5-hub", "bases for too few layers", ["rope_theta", "1 entries"], dict(rope_theta=[1e4])),
        ("mimo-v2-flash-hub", "sinks that nothing reads", ["attention_sink_bias"],
         dict(add_swa_attention_sink_bias=False)),
        ("mimo-v2-flash-hub", "windows switched off", ["hybrid_layer_pattern", "use_sliding_window"],
         dict(use_sliding_window=False)),
        ("gpt-oss-yarn", "windows of the architecture's own switched off", ["sliding_window", "use_sliding_window"],
         dict(use_sliding_window=False, layer_types=None)),
        ("gpt-oss-yarn", "no window", ["layer_types", "sliding_window"], dict(sliding_window=None)),
        ("ernie4-5-moe-bf16", "another choice of experts", ["moe_gate"], dict(moe_gate="top2")),
        (sparse, "an unknown kind of indexer", ["indexer_types", "layer 1", "partial"],
         dict(indexer_types=["full", "partial", "full", "shared", "shared"])),
        (sparse, "a first layer with nobody to share with", ["indexer_types", "first layer"],
         dict(indexer_types=["shared", "shared", "full", "shared", "shared"])),
        (sparse, "indexers for too few layers", ["indexer_types", "2 entries"], dict(indexer_types=["full", "shared"])),
        (sparse, "an indexer that nothing reads", ["layers.2.self_attn.indexer"],
         dict(indexer_types=["full", "shared", "shared", "shared", "shared"])),
        (sparse, "an indexer that the file lacks", ["layers.1.self_attn.indexer"],
         dict(indexer_types=["full", "full", "full", "shared", "shared"])),
        (sparse, "keys always seen", ["index_local_tokens"], dict(index_local_tokens=16)),
        (sparse, "no query bottleneck", ["q_lora_rank"], dict(q_lora_rank=None)),
        (sparse, "an index key narrower than its rotated part", ["index_head_dim", "qk_rope_head_dim"],
         dict(index_head_dim=4)),
    ]:
        checks.refused(f"{model}: {what}", words, "logits", damaged(scratch, model, set_config(**keys)), "--ids", "1",
                       "--out", scratch / "x.npy")


def text(checks, smollm2, scratch):
    goldens = json.loads((GOLDENS / "smollm2" / "goldens.json").read_text())["prompts"]
    for prompt in goldens:
        checks.answered(f"tokenize {prompt['name']}", lambda said: json.loads(said) == prompt["ids"], "tokenize", smollm2,
                        text=prompt["text"])
        checks.answered(f"tokenize --decode {prompt['name']}", lambda said: said == prompt["text"], "tokenize", smollm2,
                        "--decode", text=json.dumps(prompt["ids"]))
    chat = [{"role": "system", "content": "You are a helpful assistant. Answer in one sentence."},
            {"role": "user", "content": "What is the capital of France?"}]
    want = next(prompt["text"] for prompt in goldens if prompt["name"] == "capital")
    checks.answered("render", lambda said: said == want, "render", smollm2,
                    text=json.dumps(dict(messages=chat, add_generation_prompt=True)))
    checks.answered("complete", lambda said: "Paris" in said, "complete", smollm2, "--prompt", want, "--max-tokens", 20,
                    "--temperature", 0)
    for kv_type in ("fp8", "int8"):
        checks.answered(f"a cache of {kv_type}", lambda said: "Paris" in said, "complete", smollm2, "--prompt", want,
                        "--max-tokens", 20, "--temperature", 0, "--kv-type", kv_type)
    checks.refused("a cache of no type", ["--kv-type", "int7", "fp8", "int8"], "complete", smollm2, "--prompt", want, "--kv-type",
                   "int7")
    checks.answered("chat", lambda said: "Paris" in said, "chat", smollm2, "--temperature", 0, "--system",
                    chat[0]["content"], text=chat[1]["content"] + "\n")
    seeded = [checks.run("complete", smollm2, "--prompt", "Once upon a time", "--max-tokens", 16, "--temperature", 1,
                         "--seed", seed, "--threads", threads).stdout for seed, threads in ((7, 1), (7, 2), (8, 2))]
    checks.check(seeded[0] and seeded[0] == seeded[1] and seeded[0] != seeded[2],
                 f"a seed does not decide the text: {seeded}")
    checks.refused("ids that are no list", ["--decode"], "tokenize", smollm2, "--decode", text="{}")
    checks.answered("inspect --json", lambda said: isinstance(json.loads(said), dict), "inspect", smollm2, "--json")
    checks.answered("bench by context", lambda said: [c["context_tokens"] for c in json.loads(said)["contexts"]] == [8, 40]
                    and all(c["parts_ms"]["indexer"] > 0 for c in json.loads(said)["contexts"]), "bench",
                    GOLDENS / "glm-moe-dsa-mixed", "--streams", "0", "--contexts", "8,40", "--generate", "4", "--json")
    made = scratch / "synthetic"
    checks.answered("synth", lambda said: (made / "config.json").exists(), "synth", GOLDENS / "qwen3-sliding" / "config.json",
                    "--format", "bf16", "--seed", 3, "--out", made)
    checks.answered("a synthetic model runs", lambda said: len(said.strip().split(",")) == 4, "complete", made, "--ids",
                    "1,2,3", "--max-tokens", 4, "--print-ids", "--ignore-eos")


def memory_nodes(checks, scratch):
    """Machines as hwloc can be told to see them: one memory node, two, the first of two."""
    said = []
    for machine, threads in (("node:1 core:2 pu:1", 2), ("node:2 core:1 pu:1", 2), ("node:2 core:2 pu:1", 2)):
        out = scratch / "nodes.npy"
        done = checks.run("logits", GOLDENS / "glm4-moe-lite-f32", "--ids", "1,2,3", "--threads", threads, "--out", out,
                          HWLOC_SYNTHETIC=machine)
        said.append((done.returncode, out.read_bytes(), "lie on 2 in turn" in done.stderr))
    checks.check(all(code == 0 and logits == said[0][1] for code, logits, _ in said) and
                 [spread for _, _, spread in said] == [False, True, False], f"memory nodes: {said}")


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    checks = CliChecks(sys.argv[1])
    with tempfile.TemporaryDirectory() as scratch:
        mistakes(checks, pathlib.Path(scratch))
        refusals(checks, pathlib.Path(scratch))
        text(checks, sys.argv[2], pathlib.Path(scratch))
        memory_nodes(checks, pathlib.Path(scratch))
    return checks.end()


if __name__ == "__main__":
    sys.exit(main())
