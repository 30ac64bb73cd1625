"""gannet's logits and greedy tokens against what transformers computed (tests/goldens/), over chunk sizes, threads and kernels.

    python tests/e2e/check_logits.py GANNET [--smollm2 FILE.gguf] [--kernels reference,auto,...] [--only NAME...]

Tiny checkpoints, every kernel table: at most 1e-4 from the goldens, greedy ids equal (where the fast kernels round activations,
within what rounding can do to the median row instead, see ROUNDING), and the same bits for every chunk size and number of threads,
draft heads too, and also where all scores of a sparse attention's indexers are equal. SmolLM2: reference within 1e-3; the fast kernels' greedy ids equal on 4 of 5 prompts, and
their largest difference from the reference printed. Needs numpy only.
"""

import argparse
import concurrent.futures
import json
import os
import pathlib
import shutil
import struct
import subprocess
import sys
import tempfile

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from checks import Checks  # noqa: E402

GOLDENS = pathlib.Path(__file__).resolve().parents[1] / "goldens"
TOLERANCE = 1e-4
SMOLLM2_TOLERANCE = 1e-3
SMOLLM2_EQUAL = 4  # prompts, of 5
CHUNKS = [1, 7, None]  # None: the whole prompt
THREADS = [1, 2]
# The fast kernels round activations that meet weights of few bits, in blocks of 32: a product's error is at most half a
# step of max / 127 (4-bit floats) or max / 32258 in each of its terms, uniform, so its rms is at most sqrt(32) / (127
# sqrt(12)) of the product's own (a block's maximum is at most sqrt(32) times its rms). Four products in a row make a layer, one the head; their
# errors are independent. That holds for the median row: a router whose scores are nearer to one another than the
# rounding chooses otherwise, and then a row is another one. Of sparse attention only rows count that see all keys.
ROUNDING = {**dict.fromkeys(("mxfp4-", "nvfp4-"), 32 ** 0.5 / (127 * 12 ** 0.5)),
            **dict.fromkeys(("int8-", "int4-", "awq-", "gptq-"), 32 ** 0.5 / (32258 * 12 ** 0.5))}
KERNELS = ["amx", "avx512vnni", "avx512", "avxvnni", "avx2", "neondot", "neon", "reference"]


class Gannet:
    def __init__(self, program, folder):
        self.program = program
        self.npy = pathlib.Path(folder) / "logits.npy"

    def run(self, *arguments):
        command = [self.program, *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=600)
        if done.returncode != 0:
            tail = done.stderr.strip().splitlines()[-1:] or ["nothing on stderr"]
            raise RuntimeError(f"`gannet {arguments[0]}` ended with {done.returncode}: {tail[0]}")
        return done.stdout

    def logits(self, model, ids, kernels, chunk=None, threads=2, prompt=None, head=None):
        self.npy.unlink(missing_ok=True)
        chunk = ["--chunk", chunk] if chunk else []
        chunk += ["--prompt", prompt] if prompt else []
        chunk += [] if head is None else ["--mtp", head] if head else ["--mtp"]
        self.run("logits", model, "--ids", ",".join(map(str, ids)), *chunk, "--threads", threads,
                 "--kernels", kernels, "--out", self.npy)
        return np.load(self.npy)

    def greedy(self, model, ids, count, kernels, threads=2):
        text = self.run("complete", model, "--ids", ",".join(map(str, ids)), "--max-tokens", count, "--temperature", 0,
                        "--print-ids", "--ignore-eos", "--threads", threads, "--kernels", kernels)
        return [int(x) for x in text.strip().split(",")]

    def kernel_tables(self, model):
        """Names this machine can run, best first: as `inspect --json` lists them, else found by trying."""
        try:
            return json.loads(self.run("inspect", model, "--json"))["available_kernels"]
        except (RuntimeError, KeyError, ValueError, TypeError):
            pass
        tables = []
        for name in KERNELS:
            try:
                self.logits(model, [1], name)
                tables.append(name)
            except (RuntimeError, OSError, ValueError):
                pass
        return tables or ["auto"]


