"""What tiny models of tests/goldens/ compute under masks that are not causal.

    python tools/goldens/make_masks.py [NAME...]        after make_models.py, with the same packages

Each folder gets masks.json: for every mask the number of the prompt and the keys [first, end) that each row sees (before
windows: a window layer's row also sees no key as far as its window or farther), and mask_logits.npy, fp32 [rows of all
masks, vocab]. A row that sees nothing gets zeros from attention.
"""

import json
import sys

import numpy as np
import torch
import transformers
from make_models import OUT, load

NAMES = ["llama-f32", "qwen3-sliding", "gpt-oss-yarn", "mimo-v2-flash-f32", "glm4-moe-lite-f32", "deepseek-v32-yarn"]


def spans_mask(rows, spans):
    """Causal, and all of a span for its rows."""
    ends = np.arange(1, rows + 1)
    for first, end in spans:
        ends[first:end] = end
    return [[0, int(end)] for end in ends]


def random_monotone(rows, rng):
    """Neither end of what a row sees falls from row to row; some rows see nothing; a request packed behind others starts
    at its own first row."""
    steps = rng.integers(0, 4, rows) * (rng.random(rows) < 0.5)
    begins = np.minimum(np.cumsum(steps), rows - 1)
    lengths = rng.integers(0, 14, rows) * (rng.random(rows) < 0.25)
    ends = np.minimum(np.maximum.accumulate(begins + lengths), rows)
    return [[int(b), int(max(b, e))] for b, e in zip(begins, ends)]


def packed(rows, cuts):
    """Several causal requests in one row of tokens."""
    return [[max(c for c in cuts if c <= row), row + 1] for row in range(rows)]


def additive(rows, spans, window):
    row, key = torch.arange(rows)[:, None], torch.arange(rows)[None]
    spans = torch.tensor(spans)
    seen = (key >= spans[:, :1]) & (key < spans[:, 1:])
    if window:
        seen &= (row - key).abs() < window
    return torch.where(seen, 0.0, torch.finfo(torch.float32).min)[None, None]


def zeros_where_nothing_is_seen(scores, *arguments, **options):
    weights = torch.softmax(scores, *arguments, **options)
    most, least = scores.max(-1, keepdim=True).values, scores.min(-1, keepdim=True).values
    nothing = (most < -1e30) | (most == least)  # MiMo takes the largest score off before
    return torch.where(nothing, torch.zeros_like(weights), weights)


def logits(model, ids, spans):
    config = model.config
    mask = additive(len(ids), spans, None)
    if "sliding_attention" in (getattr(config, "layer_types", None) or []):
        mask = {"full_attention": mask, "sliding_attention": additive(len(ids), spans, config.sliding_window)}
    softmax = torch.nn.functional.softmax
    torch.nn.functional.softmax = zeros_where_nothing_is_seen
    try:
        return model(torch.tensor([ids]), attention_mask=mask, use_cache=False).logits[0].numpy()
    finally:
        torch.nn.functional.softmax = softmax


def make(name):
    folder = OUT / name
    prompts = json.loads((folder / "goldens.json").read_text())["prompts"]
    model = load(folder, torch.float32)
    rng = np.random.default_rng(5)
    masks = [dict(prompt=2, spans=spans_mask(47, [(0, 37)])), dict(prompt=2, spans=random_monotone(47, rng)),
             dict(prompt=2, spans=packed(47, [0, 11, 12, 40])),
             dict(prompt=3, spans=spans_mask(131, [(5, 9), (60, 70), (100, 131)]))]
    rows = []
    with torch.no_grad():
        for mask in masks:
            rows.append(logits(model, prompts[mask["prompt"]]["ids"], mask["spans"]))
    np.save(folder / "mask_logits.npy", np.concatenate(rows).astype(np.float32))
    (folder / "masks.json").write_text(json.dumps(masks) + "\n")
    empty = sum(first >= end for mask in masks for first, end in mask["spans"])
    print(f"{name}: {len(masks)} masks, {empty} rows that see nothing, std {np.concatenate(rows).std():.2f}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    transformers.utils.logging.disable_progress_bar()
    for model_name in sys.argv[1:] or NAMES:
        make(model_name)
