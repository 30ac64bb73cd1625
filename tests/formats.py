"""The quantized formats of checkpoints in plain numpy: how each is written and what its bytes mean.

A format is two functions: quantize(w [N, K] fp32) -> {ending: tensor} beside the module's name, and dequantize of that
back to fp32 [N, K]. A tensor is (safetensors dtype, array); bf16 is an array of uint16. What the bytes mean follows
OCP MX 1.0 and OCP FP8, and the checkpoints of Quark, ModelOpt, compressed-tensors, DeepSeek-V3, AutoAWQ and GPTQ.
"""

import json

import numpy as np

E2M1 = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6], np.float32)
AWQ_ORDER = [0, 4, 1, 5, 2, 6, 3, 7]  # nibble of column j of eight
NUMPY = {"F32": np.float32, "F16": np.float16, "BF16": np.uint16, "U8": np.uint8, "I8": np.int8, "I32": np.int32,
         "I64": np.int64, "F8_E4M3": np.uint8, "F8_E8M0": np.uint8}


def e4m3_values():
    bits = np.arange(256)
    exponent, mantissa = bits >> 3 & 15, (bits & 7).astype(np.float64)
    values = np.where(exponent == 0, mantissa * 2.0 ** -9, (1 + mantissa / 8) * 2.0 ** (exponent - 7.0))
    values = np.where(bits & 127 == 127, np.nan, values) * np.where(bits & 128, -1, 1)
    return values.astype(np.float32)


E4M3 = e4m3_values()


def to_e4m3(values):
    """The nearest of the finite values."""
    positive = E4M3[:127]
    magnitude = np.minimum(np.abs(values), 448)
    above = np.searchsorted(positive, magnitude).clip(1, 126)
    nearer = magnitude - positive[above - 1] < positive[above] - magnitude
    return (np.where(nearer, above - 1, above) | np.where(values < 0, 128, 0)).astype(np.uint8)


def to_bf16(values):
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)


def floats(tensor):
    dtype, array = tensor
    if dtype == "BF16":
        return (array.astype(np.uint32) << 16).view(np.float32)
    return E4M3[array] if dtype == "F8_E4M3" else array.astype(np.float32)


def to_e2m1(values):
    positive = E2M1[:8]
    middles = (positive[1:] + positive[:-1]) / 2
    return (np.searchsorted(middles, np.abs(values)) | np.where(values < 0, 8, 0)).astype(np.uint8)


def pack_nibbles(codes):
    return (codes[..., 0::2] | codes[..., 1::2] << 4).astype(np.uint8)


def unpack_nibbles(packed):
    return np.stack([packed & 15, packed >> 4], -1).reshape(*packed.shape[:-1], -1)


def along(scales, group, k):
    return np.repeat(scales, group, axis=-1)[..., :k]


# --- 4-bit floats

def quantize_mxfp4(w):
    blocks = w.reshape(*w.shape[:-1], -1, 32)
    largest = np.abs(blocks).max(-1)
    exponent = np.where(largest > 0, np.floor(np.log2(np.maximum(largest, 2.0 ** -126))) - 2, 0).clip(-127, 127)
    codes = to_e2m1(blocks / 2.0 ** exponent[..., None])
    return {".weight": ("U8", pack_nibbles(codes.reshape(w.shape))), ".weight_scale": ("U8", (exponent + 127).astype(np.uint8))}


def dequantize_mxfp4(parts):
    scales = np.ldexp(np.float32(1), parts[".weight_scale"][1].astype(np.int32) - 127)
    codes = unpack_nibbles(parts[".weight"][1])
    return E2M1[codes] * along(scales, 32, codes.shape[-1])


def quantize_nvfp4(w):
    groups = w.reshape(len(w), -1, 16)
    largest = np.abs(groups).max(-1)
    global_scale = np.float32(largest.max() / (6 * 448))
    scales = to_e4m3(largest / 6 / global_scale)
    unit = np.maximum(E4M3[scales] * global_scale, 1e-30)
    codes = to_e2m1(groups / unit[..., None])
    return {".weight": ("U8", pack_nibbles(codes.reshape(w.shape))), ".weight_scale": ("F8_E4M3", scales),
            ".weight_scale_2": ("F32", np.array(global_scale)), ".input_scale": ("F32", np.array(np.float32(0.5)))}