def kl_divergence(reference, other):
    """Mean over rows of KL(softmax of reference, softmax of other)."""
    def log_softmax(logits):
        shifted = logits.astype(np.float64) - logits.max(-1, keepdims=True)
        return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    p, q = log_softmax(reference), log_softmax(other)
    return (np.exp(p) * (p - q)).sum(-1).mean()


def check_tiny(gannet, folder, kernels, checks):
    golden = json.loads((folder / "goldens.json").read_text())
    source = folder
    if "logits_of" in golden:  # the same weights in a GGUF file
        source = folder.parent / golden["logits_of"]
        golden = json.loads((source / "goldens.json").read_text())
    want = np.load(source / "logits.npy")
    rounding = next((step for name, step in ROUNDING.items() if folder.name.startswith(name)), 0)
    rounds = rounding > 0 and kernels != "reference"
    config = json.loads((folder / "config.json").read_text()) if rounds else {"num_hidden_layers": 0}
    rms_bound = rounding * (4 * config["num_hidden_layers"] + 1) ** 0.5 * want.std()
    divergence, rms, equal = [], [], 0
    model = folder / "model.gguf" if (folder / "model.gguf").exists() else folder
    worst = 0.0
    for number, prompt in enumerate(golden["prompts"]):
        ids = prompt["ids"] + prompt["greedy"]
        rows = want[prompt["first_row"]:prompt["first_row"] + len(ids)]
        # All rows as prompt, then those after the prompt as generated ones: latent attention computes them differently.
        for prompt_rows in (None, len(prompt["ids"])):
            first = None
            for chunk in CHUNKS:
                for threads in THREADS:
                    what = (f"{folder.name} prompt {number} --kernels {kernels} --chunk {chunk or 'all'} "
                            f"--threads {threads} --prompt {prompt_rows or 'all'}")
                    try:
                        got = gannet.logits(model, ids, kernels, chunk, threads, prompt_rows)
                    except (RuntimeError, OSError, ValueError, subprocess.TimeoutExpired) as error:
                        checks.check(False, f"{what}: {error}")
                        continue
                    if not checks.check(got.shape == rows.shape and got.dtype == np.float32,
                                        f"{what}: shape {got.shape} {got.dtype}, expected {rows.shape} float32"):
                        continue
                    difference = np.abs(got - rows).max()
                    worst = max(worst, difference)
                    if rounds:
                        rms.extend(np.sqrt(np.square(got - rows).mean(-1))[:config.get("index_topk")])
                        divergence.append(kl_divergence(rows, got))
                    else:
                        checks.check(difference < TOLERANCE, f"{what}: logits differ from the golden by {difference:.2e}")
                    if first is None:
                        first = got
                    else:
                        checks.check(got.tobytes() == first.tobytes(), f"{what}: other bits than the first run")
        for threads in THREADS:
            what = f"{folder.name} prompt {number} --kernels {kernels} --threads {threads}: greedy ids"
            try:
                got = gannet.greedy(model, prompt["ids"], len(prompt["greedy"]), kernels, threads)
                equal += got == prompt["greedy"]
                checks.check(rounds or got == prompt["greedy"], f"{what} {got}, expected {prompt['greedy']}")
            except (RuntimeError, ValueError, subprocess.TimeoutExpired) as error:
                checks.check(False, f"{what}: {error}")
    about = ""
    if rounds:
        checks.check(np.median(rms) < rms_bound, f"{folder.name} {kernels}: the median row's rms from the golden is "
                                                 f"{np.median(rms):.2e}, bound {rms_bound:.2e}")
        about = (f", median row's rms {np.median(rms):.1e} (bound {rms_bound:.1e}), KL {np.mean(divergence):.1e}, greedy ids "
                 f"equal in {equal} of {2 * len(golden['prompts'])} runs")
    print(f"{folder.name:24} {kernels:12} largest difference {worst:.2e}{about}", flush=True)


