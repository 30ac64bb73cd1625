"""Quantized checkpoints as they are: every format against the same weights dequantized by plain numpy (tests/formats.py).

    python tests/e2e/check_formats.py GANNET

Of a small random model of `gannet synth` two checkpoints are made for each format: one with its tensors, one with what
they mean in fp32. Their logits are compared, with the reference kernels and the fast ones, in one process and in two.
Then R4's table, MTP layers under Quark MXFP4, and what is refused. What gannet itself writes: check_written.py. Needs numpy only.
"""

import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import formats as f  # noqa: E402
from checks import Checks  # noqa: E402

TOLERANCE = 1e-4
COMMON = dict(max_position_embeddings=256, vocab_size=259, hidden_size=192, intermediate_size=320, rms_norm_eps=1e-6,
              hidden_act="silu", num_hidden_layers=2, torch_dtype="float32", tie_word_embeddings=False,
              moe_intermediate_size=64, n_routed_experts=8, num_experts_per_tok=3, n_shared_experts=1,
              first_k_dense_replace=1, norm_topk_prob=True, routed_scaling_factor=1.8, kv_lora_rank=64, q_lora_rank=64,
              qk_nope_head_dim=16, qk_rope_head_dim=16, v_head_dim=32, num_attention_heads=4, num_key_value_heads=4,
              rope_parameters=dict(rope_type="default", rope_theta=10000.0))
FLASH = {**COMMON, "architectures": ["Glm4MoeLiteForCausalLM"], "model_type": "glm4_moe_lite"}
GLM5 = {**COMMON, "architectures": ["GlmMoeDsaForCausalLM"], "model_type": "glm_moe_dsa", "index_topk": 9, "index_n_heads": 4,
        "index_head_dim": 32, "num_nextn_predict_layers": 1}
GPT_OSS = dict(architectures=["GptOssForCausalLM"], model_type="gpt_oss", max_position_embeddings=256, vocab_size=259,
               hidden_size=192, intermediate_size=64, rms_norm_eps=1e-6, num_hidden_layers=2, torch_dtype="float32",
               tie_word_embeddings=False, hidden_act="silu", num_attention_heads=4, num_key_value_heads=2, head_dim=32,
               num_local_experts=4, num_experts_per_tok=2, sliding_window=12, attention_bias=True,
               rope_parameters=dict(rope_type="default", rope_theta=10000.0),
               layer_types=["sliding_attention", "full_attention"])
IDS = [(7 * i * i + 3 * i) % 259 for i in range(60)]


def all_projections(module):
    return "_proj" in module.rsplit(".", 1)[-1] or module.endswith((".wq_b", ".wk"))


def random_order(k):
    return np.random.default_rng(k).permutation(k)


# name -> (dtype in the census, quantize, dequantize, quantization_config)
FORMATS = {
    "mxfp4": ("MXFP4", f.quantize_mxfp4, f.dequantize_mxfp4, dict(quant_method="quark", global_quant_config=dict(
        weight=dict(dtype="fp4", group_size=32, qscheme="per_group", scale_format="e8m0")), exclude=["lm_head"])),
    "nvfp4 of ModelOpt": ("NVFP4", f.quantize_nvfp4, f.dequantize_nvfp4, dict(quant_method="modelopt", quant_algo="NVFP4")),
    "nvfp4 of compressed-tensors": ("NVFP4", f.quantize_nvfp4_packed, f.dequantize_nvfp4_packed,
                                    dict(quant_method="compressed-tensors")),
    "fp8 by blocks": ("FP8", f.quantize_fp8_block, f.dequantize_fp8_block,
                      dict(quant_method="fp8", weight_block_size=[128, 128])),
    "fp8 by small blocks": ("FP8", lambda w: f.quantize_fp8_block(w, 32), lambda p: f.dequantize_fp8_block(p, 32),
                            dict(quant_method="fp8", weight_block_size=[32, 32])),
    "fp8 by tensor": ("FP8", f.quantize_fp8_tensor, f.dequantize_eight, dict(quant_method="quark")),
    "fp8 by channel": ("FP8", f.quantize_fp8_channel, f.dequantize_eight, dict(quant_method="compressed-tensors")),
    "int8 by channel": ("INT8", f.quantize_int8_channel, f.dequantize_eight, dict(quant_method="compressed-tensors")),
    "int4": ("INT4", f.quantize_packed, f.dequantize_packed, dict(quant_method="compressed-tensors")),
    "int4 with zero points": ("INT4", lambda w: f.quantize_packed(w, symmetric=False), f.dequantize_packed,
                              dict(quant_method="compressed-tensors")),
    "int8 packed": ("UINT8", lambda w: f.quantize_packed(w, 8), lambda p: f.dequantize_packed(p, 8), None),
    "awq": ("AWQ", f.quantize_awq, f.dequantize_awq, dict(quant_method="awq", bits=4, group_size=32, version="gemm")),
    "gptq": ("GPTQ", f.quantize_gptq, f.dequantize_gptq, dict(quant_method="gptq", bits=4, group_size=32, desc_act=False)),
    "gptq with desc_act": ("GPTQ", lambda w: f.quantize_gptq(w, order=random_order(w.shape[1])), f.dequantize_gptq,
                           dict(quant_method="gptq", bits=4, group_size=32, desc_act=True)),
    "gptq version 2, 8 bits": ("GPTQ8", lambda w: f.quantize_gptq(w, 8, version=2), lambda p: f.dequantize_gptq(p, 8, 2),
                               dict(quant_method="gptq", bits=8, group_size=32, checkpoint_format="gptq_v2")),
}


