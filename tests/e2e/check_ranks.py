"""One model in several processes (mpirun): the logits and tokens of one process, shares that are refused, ranks that die.

    python tests/e2e/check_ranks.py GANNET [SMOLLM2.gguf]

Models are small random ones of `gannet synth`, with sizes that 2 and 4 ranks can share. TP sizes agree within rounding
(largest difference printed), a size with itself bit for bit, by any chunk. Two network namespaces with a host name each
stand for two machines, where that is allowed. Needs numpy only.
"""

import contextlib
import ctypes

import http.client
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from checks import Checks  # noqa: E402

MPIRUN = ["mpirun", "--allow-run-as-root", "--oversubscribe"]
# Sums of fp32 products in another order. Logits are about 1 here and a model has a few hundred additions in a row.
TOLERANCE = 2e-4
COMMON = dict(max_position_embeddings=256, vocab_size=259, hidden_size=64, intermediate_size=96, rms_norm_eps=1e-6,
              hidden_act="silu", num_hidden_layers=3, torch_dtype="float32", tie_word_embeddings=False)
EXPERTS = dict(moe_intermediate_size=32, n_routed_experts=8, num_experts_per_tok=3, n_shared_experts=1,
               first_k_dense_replace=1, norm_topk_prob=True, routed_scaling_factor=1.8)
LATENT = dict(kv_lora_rank=32, q_lora_rank=48, qk_nope_head_dim=12, qk_rope_head_dim=8, v_head_dim=16,
              rope_parameters=dict(rope_type="default", rope_theta=10000.0))


def config(architecture, model_type, **keys):
    return {**COMMON, "architectures": [architecture], "model_type": model_type, **keys}


FLASH = config("Glm4MoeLiteForCausalLM", "glm4_moe_lite", num_attention_heads=20, num_key_value_heads=20, **LATENT, **EXPERTS)
MIMO = config("MiMoV2FlashForCausalLM", "mimo_v2_flash", num_attention_heads=12, num_key_value_heads=1, head_dim=12,
              v_head_dim=8, swa_num_attention_heads=12, swa_num_key_value_heads=3, swa_head_dim=12, swa_v_head_dim=8,
              sliding_window=16, hybrid_layer_pattern=[0, 1, 0], moe_layer_freq=[0, 1, 1], attention_value_scale=0.7,
              rope_theta=10000.0, swa_rope_theta=5000.0, partial_rotary_factor=0.5,
              **{**EXPERTS, "moe_intermediate_size": 24, "first_k_dense_replace": None, "n_shared_experts": None})
MODELS = {  # name -> (config, numbers of ranks that share it, numbers that cannot and a word of the refusal)
    "flash": (FLASH, (2, 4), {3: "20 heads"}),
    "gated flash with biases": ({**FLASH, "use_gated_attn": True, "use_bias": True, "gated_attn_act": "scaled_softsign",
                                 "attention_bias": True}, (2, 4), {}),
    "mimo, 1 and 3 KV heads": (MIMO, (3,), {2: "3 KV heads", 4: "3 KV heads"}),
    "mimo, 1 KV head": ({**MIMO, "swa_num_key_value_heads": 1}, (2, 4), {}),
    "glm-5": (config("GlmMoeDsaForCausalLM", "glm_moe_dsa", num_attention_heads=8, num_key_value_heads=8, index_topk=9,
                     index_n_heads=5, index_head_dim=16, indexer_types=["full", "shared", "full"], **LATENT, **EXPERTS),
              (2, 4), {3: "8 heads"}),
    "gpt-oss": (config("GptOssForCausalLM", "gpt_oss", num_attention_heads=8, num_key_value_heads=2, head_dim=16,
                       num_local_experts=4, num_experts_per_tok=2, sliding_window=12, attention_bias=True,
                       rope_parameters=dict(rope_type="default", rope_theta=10000.0), layer_types=["sliding_attention", "full_attention", "sliding_attention"]),
                (2, 4), {3: "2 KV heads"}),
}
IDS = [(7 * i * i + 3 * i) % 259 for i in range(60)]


