#!/usr/bin/env bash
# gannet beside llama.cpp on the same file, threads and machine, runs taking turns. Not part of ./test.
set -euo pipefail
here=$PWD
cd "$(dirname "$0")/../.."

usage() {
  cat <<'TEXT'
bench/peers/build_and_run.sh [--llama-bin DIR] [--gannet PROGRAM] [--model FILE.gguf] [--threads N] [--rounds N] [--json F]
  --llama-bin   a folder with llama-bench and llama-batched-bench; without it they are built in .cache/peers from the
                source package of llama-cpp-python on PyPI
  --model       default: SmolLM2-135M-Instruct, fetched as ./run does
TEXT
}

version=0.3.36
llama= gannet= model= threads=2 rounds=3 json=
absolute() { case $1 in /*) echo "$1" ;; *) echo "$here/$1" ;; esac; }
while [ $# -gt 0 ]; do
  case $1 in -h | --help) usage; exit 0 ;; esac
  [ $# -gt 1 ] || { usage >&2; exit 2; }
  case $1 in
    --llama-bin) llama=$(absolute "$2") ;;
    --gannet) gannet=$(absolute "$2") ;;
    --model) model=$(absolute "$2") ;;
    --threads) threads=$2 ;;
    --rounds) rounds=$2 ;;
    --json) json=$(absolute "$2") ;;
    *) usage >&2; exit 2 ;;
  esac
  shift 2
done

. tools/setup/common.sh
need_packages tools/setup/packages.txt
if [ -z "$gannet" ]; then
  build build/release gannet --preset release || die "gannet's build failed."
  gannet=$PWD/build/release/gannet
fi
if [ -z "$model" ]; then
  need_smollm2
  model=$PWD/$smollm2
fi
if [ -z "$llama" ]; then
  peers=$PWD/.cache/peers
  llama=$peers/build/bin
  if [ ! -x "$llama/llama-batched-bench" ] || [ ! -x "$llama/llama-bench" ]; then
    need_venv
    mkdir -p "$peers"
    if [ ! -f "$peers/llama_cpp_python-$version.tar.gz" ]; then
      say "Fetching llama.cpp (source package llama-cpp-python $version)"
      .venv/bin/pip download -q --disable-pip-version-check --no-deps --no-binary llama-cpp-python -d "$peers" \
        "llama-cpp-python==$version" >&2 || die "pip cannot fetch llama-cpp-python $version"
    fi
    tar -C "$peers" -xzf "$peers/llama_cpp_python-$version.tar.gz"
    build "$peers/build" "llama-bench llama-batched-bench" -G Ninja -S "$peers/llama_cpp_python-$version/vendor/llama.cpp" \
      -DCMAKE_BUILD_TYPE=Release -DLLAMA_OPENSSL=OFF -DLLAMA_USE_PREBUILT_UI=OFF -DLLAMA_BUILD_UI=OFF \
      -DLLAMA_BUILD_TESTS=OFF || die "llama.cpp's build failed."
  fi
fi
python3 bench/peers/compare.py --llama-bin "$llama" --gannet "$gannet" --model "$model" --threads "$threads" \
  --rounds "$rounds" ${json:+--json "$json"}
