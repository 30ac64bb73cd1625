"""Runs `gannet bench`, llama-bench and llama-batched-bench in turns and prints medians and ratios. Standard library only.

Prefill: one prompt of 512 tokens. Decode: 128 tokens, after an empty context for llama-bench (1 stream), after 16 tokens
for gannet and llama-batched-bench (4 and 16 streams).
"""

import argparse
import json
import statistics
import subprocess
import sys

PROMPT, GENERATE, CONTEXT, STREAMS = 512, 128, 16, [1, 4, 16]


def run(*command):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{command[0]} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return done.stdout


def llama(options):
    speeds = {}
    for line in json.loads(run(f"{options.llama_bin}/llama-bench", "-m", options.model, "-t", options.threads, "-fa", 1,
                               "-p", PROMPT, "-n", GENERATE, "-r", 1, "-o", "json")):
        speeds["prefill" if line["n_prompt"] else "decode 1"] = line["avg_ts"]
    for line in run(f"{options.llama_bin}/llama-batched-bench", "-m", options.model, "-t", options.threads, "-fa", "on",
                    "-c", 4096, "-npp", CONTEXT, "-ntg", GENERATE, "-npl", ",".join(map(str, STREAMS[1:])),
                    "--output-format", "jsonl").splitlines():
        if line.startswith("{"):
            result = json.loads(line)
            speeds[f"decode {result['pl']}"] = result["speed_tg"]
    return speeds


def gannet(options):
    report = json.loads(run(options.gannet, "bench", options.model, "--json", "--threads", options.threads, "--prompt",
                            PROMPT, "--generate", GENERATE, "--context", CONTEXT, "--repeat", 1, "--streams",
                            ",".join(map(str, STREAMS))))
    speeds = {}
    for result in report["results"]:
        if result["streams"] == 1:
            speeds["prefill"] = result["prefill_tokens_per_s"]
        speeds[f"decode {result['streams']}"] = result["decode_tokens_per_s"]
    speeds["roof share"] = report["results"][0]["decode_share_of_read_roof"]
    speeds["read GB/s"] = report["roof"]["read_gb_s"]
    return speeds, report["kernels"]


def main():
    parser = argparse.ArgumentParser(description="gannet beside llama.cpp.")
    for name in ("--llama-bin", "--gannet", "--model"):
        parser.add_argument(name, required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", help="write every figure here")
    options = parser.parse_args()
    ours, theirs = [], []
    for number in range(options.rounds):
        print(f"round {number + 1} of {options.rounds}", file=sys.stderr, flush=True)
        theirs.append(llama(options))
        speeds, kernels = gannet(options)
        ours.append(speeds)
    print(f"{options.model}, {options.threads} threads, kernels {kernels}, median of {options.rounds} rounds\n")
    print(f"{'tokens/s':24}{'llama.cpp':>12}{'gannet':>12}{'ratio':>9}")
    for key in ["prefill"] + [f"decode {n}" for n in STREAMS]:
        mine, peer = (statistics.median(speeds[key] for speeds in side) for side in (ours, theirs))
        label = f"prefill of {PROMPT}" if key == "prefill" else f"decode, {key.split()[1]} streams"
        print(f"{label:24}{peer:12.1f}{mine:12.1f}{mine / peer:9.2f}")
    share, roof = (statistics.median(speeds[key] for speeds in ours) for key in ("roof share", "read GB/s"))
    print(f"\ndecode at 1 stream reads {share:.2f} of the read roof ({roof:.1f} GB/s, measured in the same runs)")
    if options.json:
        with open(options.json, "w") as file:
            json.dump(dict(llama=theirs, gannet=ours, threads=options.threads, kernels=kernels), file, indent=1)


if __name__ == "__main__":
    main()