class Ranks(Checks):
    def __init__(self, program, scratch):
        super().__init__()
        self.program = program
        self.npy = pathlib.Path(scratch) / "logits.npy"

    def run(self, ranks, *arguments, launcher=MPIRUN):
        launched = [*launcher, "-np", str(ranks)] if ranks > 1 else []
        return subprocess.run([*launched, self.program, *map(str, arguments)], capture_output=True, text=True, timeout=120)

    def logits(self, ranks, model, *more, launcher=MPIRUN):
        self.npy.unlink(missing_ok=True)
        done = self.run(ranks, "logits", model, "--ids", ",".join(map(str, IDS)), "--prompt", 40, "--threads", 1, "--out",
                        self.npy, *more, launcher=launcher)
        if done.returncode != 0:
            raise RuntimeError(f"{ranks} ranks ended with {done.returncode}: "
                               f"{[line for line in done.stderr.splitlines() if line.startswith('gannet:')]}")
        return np.load(self.npy)


def shares(checks, name, model, sizes, refused):
    alone = checks.logits(1, model)
    greedy = checks.run(1, "complete", model, "--ids", "1,2,3", "--print-ids", "--ignore-eos", "--max-tokens", 8).stdout
    for ranks in sizes:
        for experts in ("width", "whole"):
            if experts == "whole" and 8 % ranks != 0:
                continue
            what = f"{name}, {ranks} ranks, experts by {experts}"
            try:
                got = [checks.logits(ranks, model, "--shard-experts", experts, *chunk) for chunk in ([], [], ["--chunk", 7])]
            except (RuntimeError, OSError, subprocess.TimeoutExpired) as error:
                checks.check(False, f"{what}: {error}")
                continue
            difference = np.abs(got[0] - alone).max()
            print(f"{what}: largest difference from one process {difference:.1e} (logits to {np.abs(alone).max():.1f})", flush=True)
            checks.check(difference < TOLERANCE, f"{what}: differs by {difference:.1e}")
            checks.check(got[0].tobytes() == got[1].tobytes(), f"{what}: other bits in another run")
            checks.check(got[0].tobytes() == got[2].tobytes(), f"{what}: other bits by another chunk")
        said = checks.run(ranks, "complete", model, "--ids", "1,2,3", "--print-ids", "--ignore-eos", "--max-tokens", 8)
        checks.check(said.stdout == greedy, f"{name}, {ranks} ranks: tokens {said.stdout!r}, of one process {greedy!r}")
    for ranks, words in refused.items():
        done = checks.run(ranks, "logits", model, "--ids", "1,2", "--out", checks.npy)
        lines = [line for line in done.stderr.splitlines() if line.startswith("gannet:")]
        checks.check(done.returncode != 0 and len(lines) == 1 and words in lines[0] and f"{ranks} ranks" in lines[0],
                     f"{name}, {ranks} ranks: expected one refusal with {words!r}, got {lines}")


