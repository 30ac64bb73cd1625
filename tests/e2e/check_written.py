"""What `gannet quantize` and `gannet synth` write loads back, and means in plain numpy (tests/formats.py) what it should.

    python tests/e2e/check_written.py GANNET

Needs numpy only.
"""

import json
import pathlib
import sys

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import formats as f  # noqa: E402
from check_formats import GLM5, GPT_OSS, run_checks  # noqa: E402

# Every K a multiple of the 128 values that share a scale in AWQ and GPTQ.
WIDE = {**GLM5, "hidden_size": 256, "intermediate_size": 384, "moe_intermediate_size": 128, "kv_lora_rank": 128,
        "q_lora_rank": 128}


def named(ending, dtype=None):
    return lambda parts: ending in parts and (dtype is None or parts[ending][0] == dtype)


# What `synth` and `quantize` write: name -> (how a module's tensors tell, dequantize, the widest error of a value of w).
# The error is half of the widest step between codes in units of the group's largest value: e2m1's 4..6 by a scale of
# max / 6, to which e4m3 rounds (1/16 more), or by 2^(floor(log2 max) - 2) <= max / 4, where up to 2 units are cut off; e4m3
# 16 of 448; int4 half of a step of max / 7, or of (high - low) / 15 <= 2 max / 15 with a zero point off by half of one; a
# scale of fp16 or bf16 is off by another 2^-9 of the value.
def largest(group):
    return lambda w: np.repeat(np.abs(w).reshape(len(w), -1, group).max(-1), group, 1)


READERS = {
    "gptq": (named(".g_idx"), f.dequantize_gptq, lambda w: (0.5 / 7 + 2 ** -9) * largest(128)(w)),
    "awq": (named(".qzeros"), f.dequantize_awq, lambda w: (2 / 15 + 2 ** -9) * largest(128)(w)),
    "int4": (named(".weight_packed", "I32"), f.dequantize_packed, lambda w: (0.5 / 7 + 2 ** -8) * largest(32)(w)),
    "nvfp4-packed": (named(".weight_packed", "U8"), f.dequantize_nvfp4_packed, lambda w: (1 / 6 + 1 / 16) * largest(16)(w)),
    "nvfp4": (named(".weight_scale_2"), f.dequantize_nvfp4, lambda w: (1 / 6 + 1 / 16) * largest(16)(w)),
    "mxfp4": (named(".weight", "U8"), f.dequantize_mxfp4, lambda w: 0.25 * largest(32)(w)),
    "fp8-block": (named(".weight_scale_inv"), f.dequantize_fp8_block, lambda w: np.full(w.shape, 16 / 448 * np.abs(w).max())),
    "fp8-channel": (lambda p: named(".weight", "F8_E4M3")(p) and p[".weight_scale"][1].ndim == 2, f.dequantize_eight,
                    lambda w: 16 / 448 * largest(w.shape[1])(w)),
    "fp8-tensor": (named(".weight", "F8_E4M3"), f.dequantize_eight, lambda w: np.full(w.shape, 16 / 448 * np.abs(w).max())),
    "int8": (named(".weight", "I8"), f.dequantize_eight, lambda w: 0.5 / 127 * largest(w.shape[1])(w)),
}
ENDINGS = (".weight_packed", ".weight_scale", ".weight_scale_2", ".weight_scale_inv", ".weight_global_scale", ".weight_shape",
           ".weight", ".qweight", ".qzeros", ".scales", ".g_idx")


def meant_by(held):
    """What a folder's tensors mean in fp32, read by numpy alone, and what each quantized matrix is held as."""
    modules = {}
    for name, tensor in held.items():
        module, dot, ending = name.rpartition(".")
        modules.setdefault(module, {})[dot + ending] = tensor
    meant, kinds = {}, {}
    for module, parts in modules.items():
        kind = next((kind for kind, (tells, _, _) in READERS.items() if tells(parts)), None)
        if kind:
            kinds[module + ".weight"] = kind
            meant[module + ".weight"] = ("F32", np.ascontiguousarray(READERS[kind][1](parts), np.float32))
            parts = {ending: tensor for ending, tensor in parts.items() if ending not in ENDINGS}
        meant.update({module + ending: ("F32", f.floats(tensor)) for ending, tensor in parts.items()})
    return meant, kinds


