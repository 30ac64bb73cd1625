#!/usr/bin/env python3
"""Writes tests/tokenizer/components.json: small tokenizers that together use every component gannet implements, with the
ids and decoded text of HF tokenizers 0.23. Run from anywhere: tokenizer_components.py OUT.json"""
import json
import random
import sys

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

import tokenizer_lines

TEXTS = ["", " ", "Hello, world!", "  two  spaces ", "a\nb\r\n\tc", "don't DON'T I'll 'sx", "1234567 12.5", "naïve café Å ﬁ ①",
         "日本語 テスト ひらがな", "Привет, мир", "👩‍👩‍👧 🏳️‍🌈", "x<s>y</s> z", "foo<tok> <tok>bar  <tok>  ", "a <w> b<w>c <w>", "İSTANBUL ǅ ΑΣ",
         "▁x▁ y", "$a+b=c$ #tag @me", "snake_case CamelCase HTTPServer", "e\u0301\u0323 q\u0307\u0323", "\u00a0\u3000\u0085 end",
         "\x00\x01\x7f", "th\u200dat", "-- a--b ---", "Σὰς κόσμε", "the theory of the thing in the end", "<0x41> <0xFF>", "unk: ☃ ☃☃ 🦩"]


def corpus():
    r = random.Random(3)
    texts = [t for t in TEXTS for _ in range(3)]
    texts += [" ".join(r.choice(tokenizer_lines.WORDS) for _ in range(20)) for _ in range(200)] + tokenizer_lines.CODE
    return texts


def train(pre, byte_level, normalizer=None, size=420, **bpe):
    tokenizer = Tokenizer(models.BPE(**bpe))
    if normalizer:
        tokenizer.normalizer = normalizer
    if pre:
        tokenizer.pre_tokenizer = pre
    special = ["<unk>", "<s>", "</s>"] + (["<0x%02X>" % b for b in range(256)] if bpe.get("byte_fallback") else [])
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=special, show_progress=False, max_token_length=12,
                                  limit_alphabet=256 if byte_level else 90, initial_alphabet=pre_tokenizers.ByteLevel.alphabet() if byte_level else [])
    tokenizer.train_from_iterator(corpus(), trainer)
    data = json.loads(tokenizer.to_str())
    data["added_tokens"] = [t for t in data["added_tokens"] if not t["content"].startswith("<0x")]
    return Tokenizer.from_str(json.dumps(data))


def cases():
    p, n, d = pre_tokenizers, normalizers, decoders
    byte = p.ByteLevel(add_prefix_space=False)
    yield "byte level", train(byte, True), d.ByteLevel()
    yield "prefix space", train(p.ByteLevel(add_prefix_space=True), True), d.ByteLevel()
    bare = p.ByteLevel(add_prefix_space=False, use_regex=False)
    for behavior in ("removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous"):
        for invert in (False, True):
            yield (f"regex {behavior} {invert}",
                   train(p.Sequence([p.Split(Regex(r"\s+|[,.!-]"), behavior, invert), bare]), True, size=300), d.ByteLevel())
        yield f"string {behavior}", train(p.Sequence([p.Split("-", behavior), bare]), True, size=290), d.ByteLevel()
        yield f"punctuation {behavior}", train(p.Sequence([p.Punctuation(behavior), bare]), True, size=290), d.ByteLevel()
    yield "word regex", train(p.Sequence([p.Split(Regex(r"\w+|\b\W"), "isolated"), bare]), True, size=300), d.ByteLevel()
    yield "digits", train(p.Sequence([p.Digits(False), byte]), True, size=290), d.ByteLevel()
    yield "whitespace", train(p.Sequence([p.Whitespace(), bare]), True, size=290), d.ByteLevel()
    yield "whitespace split", train(p.Sequence([p.WhitespaceSplit(), p.Digits(True), bare]), True, size=290), d.ByteLevel()
    yield "bert", train(p.Sequence([p.BertPreTokenizer(), bare]), True, size=290), d.ByteLevel()
    yield "delimiter", train(p.Sequence([p.CharDelimiterSplit("e"), bare]), True, size=290), d.ByteLevel()
    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        steps = n.Sequence([getattr(n, form)(), n.Lowercase()] if form == "NFKC" else [getattr(n, form)()])
        yield form, train(byte, True, normalizer=steps, size=300), d.ByteLevel()
    yield "strip", train(byte, True, normalizer=n.Sequence([n.Strip(), n.Replace("the", "THE"), n.Replace(Regex("[0-9]+"), "#")]),
                         size=300), d.ByteLevel()
    ignoring = json.loads(train(byte, True, size=420).to_str())
    ignoring["model"]["ignore_merges"] = True
    ignoring["model"]["merges"] = ignoring["model"]["merges"][::2]
    kept = {"".join(pair) for pair in ignoring["model"]["merges"]}
    ignoring["model"]["merges"] = [[a, b] for a, b in ignoring["model"]["merges"]
                                   if (len(a) == 1 or a in kept) and (len(b) == 1 or b in kept)]
    yield "ignore merges", Tokenizer.from_str(json.dumps(ignoring)), d.ByteLevel()
    spm_decoder = lambda left: d.Sequence([d.Replace("▁", " "), d.ByteFallback(), d.Fuse(), d.Strip(" ", left, 0)])
    spm = n.Sequence([n.Prepend("▁"), n.Replace(" ", "▁")])
    yield "sentencepiece", train(None, False, normalizer=spm, size=600, unk_token="<unk>", fuse_unk=True, byte_fallback=True), \
        spm_decoder(1)
    yield "unk", train(p.Metaspace(), False, unk_token="<unk>", fuse_unk=False), d.Metaspace()
    yield "fused unk", train(p.Metaspace(), False, unk_token="<unk>", fuse_unk=True), d.Metaspace()
    yield "no unk", train(p.Metaspace(), False), d.Metaspace()
    for scheme in ("first", "never", "always"):
        yield (f"metaspace {scheme}", train(p.Metaspace(prepend_scheme=scheme, split=scheme != "first"), False, unk_token="<unk>"),
               d.Metaspace(prepend_scheme=scheme))