def ranks_of(model):
    """Process ids of the ranks that have `model` on their command line, in order of rank."""
    found = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            arguments = pathlib.Path("/proc", pid, "cmdline").read_bytes().split(b"\0")
            variables = pathlib.Path("/proc", pid, "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        rank = [v for v in variables if v.startswith(b"OMPI_COMM_WORLD_RANK=")]
        if rank and b"serve" in arguments[:2] and str(model).encode() in arguments:
            found[int(rank[0].split(b"=")[1])] = int(pid)
    return [found[rank] for rank in sorted(found)]


def is_alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"  # the dead wait for their parent
    except OSError:
        return False


def dies(checks, model, launcher=MPIRUN, host="127.0.0.1"):
    """kill -9 of a rank while the server answers: everybody ends, and the client hears of it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen([*launcher, "-np", "2", checks.program, "serve", str(model), "--host", host, "--port", str(port),
                               "--threads", "1"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    address = f"http://{host}:{port}"
    try:
        for _ in range(300):
            try:
                if json.load(urllib.request.urlopen(address + "/health", timeout=5))["status"] == "ok":
                    break
            except (urllib.error.URLError, OSError):
                pass
            time.sleep(0.1)
        body = dict(prompt=[1, 2, 3], max_tokens=8, temperature=0, ignore_eos=True)
        reply = json.load(urllib.request.urlopen(urllib.request.Request(
            address + "/v1/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}), timeout=60))
        checks.check(reply["usage"]["completion_tokens"] == 8, f"two ranks serve: {reply}")

        body.update(max_tokens=200, stream=True)
        stream = urllib.request.urlopen(urllib.request.Request(
            address + "/v1/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}), timeout=60)
        stream.readline()
        ranks = ranks_of(model)
        checks.check(len(ranks) == 2, f"two ranks run: {ranks}")
        begin = time.monotonic()
        os.kill(ranks[1], signal.SIGKILL)
        try:
            rest = stream.read().decode()
            heard = "a stream that ends" + (", with [DONE]" if "[DONE]" in rest else " without [DONE]")
        except (OSError, http.client.HTTPException) as error:
            heard = f"a broken stream ({type(error).__name__})"
        output, _ = server.communicate(timeout=60)
        took = time.monotonic() - begin
        gone = not any(is_alive(rank) for rank in ranks)
        print(f"kill -9 of rank 1: all ended after {took:.1f} s; the client got {heard}; last words: "
              f"{[line for line in output.splitlines() if 'signal' in line or 'gannet:' in line][-1:]}", flush=True)
        checks.check(gone and server.returncode != 0, f"the other rank is gone, exit code {server.returncode}")
        checks.check("signal 9" in output or "rank" in output, f"somebody says why: {output[-600:]}")
    finally:
        if server.poll() is None:
            server.kill()
            server.wait()


@contextlib.contextmanager
def two_machines(scratch):
    """A launcher on the first of two network namespaces, with a rank on each. This process moves into the second."""
    near, far = (f"gannet-{os.getpid()}-{end}" for end in "ab")
    agent = pathlib.Path(scratch) / "agent"  # what mpirun has in place of ssh: HOST COMMAND...
    agent.write_text(f'#!/bin/sh\nshift\nexec ip netns exec {far} unshare --uts sh -c "hostname machine-b; $*"\n')
    agent.chmod(0o755)
    hosts = pathlib.Path(scratch) / "hosts"
    hosts.write_text("10.77.0.1 slots=1\n10.77.0.2 slots=1\n")

    def ip(*arguments):
        subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True, timeout=60)

    home = os.open("/proc/self/ns/net", os.O_RDONLY)
    setns = ctypes.CDLL(None, use_errno=True).setns
    try:
        ip("netns", "add", near)
        ip("netns", "add", far)
        ip("link", "add", "wire", "netns", near, "type", "veth", "peer", "name", "wire", "netns", far)
        for name, address in ((near, "10.77.0.1/24"), (far, "10.77.0.2/24")):
            ip("-n", name, "address", "add", address, "dev", "wire")
            ip("-n", name, "link", "set", "wire", "up")
            ip("-n", name, "link", "set", "lo", "up")
        with open(f"/run/netns/{far}") as namespace:
            if setns(namespace.fileno(), 0) != 0:
                raise OSError(ctypes.get_errno(), "setns")
        network = "10.77.0.0/24"
        yield ["ip", "netns", "exec", near, "unshare", "--uts", "sh", "-c", 'hostname machine-a; exec "$@"', "sh", *MPIRUN,
               "--hostfile", hosts, "--mca", "plm_rsh_agent", agent, "--mca", "pml", "ob1", "--mca", "btl", "tcp,self",
               "--mca", "oob_tcp_if_include", network, "--mca", "btl_tcp_if_include", network]
    finally:
        setns(home, 0)
        os.close(home)
        for name in (near, far):
            subprocess.run(["ip", "netns", "delete", name], capture_output=True)


def machines(checks, model, scratch):
    alone = checks.logits(1, model)
    try:
        with two_machines(scratch) as launcher:
            try:
                started = subprocess.run([*launcher, "-np", "2", "hostname"], capture_output=True, text=True, timeout=60)
            except subprocess.TimeoutExpired as error:
                raise OSError("the launcher does not reach the second one") from error
            if started.returncode != 0:
                raise OSError(started.stderr.strip()[-300:])
            checks.check(sorted(started.stdout.split()) == ["machine-a", "machine-b"], f"two machines: {started.stdout!r}")
            got = checks.logits(2, model, launcher=launcher)
            difference = np.abs(got - alone).max()
            print(f"two machines: largest difference from one process {difference:.1e}; a client of the second:", flush=True)
            checks.check(difference < TOLERANCE, f"two machines: differs by {difference:.1e}")
            checks.check(got.tobytes() == checks.logits(2, model).tobytes(), "two machines: other bits than two ranks of one")
            dies(checks, model, launcher, "10.77.0.1")
    except (OSError, subprocess.CalledProcessError) as error:  # not root, or a sandbox without namespaces
        print(f"SKIPPED: two machines: {error} {getattr(error, 'stderr', '')}", flush=True)
    except (RuntimeError, subprocess.TimeoutExpired) as error:
        checks.check(False, f"two machines: {error}")


def quantized(checks, model):
    """Columns of 4-bit blocks, three ranks: as the reference kernels compute them, and with the fast ones' 15-bit inputs."""
    alone = checks.logits(1, model, "--kernels", "reference")
    size = np.abs(alone).max()
    for kernels, bound in (("reference", TOLERANCE), ("auto", 0.01)):
        got = checks.logits(3, model, "--kernels", kernels)
        difference = np.abs(got - alone).max()
        print(f"SmolLM2 Q4_1, 3 ranks, {kernels} kernels: largest difference from the reference {difference:.1e} "
              f"(logits to {size:.1f})", flush=True)
        checks.check(difference < bound * size, f"SmolLM2, 3 ranks, {kernels}: differs by {difference:.1e}")
    refused = checks.run(2, "logits", model, "--ids", "1,2", "--out", checks.npy)
    checks.check("3 KV heads" in refused.stderr and refused.returncode != 0, f"SmolLM2, 2 ranks: {refused.stderr[-300:]}")


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    with tempfile.TemporaryDirectory() as scratch:
        checks = Ranks(sys.argv[1], scratch)
        started = subprocess.run([*MPIRUN, "-np", "2", "true"], capture_output=True, text=True, timeout=120)
        if started.returncode != 0:  # a sandbox may forbid what a launcher needs
            print(f"SKIPPED: mpirun starts no two processes here: {started.stderr.strip()[-300:]!r}")
            checks.check(True, "")
            return checks.end()
        models = {}
        for name, (keys, sizes, refused) in MODELS.items():
            folder = pathlib.Path(scratch) / name.replace(" ", "-").replace(",", "")
            folder.mkdir()
            (folder / "config.json").write_text(json.dumps({k: v for k, v in keys.items() if v is not None}))
            models[name] = folder / "model"
            made = checks.run(1, "synth", folder / "config.json", "--format", "f32", "--seed", 1, "--out", models[name])
            if checks.check(made.returncode == 0, f"synth {name}: {made.stderr[-300:]}"):
                shares(checks, name, models[name], sizes, refused)
        dies(checks, models["flash"])
        machines(checks, models["flash"], scratch)
        if len(sys.argv) == 3:
            quantized(checks, sys.argv[2])
        return checks.end()


if __name__ == "__main__":
    sys.exit(main())