def dequantize_nvfp4(parts):
    scales = E4M3[parts[".weight_scale"][1]] * parts[".weight_scale_2"][1]
    codes = unpack_nibbles(parts[".weight"][1])
    return E2M1[codes] * along(scales, 16, codes.shape[-1])


def quantize_nvfp4_packed(w):  # compressed-tensors: a divisor
    parts = quantize_nvfp4(w)
    return {".weight_packed": parts[".weight"], ".weight_scale": parts[".weight_scale"],
            ".weight_global_scale": ("F32", (1 / parts[".weight_scale_2"][1]).reshape(1)),
            ".input_global_scale": ("F32", np.ones(1, np.float32))}


def dequantize_nvfp4_packed(parts):
    scales = E4M3[parts[".weight_scale"][1]] / parts[".weight_global_scale"][1]
    codes = unpack_nibbles(parts[".weight_packed"][1])
    return E2M1[codes] * along(scales, 16, codes.shape[-1])


# --- 8 bits

def quantize_fp8_block(w, block=128):
    n, k = w.shape
    rows, cols = -(-n // block), -(-k // block)
    padded = np.zeros((rows * block, cols * block), np.float32)
    padded[:n, :k] = w
    largest = np.abs(padded).reshape(rows, block, cols, block).max((1, 3))
    scales = np.maximum(largest / 448, 1e-12).astype(np.float32)
    return {".weight": ("F8_E4M3", to_e4m3(w / expand(scales, block, n, k))), ".weight_scale_inv": ("F32", scales)}


def expand(scales, block, n, k):
    return np.repeat(np.repeat(scales, block, 0), block, 1)[:n, :k]


def dequantize_fp8_block(parts, block=128):
    codes = parts[".weight"][1]
    return E4M3[codes] * expand(parts[".weight_scale_inv"][1], block, *codes.shape)


def quantize_fp8_tensor(w):
    scale = np.float32(np.abs(w).max() / 448)
    return {".weight": ("F8_E4M3", to_e4m3(w / scale)), ".weight_scale": ("F32", np.array(scale)),
            ".input_scale": ("F32", np.array(np.float32(0.1)))}


def quantize_fp8_channel(w):
    scales = (np.abs(w).max(1, keepdims=True) / 448).astype(np.float32)
    return {".weight": ("F8_E4M3", to_e4m3(w / scales)), ".weight_scale": ("F32", scales)}


def quantize_int8_channel(w):
    scales = to_bf16(np.abs(w).max(1, keepdims=True) / 127)
    codes = np.rint(w / floats(("BF16", scales))).clip(-128, 127).astype(np.int8)
    return {".weight": ("I8", codes), ".weight_scale": ("BF16", scales)}


def dequantize_eight(parts):
    dtype, codes = parts[".weight"]
    return (E4M3[codes] if dtype == "F8_E4M3" else codes.astype(np.float32)) * floats(parts[".weight_scale"])


# --- packed integers

def words(codes, bits, axis):
    """uint32 words of 32 / bits values along `axis`, the first in the lowest bits."""
    codes = np.moveaxis(codes.astype(np.uint32), axis, -1)
    codes = codes.reshape(*codes.shape[:-1], -1, 32 // bits)
    packed = np.bitwise_or.reduce(codes << np.arange(0, 32, bits, dtype=np.uint32), -1)
    return np.ascontiguousarray(np.moveaxis(packed, -1, axis)).view(np.int32)


def values_of(packed, bits, axis):
    packed = np.moveaxis(packed.view(np.uint32), axis, -1)
    codes = packed[..., None] >> np.arange(0, 32, bits, dtype=np.uint32) & (1 << bits) - 1
    return np.moveaxis(codes.reshape(*packed.shape[:-1], -1), -1, axis).astype(np.int32)


def integers(w, bits, group, symmetric):
    """codes [N, K], scales fp16 [N, groups], zeros [N, groups]"""
    groups = w.reshape(len(w), -1, group)
    if symmetric:
        scales = np.abs(groups).max(-1) / (2 ** (bits - 1) - 1)
        zeros = np.full(scales.shape, 2 ** (bits - 1))
    else:
        low, high = np.minimum(groups.min(-1), 0), np.maximum(groups.max(-1), 0)
        scales = (high - low) / (2 ** bits - 1)
        zeros = np.rint(-low / scales).clip(1, 2 ** bits - 1).astype(np.int64)  # GPTQ keeps zero - 1
    scales = np.maximum(scales, 1e-5).astype(np.float16)
    codes = np.rint(groups / scales.astype(np.float32)[..., None] + zeros[..., None]).clip(0, 2 ** bits - 1)
    return codes.reshape(w.shape).astype(np.int64), scales, zeros


def quantize_packed(w, bits=4, group=32, symmetric=True):  # compressed-tensors
    codes, scales, zeros = integers(w, bits, group, symmetric)
    parts = {".weight_packed": ("I32", words(codes, bits, 1)), ".weight_scale": ("F16", scales),
             ".weight_shape": ("I64", np.array(w.shape, np.int64))}
    if not symmetric:
        parts[".weight_zero_point"] = ("I32", words(zeros, bits, 0))
    return parts


def dequantize_packed(parts, bits=4):
    n, k = parts[".weight_shape"][1]
    scales = floats(parts[".weight_scale"])
    codes = values_of(parts[".weight_packed"][1], bits, 1)
    zeros = values_of(parts[".weight_zero_point"][1], bits, 0) if ".weight_zero_point" in parts else np.full(scales.shape, 1 << bits - 1)
    group = k // scales.shape[1]
    return (codes - along(zeros, group, k)).astype(np.float32) * along(scales, group, k)


def quantize_awq(w, group=32):
    codes, scales, zeros = integers(w, 4, group, False)
    order = np.argsort(AWQ_ORDER)  # column in nibble i

    def pack(values):  # [K, N] along N
        return words(values.reshape(len(values), -1, 8)[..., order].reshape(values.shape), 4, 1)
    return {".qweight": ("I32", pack(codes.T)), ".qzeros": ("I32", pack(zeros.T)),
            ".scales": ("F16", np.ascontiguousarray(scales.T))}


def dequantize_awq(parts):
    def unpack(packed):
        values = values_of(packed, 4, 1)
        return values.reshape(len(values), -1, 8)[..., AWQ_ORDER].reshape(values.shape)
    codes, scales = unpack(parts[".qweight"][1]), floats(parts[".scales"])
    group = len(codes) // len(scales)
    return np.ascontiguousarray((codes - np.repeat(unpack(parts[".qzeros"][1]), group, 0)).astype(np.float32)
                                * np.repeat(scales, group, 0)).T


def quantize_gptq(w, bits=4, group=32, order=None, version=1):
    """order [K]: the columns in the order they are grouped in (desc_act); None: as they come."""
    k = w.shape[1]
    order = np.arange(k) if order is None else order
    codes, scales, zeros = integers(w[:, order], bits, group, False)
    group_of = np.empty(k, np.int32)
    group_of[order] = np.arange(k) // group
    back = np.empty_like(codes)
    back[:, order] = codes
    return {".qweight": ("I32", words(back.T, bits, 0)), ".qzeros": ("I32", words(zeros.T - (version == 1), bits, 1)),
            ".scales": ("F16", np.ascontiguousarray(scales.T)), ".g_idx": ("I32", group_of)}


def dequantize_gptq(parts, bits=4, version=1):
    codes, scales = values_of(parts[".qweight"][1], bits, 0), floats(parts[".scales"])
    zeros = values_of(parts[".qzeros"][1], bits, 1) + (version == 1)
    group_of = parts[".g_idx"][1]
    return np.ascontiguousarray(((codes - zeros[group_of]).astype(np.float32) * scales[group_of]).T)


# --- files

def write_safetensors(path, tensors):
    header, at = {}, 0
    tensors = dict(sorted(tensors.items(), key=lambda each: -each[1][1].itemsize))  # each aligned to its element
    for name, (dtype, array) in tensors.items():
        header[name] = dict(dtype=dtype, shape=list(array.shape), data_offsets=[at, at + array.nbytes])
        at += array.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for dtype, array in tensors.values():
            assert array.dtype == NUMPY[dtype], (dtype, array.dtype)
            file.write(np.ascontiguousarray(array).tobytes())


def read_safetensors(path):
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    tensors = {}
    for name, entry in json.loads(data[8:8 + size]).items():
        if name != "__metadata__":
            first, last = entry["data_offsets"]
            array = np.frombuffer(data[8 + size + first:8 + size + last], NUMPY[entry["dtype"]])
            tensors[name] = (entry["dtype"], array.reshape(entry["shape"]))
    return tensors