def check_drafts(gannet, folder, kernels, checks):
    """The draft heads' logits: by chunk, and of generated rows."""
    golden = json.loads((folder / "goldens.json").read_text())
    source = folder.parent / golden.get("logits_of", folder.name)
    if not (source / "drafts.npy").exists():
        return
    prompt = json.loads((source / "goldens.json").read_text())["prompts"][-1]
    ids = prompt["ids"] + prompt["greedy"]
    model = folder / "model.gguf" if (folder / "model.gguf").exists() else folder
    worst = 0.0
    for head, rows in enumerate(np.load(source / "drafts.npy")):
        want = rows[:len(ids) - 1 - head]
        for prompt_rows in (None, len(prompt["ids"])):
            what = f"{folder.name} draft head {head} --kernels {kernels} --prompt {prompt_rows or 'all'}"
            got = [gannet.logits(model, ids, kernels, chunk, 2, prompt_rows, head) for chunk in CHUNKS]
            checks.check(all(g.tobytes() == got[0].tobytes() for g in got), f"{what}: chunks change the bits")
            if checks.check(got[0].shape == want.shape, f"{what}: shape {got[0].shape}, expected {want.shape}"):
                worst = max(worst, np.abs(got[0] - want).max())
                checks.check(np.abs(got[0] - want).max() < TOLERANCE, f"{what}: differs by {np.abs(got[0] - want).max():.2e}")
    print(f"{folder.name:24} {kernels:12} largest difference of draft heads {worst:.2e}", flush=True)


def equal_index_scores(folder, copy):
    """A copy of a checkpoint whose indexers weigh every head with zero, so that each choice is among equals."""
    shutil.copytree(folder, copy)
    path = copy / "model.safetensors"
    data = bytearray(path.read_bytes())
    length = struct.unpack("<Q", data[:8])[0]
    for name, tensor in json.loads(data[8:8 + length]).items():
        if name.endswith("indexer.weights_proj.weight"):
            begin, end = (8 + length + at for at in tensor["data_offsets"])
            data[begin:end] = bytes(end - begin)
    path.write_bytes(data)
    return copy


def check_ties(gannet, scratch, kernels, checks):
    folder = GOLDENS / "glm-moe-dsa-mixed"
    model = equal_index_scores(folder, pathlib.Path(scratch) / f"ties-{kernels}")
    prompt = json.loads((folder / "goldens.json").read_text())["prompts"][-1]
    ids = prompt["ids"] + prompt["greedy"]
    want = np.load(folder / "logits.npy")[prompt["first_row"]:prompt["first_row"] + len(ids)]
    for prompt_rows in (None, len(prompt["ids"])):
        got = [gannet.logits(model, ids, kernels, chunk, threads, prompt_rows) for chunk in CHUNKS for threads in THREADS]
        what = f"equal index scores --kernels {kernels} --prompt {prompt_rows or 'all'}"
        checks.check(all(g.tobytes() == got[0].tobytes() for g in got), f"{what}: chunks or threads change the bits")
        checks.check(np.abs(got[0][:7] - want[:7]).max() < TOLERANCE, f"{what}: rows that see all keys changed")
        checks.check(np.abs(got[0][-1] - want[-1]).max() > 0.1, f"{what}: the indexers make no difference")


def golden_difference(got, golden, columns):
    """Largest difference over the stored part: last row, fixed columns, and the largest logits of every row."""
    top = np.take_along_axis(got, golden["top_ids"].astype(np.int64), axis=1)
    parts = (got[-1] - golden["last"], got[:, columns] - golden["columns"], top - golden["top_logits"])
    return max(np.abs(part).max() for part in parts)