class Formats(Checks):
    def __init__(self, program, scratch):
        super().__init__()
        self.program, self.scratch, self.count = program, pathlib.Path(scratch), 0

    def run(self, *arguments, ranks=1):
        launcher = ["mpirun", "--allow-run-as-root", "--oversubscribe", "-np", str(ranks)] if ranks > 1 else []
        return subprocess.run([*launcher, self.program, *map(str, arguments)], capture_output=True, text=True, timeout=120)

    def synth(self, config):
        folder = self.folder()
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps(config))
        done = self.run("synth", folder / "config.json", "--format", "f32", "--seed", 3, "--out", folder / "model")
        assert done.returncode == 0, done.stderr
        return f.read_safetensors(next((folder / "model").glob("*.safetensors")))

    def folder(self):
        self.count += 1
        return self.scratch / str(self.count)

    def write(self, config, tensors, quantization=None):
        folder = self.folder()
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps({**config, **({"quantization_config": quantization} if quantization else {})}))
        f.write_safetensors(folder / "model.safetensors", tensors)
        return folder

    def logits(self, model, *more, ranks=1):
        """The logits, and what was said on stderr."""
        out = self.scratch / "logits.npy"
        out.unlink(missing_ok=True)
        done = self.run("logits", model, "--ids", ",".join(map(str, IDS)), "--prompt", 40, "--threads", 1, "--out", out, *more,
                        ranks=ranks)
        if done.returncode != 0:
            raise RuntimeError(done.stderr.strip()[-400:])
        return np.load(out), done.stderr

    def compare(self, what, quantized, plain, *more, tolerance=TOLERANCE, **options):
        try:
            got, said = self.logits(quantized, *more, **options)
            want, _ = self.logits(plain, "--kernels", "reference", *(["--mtp"] if "--mtp" in more else []))
        except (RuntimeError, OSError, subprocess.TimeoutExpired) as error:
            self.check(False, f"{what}: {error}")
            return ""
        difference = np.abs(got - want).max()
        print(f"{what}: largest difference {difference:.1e} (logits to {np.abs(want).max():.1f})", flush=True)
        self.check(difference < tolerance, f"{what}: differs by {difference:.1e}")
        return said


def quantized(tensors, is_quantized, quantize, dequantize):
    """The checkpoint with the format's tensors, and the one with what they mean."""
    held, meant = {}, {}
    for name, (dtype, array) in tensors.items():
        module = name.removesuffix(".weight")
        if array.ndim != 2 or not is_quantized(module):
            held[name] = meant[name] = (dtype, array)
            continue
        parts = quantize(array)
        held.update({module + ending: part for ending, part in parts.items()})
        meant[name] = ("F32", np.ascontiguousarray(dequantize(parts), np.float32))
    return held, meant


