#!/usr/bin/env python3
"""Writes tests/checkpoint/rows.gguf and the seeds of the GGUF fuzzer.

rows.gguf holds, for each block type, a tensor `rows.TYPE` of random and of edge-case blocks and, as
`expected.TYPE` in F32, what the `gguf` package (gguf.quants.dequantize) makes of them; its metadata has a key of
every value type. Needs: pip install gguf numpy.
"""

import pathlib
import struct

import gguf
import numpy as np
from gguf import GGMLQuantizationType as T

REPO = pathlib.Path(__file__).resolve().parents[2]
ROWS, COLS = 2, 512
rng = np.random.default_rng(20240607)

# Byte offsets of the fp16 fields in a block.
HALVES = {"Q8_0": [0], "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q4_K": [0, 2], "Q5_K": [0, 2],
          "Q6_K": [208], "MXFP4": []}
# Scales worth a look: zeros, subnormals, the smallest normal, one, the largest, a negative one.
EDGES = np.array([0x0000, 0x8000, 0x0001, 0x83FF, 0x0400, 0x3C00, 0x7BFF, 0xB555], np.uint16)


def random_blocks(name, rows, cols):
    values, size = gguf.GGML_QUANT_SIZES[T[name]]
    blocks = rng.integers(0, 256, (rows * cols // values, size), dtype=np.uint8)
    for field, at in enumerate(HALVES[name]):
        scales = rng.normal(0, 0.02, len(blocks)).astype(np.float16).view(np.uint16)
        edges = min(len(EDGES), len(blocks) - 1)
        scales[:edges] = np.roll(EDGES, field)[:edges]
        blocks[:, at:at + 2] = scales[:, None].view(np.uint8)
    if name == "MXFP4":  # E8M0: 255 is NaN, which this package reads as a number
        blocks[:, 0] = blocks[:, 0] % 255
        blocks[:8, 0] = [0, 1, 2, 126, 127, 128, 253, 254]
    return blocks.reshape(rows, -1)


def rows_of(name):
    kind = T[name]
    if name == "F32":
        return rng.normal(0, 1, (ROWS, COLS)).astype(np.float32)
    if name == "F16":
        halves = rng.integers(0, 1 << 16, (ROWS, COLS), dtype=np.uint16)
        halves[(halves & 0x7C00) == 0x7C00] = 0x7C00  # infinities; no NaNs, whose payload conversions may change
        return halves.view(np.float16)
    if name == "BF16":
        return gguf.quants.quantize(rng.normal(0, 1, (ROWS, COLS)).astype(np.float32), kind)
    if name in ("Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1"):  # a row from the package's own quantizer, one of any bytes
        real = gguf.quants.quantize(rng.normal(0, 1, (1, COLS)).astype(np.float32), kind)
        return np.concatenate([real, random_blocks(name, 1, COLS)])
    return random_blocks(name, 4, COLS)


def write_rows(path):
    writer = gguf.GGUFWriter(path, "golden")
    writer.add_uint8("test.u8", 200)
    writer.add_int8("test.i8", -100)
    writer.add_uint16("test.u16", 60000)
    writer.add_int16("test.i16", -30000)
    writer.add_uint32("test.u32", 4000000000)
    writer.add_int32("test.i32", -2000000000)
    writer.add_float32("test.f32", 0.1)
    writer.add_uint64("test.u64", 2**64 - 1)
    writer.add_int64("test.i64", -(2**63))
    writer.add_float64("test.f64", 0.1)
    writer.add_bool("test.bool", True)
    writer.add_string("test.string", "grüß\n")
    writer.add_array("test.short", list(range(64)))
    writer.add_array("test.long", list(range(65)))
    writer.add_array("test.bytes", [b"\xff\xfe", b"", "é".encode()])
    for name in ["F32", "F16", "BF16", *HALVES]:
        rows = rows_of(name)
        expected = gguf.quants.dequantize(rows.view(np.uint8), T[name]).astype(np.float32)
        if name in ("F32", "F16"):
            writer.add_tensor(f"rows.{name}", rows)
        else:
            writer.add_tensor(f"rows.{name}", rows, raw_dtype=T[name])
        writer.add_tensor(f"expected.{name}", expected.reshape(-1, COLS))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def text(value):
    return struct.pack("<Q", len(value)) + value


def seed(keys, tensors, data, version=3):
    """A small file: keys are (name, type, bytes), tensors are (name, dims, type, offset)."""
    out = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(keys))
    for name, kind, value in keys:
        out += text(name) + struct.pack("<I", kind) + value
    for name, dims, kind, offset in tensors:
        out += text(name) + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, kind, offset)
    return out + bytes(-len(out) % 32) + data


def write_seeds(folder):
    folder.mkdir(parents=True, exist_ok=True)
    every = [(b"k%d" % kind, kind, struct.pack("<" + code, 1))
             for kind, code in [(0, "B"), (1, "b"), (2, "H"), (3, "h"), (4, "I"), (5, "i"), (6, "f"), (7, "B"),
                                (10, "Q"), (11, "q"), (12, "d")]]
    strings = struct.pack("<IQ", 8, 2) + text(b"\xff") + text(b"ab")
    arrays = [(b"s", 8, text(b"hi")), (b"a", 9, strings), (b"n", 9, struct.pack("<IQ3i", 5, 3, 1, 2, 3)),
              (b"general.alignment", 4, struct.pack("<I", 32))]
    (folder / "empty").write_bytes(seed([], [], b""))
    (folder / "values").write_bytes(seed(every, [], b""))
    (folder / "arrays").write_bytes(seed(arrays, [(b"t", (4, 2), 0, 0)], bytes(32)))
    (folder / "version2").write_bytes(seed([], [(b"t", (2,), 30, 0)], bytes(4), version=2))
    kinds = [0, 1, 2, 3, 6, 7, 8, 12, 13, 14, 30, 39]
    tensors, offset = [], 0
    for kind in kinds:
        values, size = gguf.GGML_QUANT_SIZES[T(kind)]
        tensors.append((b"w%d" % kind, (values, 1), kind, offset))
        offset += size + -size % 32
    (folder / "formats").write_bytes(seed([], tensors, bytes(range(256)) * (offset // 256) + bytes(offset % 256)))


if __name__ == "__main__":
    write_rows(REPO / "tests/checkpoint/rows.gguf")
    write_seeds(REPO / "tests/checkpoint/fuzz/gguf")
