"""docs/add_a_model.md is true: a made-up dense architecture takes one file, and each forgotten step is named.

    python tests/e2e/check_add_a_model.py BUILD_FOLDER       standard library, and the compiler the folder was built with

Compiles that file beside the built libraries and links it into a gannet and a test program of its own.
"""

import functools
import json
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from checks import Checks  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]

# What a user writes: a Llama with norms on its heads, RoPE on half of each, and heads under another key.
MADE_UP = """
#include "models/common_keys.h"
#include "models/grouped_keys.h"
#include "models/registry.h"

namespace gannet {
namespace {

ModelSpec ResolveMadeUp(const ModelSource& source, ConfigReader& reader) {
  ModelFrame frame = ReadHfFrame(reader, "made_up");
  const int64_t heads = reader.Required<int64_t>("heads");
  GroupedOptions options{.full = HfGroupedAttention(reader, heads, heads, HfHeadDim(reader, frame.spec.hidden, heads)),
                         .rope = HfRopeOptions{.partial = true, .default_partial = 0.5}};
  options.full.qk_norm = frame.norm;
  const DenseFfn ffn = ReadHfDenseFfn(reader, false);
  for (const GroupedAttention& attention : ReadGroupedLayers(reader, source, frame, options)) {
    frame.spec.layers.push_back({attention, ffn, PreNormResidual{}, frame.norm});
  }
  return frame.spec;
}

const RegisterArchitectures kRegistered{{Dialect::kHuggingFace, "MadeUpForCausalLM", ResolveMadeUp}};

}  // namespace
}  // namespace gannet
"""
CONFIG = dict(architectures=["MadeUpForCausalLM"], model_type="made_up", hidden_size=24, intermediate_size=40, heads=3,
              head_dim=8, num_hidden_layers=2, vocab_size=50, max_position_embeddings=128, rms_norm_eps=1e-6,
              hidden_act="silu", rope_theta=10000.0)
# Files that must know every kind of feed-forward, by the list in the document.
KIND_FILES = ["src/spec/describe.cc", "src/checkpoint/tensor_plan.cc", "src/layers/workspace_plan.cc",
              "src/layers/decoder_layer.cc", "src/engine/model.cc"]


class Build:
    """The commands ninja would run, with something changed."""

    def __init__(self, folder):
        self.folder = folder

    @functools.cache
    def command(self, target):
        done = subprocess.run(["ninja", "-C", self.folder, "-t", "commands", target], capture_output=True, text=True)
        return done.stdout.strip().splitlines()

    def compile(self, like, source, target, before=()):
        """Compiles as the file `like` is compiled, with include folders `before` the others."""
        line = next(l for l in self.command("all") if l.endswith(f" -c {ROOT / like}"))
        words = [w for w in shlex.split(line) if not w.endswith("ccache")]
        for flag in ("-o", "-MF", "-c"):
            at = words.index(flag)
            del words[at:at + 2]
        words = [w for w in words if w not in ("-MD", "-MT")]
        words = [w for w in words if not w.endswith(".cc.o")]
        extra = [f"-I{folder}" for folder in before]
        what = ["-fsyntax-only"] if target is None else ["-o", target]
        return self.run([words[0], *extra, *words[1:], *what, "-c", source])

    def link(self, name, extra, target):
        line = next(l for l in reversed(self.command(name)) if re.search(rf" -o \S*{name} ", l))
        line = re.sub(rf" -o \S*{name} ", f" {shlex.quote(str(extra))} -o {shlex.quote(str(target))} ", line)
        return subprocess.run(line, shell=True, cwd=self.folder, capture_output=True, text=True)

    def run(self, words):
        return subprocess.run(list(map(str, words)), cwd=self.folder, capture_output=True, text=True)


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    checks = Checks()
    build = Build(pathlib.Path(sys.argv[1]).resolve())
    gannet = build.folder / "gannet"
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        source, made, config = scratch / "made_up.cc", scratch / "made_up.o", scratch / "config.json"
        source.write_text(MADE_UP)
        config.write_text(json.dumps(CONFIG))

        def said(program, *arguments):
            done = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True)
            return done.returncode, done.stdout + done.stderr

        code, words = said(gannet, "inspect", config)
        checks.check(code == 2 and "MadeUpForCausalLM" in words, f"without the file: exit code {code}, {words[-200:]}")

        done = build.compile("src/models/llama.cc", source, made)
        checks.check(done.returncode == 0, f"the file does not compile: {done.stderr[-500:]}")
        own = scratch / "gannet"
        done = build.link("gannet", made, own)
        checks.check(done.returncode == 0, f"the program does not link: {done.stderr[-500:]}")
        code, words = said(own, "inspect", config)
        checks.check(code == 0 and "qk norm" in words and "dims 0-3" in words, f"inspect: exit code {code}, {words[-300:]}")
        code, words = said(own, "synth", config, "--out", scratch / "model")
        checks.check(code == 0, f"synth: exit code {code}, {words[-300:]}")
        code, words = said(own, "complete", scratch / "model", "--ids", "1,2,3", "--max-tokens", 4, "--print-ids",
                           "--ignore-eos")
        checks.check(code == 0 and re.search(r"\d+,\d+,\d+,\d+", words), f"complete: exit code {code}, {words[-300:]}")

        # Forgotten: a key that the resolver does not read.
        config.write_text(json.dumps(dict(CONFIG, made_up_scale=2.0)))
        code, words = said(own, "inspect", config)
        checks.check(code == 2 and "made_up_scale" in words, f"an unread key: exit code {code}, {words[-200:]}")
        # Forgotten: the registration.
        source.write_text(re.sub(r"const RegisterArchitectures.*\n", "", MADE_UP))
        done = build.compile("src/models/llama.cc", source, scratch / "forgotten.o")
        checks.check(done.returncode != 0 and "ResolveMadeUp" in done.stderr, f"no registration: {done.stderr[-300:]}")
        # Forgotten: the goldens.
        tests = scratch / "layers_test"
        done = build.link("layers_test", made, tests)
        checks.check(done.returncode == 0, f"the test does not link: {done.stderr[-500:]}")
        code, words = said(tests, "--gtest_filter=Plans.EveryArchitectureHasAGolden")
        checks.check(code != 0 and "MadeUpForCausalLM" in words, f"no goldens: exit code {code}, {words[-300:]}")
        # Forgotten: a new kind, at any of the places that must know it.
        overlay = scratch / "overlay" / "spec"
        overlay.mkdir(parents=True)
        header = (ROOT / "src/spec/layer_spec.h").read_text()
        kinds = "using Ffn = std::variant<DenseFfn, MoeFfn>;"
        checks.check(kinds in header, "layer_spec.h lists the kinds of feed-forward otherwise")
        (overlay / "layer_spec.h").write_text(
            header.replace(kinds, "struct MadeUpFfn {};\nusing Ffn = std::variant<DenseFfn, MoeFfn, MadeUpFfn>;"))
        for file in KIND_FILES:
            done = build.compile(file, ROOT / file, None, before=[scratch / "overlay"])
            checks.check(done.returncode != 0 and "MadeUpFfn" in done.stderr, f"{file} compiles without a kind")
    return checks.end()


if __name__ == "__main__":
    sys.exit(main())