def every_format(checks):
    tensors = checks.synth(FLASH)
    for name, (dtype, quantize, dequantize, quantization) in FORMATS.items():
        held, meant = quantized(tensors, all_projections, quantize, dequantize)
        model, plain = checks.write(FLASH, held, quantization), checks.write(FLASH, meant)
        said = checks.compare(f"{name}, reference kernels", model, plain, "--kernels", "reference")
        checks.check(f" {dtype} (" in said and "quantization_config" not in said, f"{name}: the log says {said[-600:]!r}")
        checks.compare(f"{name}, two ranks", model, plain, "--kernels", "reference", ranks=2)
        inspected = checks.run("inspect", model)
        checks.check(f"\n{dtype}: " in inspected.stdout, f"{name}: inspect says {inspected.stdout[-400:]} {inspected.stderr[-300:]}")
        shutil.rmtree(model)
        shutil.rmtree(plain)


def gpt_oss(checks):
    tensors = checks.synth(GPT_OSS)
    held, meant = {}, {}
    for name, (dtype, array) in tensors.items():
        if array.ndim != 3:
            held[name] = meant[name] = (dtype, array)
            continue
        parts = f.quantize_mxfp4(np.ascontiguousarray(array.swapaxes(1, 2)))  # [E, K, N] in bf16, [E, N, K] here
        blocks, scales = parts[".weight"][1], parts[".weight_scale"][1]
        held[name + "_blocks"] = ("U8", blocks.reshape(*scales.shape, 16))
        held[name + "_scales"] = ("U8", scales)
        meant[name] = ("F32", np.ascontiguousarray(f.dequantize_mxfp4(parts).swapaxes(1, 2)))
    quantization = dict(quant_method="mxfp4", modules_to_not_convert=["model.layers.*.self_attn", "model.layers.*.mlp.router",
                                                                       "model.embed_tokens", "lm_head"])
    model, plain = checks.write(GPT_OSS, held, quantization), checks.write(GPT_OSS, meant)
    said = checks.compare("gpt-oss MXFP4, reference kernels", model, plain, "--kernels", "reference")
    checks.check(" MXFP4 (" in said, f"gpt-oss: the log says {said[-400:]!r}")
    checks.compare("gpt-oss MXFP4, two ranks", model, plain, "--kernels", "reference", ranks=2)


def mtp_under_quark(checks):
    """R4: what is loaded as what, whatever the configuration says."""
    tensors = checks.synth(GLM5)
    layer, eh = "model.layers.2.", "model.layers.2.eh_proj"
    fp4 = dict(quant_method="quark", global_quant_config=dict(weight=dict(dtype="fp4")))
    cases = [  # name, what is quantized, the exclude list, words of the log (none: no mismatch)
        ("all FP4, eh_proj too", all_projections, ["lm_head"], None),
        ("eh_proj bf16, excluded", lambda m: all_projections(m) and m != eh, ["lm_head", eh], None),
        ("MTP bf16, excluded by layer", lambda m: all_projections(m) and not m.startswith(layer), ["lm_head", layer[:-1]], None),
        ("MTP bf16, excluded by submodule", lambda m: all_projections(m) and not m.startswith(layer),
         ["lm_head", eh, *(layer + x for x in ("self_attn", "mlp.experts", "mlp.shared_experts"))], None),
        ("MTP bf16, excluded by regular expression", lambda m: all_projections(m) and not m.startswith(layer),
         ["lm_head", r"re:model\.layers\.2\..*"], None),
        ("MTP bf16, excluded by glob", lambda m: all_projections(m) and not m.startswith(layer),
         ["lm_head", "model.layers.2.*"], None),
        ("MTP mixed: experts FP4, the rest bf16", lambda m: all_projections(m) and (not m.startswith(layer) or ".experts." in m),
         ["lm_head", eh, layer + "self_attn", layer + "mlp.shared_experts"], None),
        ("wrong exclude: eh_proj is FP4", all_projections, ["lm_head", eh],
         [f"excludes 1 module ({eh}) that the files hold as MXFP4", "read as held"]),
        ("wrong exclude: the layer of another model", lambda m: all_projections(m) and not m.startswith(layer),
         ["lm_head", "model.layers.78"],
         ["does not exclude", "that the files hold as BF16", "excludes 1 module that the files do not have: model.layers.78"]),
        ("broken regular expression", all_projections, ["lm_head", "re:(eh_proj"], ["re:(eh_proj", "is no regular expression"]),
    ]
    for name, is_quantized, exclude, words in cases:
        bf16 = {n: ("BF16", f.to_bf16(a)) if d == "F32" and a.ndim == 2 else (d, a) for n, (d, a) in tensors.items()}
        meant_bf16 = {n: ("F32", f.floats(t)) if t[0] == "BF16" else t for n, t in bf16.items()}
        held, meant = quantized(meant_bf16, is_quantized, f.quantize_mxfp4, f.dequantize_mxfp4)
        held.update({n: t for n, t in bf16.items() if n in held and held[n][0] == "F32" and t[0] == "BF16"})
        model, plain = checks.write(GLM5, held, {**fp4, "exclude": exclude}), checks.write(GLM5, meant)
        said = checks.compare(f"R4: {name}", model, plain, "--kernels", "reference")
        checks.compare(f"R4: {name}, draft head", model, plain, "--kernels", "reference", "--mtp")
        lines = [line for line in said.splitlines() if "quantization_config" in line]
        if words is None:
            checks.check(not lines, f"R4, {name}: nothing to say, but {lines}")
        else:
            print(*lines, sep="\n", flush=True)
            checks.check(all(any(word in line for line in lines) for word in words), f"R4, {name}: expected {words} in {lines}")


