#!/usr/bin/env python3
"""Holds tests/configs/*/tensors.txt and spec.txt against independent readers of the same models.

usage: check_with_transformers.py [FILE.gguf FOLDER]
Without arguments: every Hugging Face folder, with transformers (models built without memory, on the meta device).
With arguments: a GGUF file against the folder that holds its metadata. Not part of the test suite: it needs torch,
transformers and gguf.
"""
import re
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def planned(folder):
    lines = (folder / "tensors.txt").read_text().splitlines()[1:]
    return {name: tuple(map(int, dims.split(", "))) for name, dims in (re.match(r"(\S+) \[(.*)\]", l).groups() for l in lines)}


def compare(folder, real):
    plan = planned(folder)
    wrong = sorted(name for name in plan.keys() | real.keys() if plan.get(name) != real.get(name))
    for name in wrong[:10]:
        print(f"{folder.name}: {name}: planned {plan.get(name)}, really {real.get(name)}")
    print(f"{folder.name}: {len(plan)} tensors, {len(wrong)} differ")
    return not wrong


def check_windows(folder, config):
    """The windows of spec.txt against what the config class computed."""
    windows = {}
    layers = range(0)
    for line in (folder / "spec.txt").read_text().splitlines():
        if match := re.match(r"layers? (\d+)(?:-(\d+))?$", line):
            layers = range(int(match[1]), int(match[2] or match[1]) + 1)
        elif match := re.match(r"  window: (\d+) tokens", line):
            windows.update((layer, int(match[1])) for layer in layers)
    types = getattr(config, "layer_types", None) or ["full_attention"] * config.num_hidden_layers
    real = {layer: config.sliding_window for layer, kind in enumerate(types) if kind == "sliding_attention"}
    print(f"{folder.name}: {len(real)} layers slide, {'as planned' if windows == real else f'but planned {windows}'}")
    return windows == real


def main():
    if len(sys.argv) == 3:
        from gguf import GGUFReader

        reader = GGUFReader(sys.argv[1])
        real = {t.name: tuple(int(n) for n in reversed(t.shape)) for t in reader.tensors}
        return 0 if compare(Path(sys.argv[2]), real) else 1
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    good = True
    for folder in sorted(path.parent for path in HERE.glob("*/config.json")):
        if '"general.architecture"' in (folder / "config.json").read_text():
            continue
        config = AutoConfig.from_pretrained(folder)
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config)
        tied = set(model.all_tied_weights_keys) if config.tie_word_embeddings else set()
        real = {name: tuple(t.shape) for name, t in model.state_dict().items() if name not in tied}
        good &= compare(folder, real) and check_windows(folder, config)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