def read_folder(folder):
    tensors = {}
    for path in folder.glob("*.safetensors"):
        tensors.update(f.read_safetensors(path))
    return tensors


def gpt_oss_written(checks):
    """The experts of a layer in two tensors, as published; all else plain."""
    folder = checks.folder()
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(GPT_OSS))
    for what, arguments in (("synth of bf16", ["synth", folder / "config.json", "--format", "bf16", "--seed", 3, "--out", folder / "bf16"]),
                            ("synth", ["synth", folder / "config.json", "--format", "mxfp4", "--seed", 4, "--out", folder / "synth"]),
                            ("quantize", ["quantize", folder / "bf16", "--format", "mxfp4", "--out", folder / "quantize"])):
        done = checks.run(*arguments)
        checks.check(done.returncode == 0, f"{what} of gpt-oss: {done.stderr}")
    floats = {name: f.floats(tensor) for name, tensor in read_folder(folder / "bf16").items()}
    for what in ("synth", "quantize"):
        held = read_folder(folder / what)
        meant, stacks = {}, []
        for name, tensor in held.items():
            if name.endswith("_blocks"):
                parts = {".weight": ("U8", tensor[1].reshape(*tensor[1].shape[:2], -1)),
                         ".weight_scale": held[name.replace("_blocks", "_scales")]}
                stacks.append(name.removesuffix("_blocks"))
                meant[stacks[-1]] = ("F32", np.ascontiguousarray(f.dequantize_mxfp4(parts).swapaxes(1, 2)))
            elif not name.endswith("_scales"):
                meant[name] = ("F32", f.floats(tensor))
        checks.check(len(stacks) == 4 and set(meant) == set(floats), f"{what} of gpt-oss: {stacks}, {set(meant) ^ set(floats)}")
        said = checks.compare(f"{what} of gpt-oss --format mxfp4, read by numpy", folder / what, checks.write(GPT_OSS, meant), "--kernels",
                              "reference")
        checks.check("quantization_config" not in said, f"{what} of gpt-oss: {said[-500:]}")
    for name, want in floats.items():
        rows = want.swapaxes(1, 2).reshape(-1, want.shape[1]) if name in stacks else want  # blocks lie along K
        got = meant[name][1].swapaxes(1, 2).reshape(rows.shape) if name in stacks else meant[name][1]
        bound = 1.001 * READERS["mxfp4"][2](rows) if name in stacks else 0
        checks.check((np.abs(got - rows) <= bound).all(), f"quantize of gpt-oss: {name} is off by {np.abs(got - rows).max():.1e}")
    done = checks.run("quantize", folder / "bf16", "--format", "mxfp4", "--sensitive", "int8", "--out", checks.folder())
    checks.check(done.returncode == 2 and "MXFP4 and floats alone" in done.stderr, f"quantize of gpt-oss --sensitive int8: {done.stderr}")
    done = checks.run("quantize", folder / "bf16", "--exclude", "*.mlp.experts.down_proj", "--out", folder / "part")
    names = read_folder(folder / "part") if done.returncode == 0 else {}
    checks.check(sum("gate_up_proj_blocks" in n for n in names) == 2 and not any("down_proj_blocks" in n for n in names),
                 f"quantize of gpt-oss --exclude: {done.stderr} {list(names)}")