def check_smollm2(gannet, model, tables, checks):
    golden = json.loads((GOLDENS / "smollm2" / "goldens.json").read_text())
    columns = np.array(golden["columns"])
    reference = {}
    if "reference" in tables:
        for prompt in golden["prompts"]:
            what = f"smollm2 {prompt['name']} --kernels reference"
            try:
                got = reference[prompt["name"]] = gannet.logits(model, prompt["ids"], "reference")
                difference = golden_difference(got, np.load(GOLDENS / "smollm2" / f"{prompt['name']}.npz"), columns)
                checks.check(difference < SMOLLM2_TOLERANCE, f"{what}: differs from the golden by {difference:.2e}")
                print(f"{what}: largest difference from transformers {difference:.2e}", flush=True)
            except (RuntimeError, OSError, ValueError, IndexError, subprocess.TimeoutExpired) as error:
                checks.check(False, f"{what}: {error}")
    for kernels in tables:
        if kernels == "reference":
            continue
        equal, worst, squares = 0, 0.0, []
        for prompt in golden["prompts"]:
            what = f"smollm2 {prompt['name']} --kernels {kernels}"
            try:
                got = [gannet.logits(model, prompt["ids"], kernels, chunk, threads)
                       for chunk, threads in ((None, 1), (7, 2), (1, 2))]
                checks.check(all(g.tobytes() == got[0].tobytes() for g in got),
                             f"{what}: chunks or threads change the bits")
                if prompt["name"] in reference:
                    difference = got[0] - reference[prompt["name"]]
                    worst = max(worst, np.abs(difference).max())
                    squares.append(np.square(difference).mean())
                ids = gannet.greedy(model, prompt["ids"], len(prompt["greedy"]), kernels)
                same = next((i for i, (a, b) in enumerate(zip(ids, prompt["greedy"])) if a != b), len(ids))
                print(f"{what}: {same} of {len(prompt['greedy'])} greedy ids equal, top-1 margin {prompt['min_margin']}")
                equal += ids == prompt["greedy"]
            except (RuntimeError, OSError, ValueError, subprocess.TimeoutExpired) as error:
                checks.check(False, f"{what}: {error}")
        checks.check(equal >= SMOLLM2_EQUAL, f"smollm2 --kernels {kernels}: greedy ids equal on {equal} prompts only")
        print(f"smollm2 --kernels {kernels}: greedy ids equal on {equal} of {len(golden['prompts'])} prompts, "
              f"largest logit difference from the reference {worst:.3f}, "
              f"root mean square {np.sqrt(np.mean(squares)) if squares else 0:.3f}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("gannet")
    parser.add_argument("--smollm2")
    parser.add_argument("--kernels", help="tables to run, with commas between; all that this machine has if left out")
    parser.add_argument("--only", nargs="*", help="names of folders under tests/goldens; smollm2, ties for those alone")
    options = parser.parse_args()
    checks = Checks()
    folders = sorted(p.parent for p in GOLDENS.glob("*/goldens.json")
                     if p.parent.name != "smollm2" and (not options.only or p.parent.name in options.only))
    with tempfile.TemporaryDirectory() as scratch:
        gannet = Gannet(options.gannet, scratch)
        any_model = next(GOLDENS.glob("*/config.json")).parent
        tables = options.kernels.split(",") if options.kernels else gannet.kernel_tables(any_model)

        def check_folder(folder, kernels):
            own = pathlib.Path(scratch) / f"{kernels}-{folder.name}"
            own.mkdir()
            gannet = Gannet(options.gannet, own)
            check_tiny(gannet, folder, kernels, checks)
            check_drafts(gannet, folder, kernels, checks)

        for kernels in tables:
            with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as threads:
                list(threads.map(lambda folder: check_folder(folder, kernels), folders))
            if not options.only or "ties" in options.only:
                check_ties(gannet, scratch, kernels, checks)
        if options.smollm2 and (not options.only or "smollm2" in options.only):
            check_smollm2(gannet, options.smollm2, tables, checks)
    return checks.end()


if __name__ == "__main__":
    sys.exit(main())