def refusals(checks):
    tensors = checks.synth(FLASH)
    module = "model.layers.0.mlp.down_proj"
    fp4 = f.quantize_mxfp4(tensors[module + ".weight"][1])
    gptq = f.quantize_gptq(tensors[module + ".weight"][1])
    k = tensors[module + ".weight"][1].shape[1]
    fp8 = f.quantize_fp8_block(tensors[module + ".weight"][1])
    cases = [  # name, the module's tensors, words of the sentence
        ("scales of another group size", {**fp4, ".weight_scale": ("U8", fp4[".weight_scale"][1][:, ::2])},
         [module + ".weight_scale is U8", "U8 [N, K/32] (MXFP4)"]),
        ("values without scales", {".weight": fp4[".weight"]}, [module + ".weight", "dtype U8", "without the scales"]),
        ("half of the columns", {".weight": ("U8", fp4[".weight"][1][:, :80]), ".weight_scale": ("U8", fp4[".weight_scale"][1][:, :5])},
         [module + ".weight (MXFP4) has shape [192, 160]", "makes it [192, 320]"]),
        ("both plain and quantized", {".weight": tensors[module + ".weight"], **gptq}, [module + ".weight", "both plain and quantized"]),
        ("a group that is not there", {**gptq, ".g_idx": ("I32", np.full(k, 99, np.int32))}, ["g_idx has 99, but there are 10 groups"]),
        ("no zero points", {e: t for e, t in gptq.items() if e != ".qzeros"}, [module + ".qweight", "qzeros"]),
        ("scales of other blocks", {**fp8, ".weight_scale_inv": ("F32", np.ones((3, 3), np.float32))},
         [module + ".weight_scale_inv is F32 [3, 3]", "128 x 128"]),
        ("no global scale", {e: t for e, t in f.quantize_nvfp4(tensors[module + ".weight"][1]).items() if e != ".weight_scale_2"},
         ["NVFP4", "weight_scale_2 or weight_global_scale"]),
    ]
    for name, parts, words in cases:
        held = {n: t for n, t in tensors.items() if n != module + ".weight"}
        held.update({module + ending: part for ending, part in parts.items()})
        done = checks.run("logits", checks.write(FLASH, held), "--ids", "1,2", "--out", checks.scratch / "no.npy")
        lines = [line for line in done.stderr.splitlines() if line.startswith("gannet:")]
        checks.check(done.returncode == 2 and len(lines) == 1 and all(word in lines[0] for word in words),
                     f"refused, {name}: expected {words}, got {done.returncode} {lines}")


def run_checks(usage, *parts):
    """The exit code of a script whose one argument is the program."""
    if len(sys.argv) != 2:
        sys.exit(usage)
    with tempfile.TemporaryDirectory() as scratch:
        checks = Formats(sys.argv[1], scratch)
        for part in parts:
            part(checks)
        return checks.end()


if __name__ == "__main__":
    sys.exit(run_checks(__doc__, every_format, gpt_oss, mtp_under_quark, refusals))
