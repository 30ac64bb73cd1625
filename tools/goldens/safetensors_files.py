#!/usr/bin/env python3
"""Writes tests/checkpoint/{dtypes,sharded}/ with the reference library, and the seeds of the safetensors fuzzer.

Values are a known function of the element's index, so that the test needs no second file.
Needs: pip install safetensors torch (torch for bfloat16 and fp8).
"""

import json
import pathlib
import struct

import torch
from safetensors.torch import save_file

TESTS = pathlib.Path(__file__).resolve().parents[2] / "tests/checkpoint"


def ramp(*shape, dtype=torch.float32):
    """Element i is i / 8 - 2: exact in every float type used here for the sizes used here."""
    return (torch.arange(torch.Size(shape).numel()) / 8 - 2).reshape(shape).to(dtype)


def write_dtypes(folder):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text('{"model_type": "dtypes", "hidden_size": 5}\n')
    tensors = {
        "f32": ramp(3, 5),
        "f16": ramp(3, 5, dtype=torch.float16),
        "bf16": ramp(3, 5, dtype=torch.bfloat16),
        "stack": ramp(2, 3, 4, dtype=torch.bfloat16),
        "vector": ramp(7),
        "scalar": ramp(1).reshape(()),
        "empty": torch.zeros(0, 4),
        "i64": torch.arange(4),
        "u8": torch.arange(5, dtype=torch.uint8),
        "bool": torch.tensor([True, False]),
        "f64": ramp(2, dtype=torch.float64),
        "f8_e4m3": ramp(5, dtype=torch.float8_e4m3fn),
        "f8_e5m2": ramp(3, dtype=torch.float8_e5m2),
        'name "with" ☃': ramp(1),
    }
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt", "note": "a \"quote\" and ü"})


def write_sharded(folder):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text('{"model_type": "sharded"}\n')
    shards = [{"a": ramp(2, 4), "b": ramp(3, dtype=torch.bfloat16)}, {"c": ramp(4, 2)}]
    index = {"metadata": {"total_size": 0}, "weight_map": {}}
    for number, tensors in enumerate(shards, 1):
        name = f"model-{number:05}-of-{len(shards):05}.safetensors"
        save_file(tensors, folder / name, metadata={"format": "pt"})
        for tensor, value in tensors.items():
            index["weight_map"][tensor] = name
            index["metadata"]["total_size"] += value.nbytes
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n")


def write_seeds(folder):
    folder.mkdir(parents=True, exist_ok=True)
    header = {"__metadata__": {"format": "pt"}, "a": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]},
              "b": {"dtype": "BF16", "shape": [4], "data_offsets": [16, 24]}}
    seeds = {
        "two": (json.dumps(header), bytes(24)),
        "none": ("{}", b""),
        "escapes": ('{"\\u00e9\\n":{"dtype":"U8","shape":[],"data_offsets":[0,1]}}  ', b"x"),
        "empty": ('{"e":{"dtype":"F16","shape":[0,3],"data_offsets":[0,0]}}', b""),
        "fp4": ('{"q":{"dtype":"F4","shape":[1,2],"data_offsets":[0,1]}}', b"q"),
    }
    for name, (text, data) in seeds.items():
        raw = text.encode()
        raw += b" " * (-len(raw) % 8)
        (folder / name).write_bytes(struct.pack("<Q", len(raw)) + raw + data)


if __name__ == "__main__":
    write_dtypes(TESTS / "dtypes")
    write_sharded(TESTS / "sharded")
    write_seeds(TESTS / "fuzz/safetensors")
