"""Makes tests/goldens/smollm2/: what transformers computes, in fp32, from SmolLM2-135M-Instruct's dequantized GGUF.

    python tools/goldens/make_smollm2.py FILE.gguf       with the packages of tools/goldens/requirements.txt

    goldens.json   columns (256 fixed vocabulary ids); prompts: name, text, ids, greedy (40 ids), greedy_text,
                   min_margin (top-1 minus top-2 over the greedy steps)
    PROMPT.npz     last [vocab]: logits of the prompt's last row; columns [rows, 256]: every row at the fixed columns;
                   top_ids, top_logits [rows, 20]: the largest of every row
transformers' own GGUF reader does the dequantizing and the re-ordering of the query and key rows.
"""

import json
import pathlib
import sys

import numpy as np
import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer

OUT = pathlib.Path(__file__).resolve().parents[2] / "tests" / "goldens" / "smollm2"
GREEDY_TOKENS = 40
COLUMNS = 256
TOP = 20

# Where the model is fairly sure of itself: with a margin below the noise of int8 activations (about 0.1 in a logit)
# greedy text says nothing about a kernel. The system message is the one ./run uses.
PROMPTS = {
    "capital": [
        {"role": "system", "content": "You are a helpful assistant. Answer in one sentence."},
        {"role": "user", "content": "What is the capital of France?"},
    ],
    "plain": "Our Father, who art in heaven, hallowed be thy name;",
    "code": "#include <stdio.h>\n\nint main(void) {\n    int i;\n    for (i = 0; i < 10;",
    "numbers": "10, 20, 30, 40, 50,",
    "spanish": "Uno, dos, tres, cuatro, cinco, seis, siete, ocho, nueve, diez. Uno, dos,",
}


def main(path):
    transformers.utils.logging.disable_progress_bar()
    path = pathlib.Path(path)
    source = dict(pretrained_model_name_or_path=str(path.parent), gguf_file=path.name)
    tokenizer = AutoTokenizer.from_pretrained(**source)
    model = AutoModelForCausalLM.from_pretrained(**source, dtype=torch.float32, attn_implementation="eager").eval()
    columns = np.sort(np.random.default_rng(2).choice(model.config.vocab_size, COLUMNS, replace=False))
    OUT.mkdir(parents=True, exist_ok=True)
    prompts = []
    for name, prompt in PROMPTS.items():
        text = prompt
        if not isinstance(prompt, str):
            text = tokenizer.apply_chat_template(prompt, tokenize=False, add_generation_prompt=True)
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        with torch.no_grad():
            logits = model(torch.tensor([ids])).logits[0]
            sequence, margin = list(ids), float("inf")
            for _ in range(GREEDY_TOKENS):
                top = torch.topk(model(torch.tensor([sequence])).logits[0, -1], 2)
                margin = min(margin, (top.values[0] - top.values[1]).item())
                sequence.append(int(top.indices[0]))
        top = torch.topk(logits, TOP)
        np.savez(OUT / f"{name}.npz", last=logits[-1].numpy(), columns=logits[:, columns].numpy(),
                 top_ids=top.indices.numpy().astype(np.int32), top_logits=top.values.numpy())
        greedy = sequence[len(ids):]
        prompts.append(dict(name=name, text=text, ids=ids, greedy=greedy, greedy_text=tokenizer.decode(greedy),
                            min_margin=round(margin, 4)))
        print(f"{name}: {len(ids)} ids, min margin {margin:.4f}, {tokenizer.decode(greedy)!r}")
    goldens = dict(columns=columns.tolist(), prompts=prompts)
    (OUT / "goldens.json").write_text(json.dumps(goldens, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