def add_tokens(tokenizer, i):
    tokenizer.add_tokens([AddedToken("<tok>", lstrip=i % 2 == 0, rstrip=i % 3 == 0, normalized=i % 4 < 2),
                          AddedToken("<w>", single_word=True, normalized=i % 4 >= 2), AddedToken("theory")])
    if i % 3 == 1:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<s> $A </s>", special_tokens=[("<s>", tokenizer.token_to_id("<s>")), ("</s>", tokenizer.token_to_id("</s>"))])
    elif i % 3 == 2:
        tokenizer.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), processors.TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", tokenizer.token_to_id("<s>"))])])


def gguf_of(tokenizer):
    """The GGUF metadata that a converter would write for the SentencePiece one: scores fall with the merge rank."""
    model = json.loads(tokenizer.to_str())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].get)
    scores = [0.0] * len(tokens)
    for rank, (a, b) in enumerate(model["merges"]):
        scores[model["vocab"][a + b]] = -1.0 - rank
    for i, token in enumerate(tokens):
        scores[i] = scores[i] or -1e6
    types = [6 if t.startswith("<0x") else 2 if t == "<unk>" else 3 if t in ("<s>", "</s>") else 1 for t in tokens]
    return {"tokenizer.ggml.model": "llama", "tokenizer.ggml.tokens": tokens, "tokenizer.ggml.scores": scores,
            "tokenizer.ggml.token_type": types, "tokenizer.ggml.bos_token_id": 1, "tokenizer.ggml.eos_token_id": 2,
            "tokenizer.ggml.unknown_token_id": 0, "tokenizer.ggml.add_bos_token": False}


def rows(tokenizer):
    out = []
    for text in TEXTS:
        row = {"text": text}
        for key, plain in (("ids", False), ("plain", True)):
            tokenizer.encode_special_tokens = plain
            row[key] = tokenizer.encode(text).ids
        tokenizer.encode_special_tokens = False
        row["decoded"] = tokenizer.decode(row["ids"], skip_special_tokens=False)
        row["skipped"] = tokenizer.decode(row["ids"], skip_special_tokens=True)
        out.append(row)
    return out


def main():
    out = []
    for i, (name, tokenizer, decoder) in enumerate(cases()):
        tokenizer.decoder = decoder
        if name == "sentencepiece":
            out.append({"name": "gguf llama", "gguf": gguf_of(tokenizer), "rows": rows(tokenizer)})
        add_tokens(tokenizer, i)
        data = json.loads(tokenizer.to_str())
        if i % 2:
            data["model"]["merges"] = [" ".join(pair) for pair in data["model"]["merges"]]
        out.append({"name": name, "tokenizer": data, "rows": rows(tokenizer)})
    with open(sys.argv[1], "w", encoding="utf-8") as file:
        file.write("[" + ",\n".join(json.dumps(c, ensure_ascii=False, separators=(",", ":")) for c in out) + "]\n")
    print(f"{len(out)} tokenizers, {sum(len(c['rows']) for c in out)} rows")


if __name__ == "__main__":
    main()