def written(checks):
    """`quantize` and `synth`: what they write loads back, and means in plain numpy what it should."""
    source = checks.folder()
    source.mkdir()
    (source / "config.json").write_text(json.dumps(WIDE))
    made = checks.run("synth", source / "config.json", "--format", "bf16", "--seed", 3, "--out", source / "model")
    checks.check(made.returncode == 0, made.stderr)
    floats = {name: f.floats(tensor) for name, tensor in read_folder(source / "model").items()}
    draft = "model.layers.2."  # 8 experts and the shared one of three, four of attention, two of the indexer, eh_proj: 34
    every = [(kind, [], 0, 0) for kind in READERS]
    for kind, more, of_mtp, of_sensitive in (*every, ("mxfp4", ["--mtp", "--sensitive", "int8"], 34, 5),
                                             ("fp8-block", ["--mtp", "--exclude", draft + "eh_proj"], 33, 0),
                                             ("mxfp4", ["--exclude", r"re:.*down_proj", "--exclude", "model.layers.0.*"], 0, 0)):
        what = f"quantize --format {kind} {' '.join(more)}"
        out = checks.folder()
        done = checks.run("quantize", source / "model", "--format", kind, *more, "--out", out)
        if not checks.check(done.returncode == 0, f"{what}: {done.stderr}"):
            continue
        meant, kinds = meant_by(read_folder(out))
        checks.check(set(meant) == set(floats), f"{what}: other tensors {set(meant) ^ set(floats)}")
        drafts = sum(name.startswith(draft) and held == kind for name, held in kinds.items())
        sensitive = sum(name.endswith(("kv_b_proj.weight", "embed_tokens.weight", "lm_head.weight")) for name in kinds)
        checks.check(of_mtp == drafts and of_sensitive == sensitive, f"{what}: {drafts} of the draft head, {sensitive} sensitive")
        checks.check(set(kinds.values()) == {kind, *(["int8"] if of_sensitive else [])}, f"{what}: holds {set(kinds.values())}")
        if "--exclude" in more:
            checks.check(not any("down_proj" in n or "layers.0." in n for n in kinds) if kind == "mxfp4"
                         else draft + "eh_proj.weight" not in kinds, f"{what}: {kinds}")
        for name, want in floats.items():
            got = meant[name][1]
            if name not in kinds:
                checks.check(np.array_equal(got, want), f"{what}: {name} changed")
                continue
            off = np.abs(got - want)
            checks.check((off <= 1.001 * READERS[kinds[name]][2](want)).all(), f"{what}: {name} is off by {off.max():.1e}")
        plain = checks.write(WIDE, meant)
        said = checks.compare(f"{what}, read by numpy", out, plain, "--kernels", "reference")
        checks.compare(f"{what}, draft head", out, plain, "--kernels", "reference", "--mtp")
        checks.check("quantization_config" not in said and (out / "tokenizer.json").exists(), f"{what}: {said[-500:]}")
    for kind in READERS:
        out = checks.folder()
        done = checks.run("synth", source / "config.json", "--format", kind, "--seed", 4, "--out", out)
        checks.check(done.returncode == 0, f"synth {kind}: {done.stderr}")
        meant, kinds = meant_by(read_folder(out))
        checks.check(set(meant) == set(floats), f"synth {kind}: other tensors")
        off = [name for name in kinds if abs(np.std(meant[name][1]) / 0.02 - 1) > 0.1]
        checks.check(kind in kinds.values() and not off, f"synth {kind}: not of deviation 0.02: {off}")
        said = checks.compare(f"synth --format {kind}, read by numpy", out, checks.write(WIDE, meant), "--kernels", "reference")
        checks.check("quantization_config" not in said, f"synth {kind}: {said[-500:]}")
    for arguments, words in ((["--format", "q4"], "--format is q4"), (["--exclude", "model.layers.9"], "matches no module"),
                             (["--exclude", "re:(x"], "no regular expression"), (["--sensitive", "int8", "--format", "fp8-block"], "goes with Quark")):
        done = checks.run("quantize", source / "model", *arguments, "--out", checks.folder())
        checks.check(done.returncode == 2 and words in done.stderr, f"quantize {arguments}: {done.stderr}")
    done = checks.run("quantize", out, "--out", checks.folder())
    checks.check(done.returncode == 2 and "quantized already" in done.stderr, f"quantize of a quantized one: {done.stderr}")


if __name__ == "__main__":
    sys.exit(run_checks(__doc__, written, gpt_oss_written))
