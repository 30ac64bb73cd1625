#!/usr/bin/env bash
# Unpacks the arm64 packages of packages-aarch64-sysroot.txt, with what they depend on, into .cache/aarch64: apt is given
# folders and an architecture of its own, so that the machine's packages stay as they are.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tools/setup/common.sh
root=$PWD/.cache/aarch64
list=tools/setup/packages-aarch64-sysroot.txt
sum=$(sha256sum <$list)
[ "$(cat "$root/.made" 2>/dev/null)" = "$sum" ] && exit 0
say "Fetching arm64 packages into .cache/aarch64"
rm -rf "$root"
apt=$root.apt
mkdir -p "$root" "$apt"/{lists/partial,archives/partial}
: >"$apt/status"
options=(-o APT::Architecture=arm64 -o APT::Architectures::=arm64 -o Dir::State::status="$apt/status"
  -o Dir::State::lists="$apt/lists" -o Dir::Cache::archives="$apt/archives" -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache=
  -o APT::Install-Recommends=false -o Debug::NoLocking=1 -o APT::Sandbox::User=root -o DPkg::Post-Invoke= -o APT::Update::Post-Invoke=
  -o APT::Keep-Downloaded-Packages=true)
apt-get "${options[@]}" update -qq >"$apt/log" 2>&1 || true  # a source without arm64 is no reason to stop
apt-get "${options[@]}" install -y -qq --download-only $(listed $list) >>"$apt/log" 2>&1 ||
  { tail -n 5 "$apt/log" >&2; die "cannot fetch the arm64 packages: see $apt/log"; }
for package in "$apt"/archives/*.deb; do
  dpkg-deb -x "$package" "$root"
done
rm -rf "$apt"
# Absolute links would lead out of the folder.
find "$root" -lname '/*' | while read -r link; do
  ln -sfn "$root$(readlink "$link")" "$link"
done
printf '%s\n' "$sum" >"$root/.made"
