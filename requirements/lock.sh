#!/usr/bin/env bash
# `make lock`: resolve all that is installed once, for every platform and Python, and pin it with hashes.
# What is pinned already stays, as far as it can; `make lock ARGS=--upgrade` takes the newest of everything.
#
#   cpu.lock        to run without a GPU, all but torch       torch-cpu.lock  torch's CPU build, from its own index
#   gpu.lock        to run with one, all                      torch.lock      torch of the package index, with CUDA on Linux
#   real.lock       for `make real`, besides                  dev.lock        for the tests, all but torch
#   installer.lock  uv itself                                 build.lock      what builds packages
#
# torch-cpu.lock is written by hand: its hashes are those that PyTorch's index of CPU builds gives.
set -euo pipefail
cd "$(dirname "$0")/.."
UV=${UV:-uv}
scratch=$(mktemp -d)
trap 'rm -r "$scratch"' EXIT

resolve() { # <file to write> <uv's options and inputs …>
    "$UV" pip compile --quiet --universal --generate-hashes --python-version 3.11 --no-annotate \
        --custom-compile-command 'make lock' --overrides requirements/overrides.txt --output-file "$@" "${ARGS[@]}" >/dev/null
    echo "$1: $(names "$1" | wc -l) packages"
}
names() { sed -n 's/^\([a-z0-9._-]*\)==.*/\1/p' "$@" | sort -u; }

read -ra ARGS <<<"${ARGS:-}"
inputs=(requirements/cpu.in pyproject.toml --excludes requirements/excluded.txt)
all=$scratch/all.lock
touch requirements/{cpu,torch,real,dev}.lock
cat requirements/{cpu,torch,real,dev}.lock >"$all"
resolve "$all" "${inputs[@]}" requirements/real.in requirements/dev.in --extra dev

part() { # the same versions, of fewer inputs
    cp "$all" "$1"
    resolve "$@"
}
resolve requirements/build.lock requirements/build.in
resolve requirements/installer.lock requirements/installer.in
ARGS=()
echo torch==2.13.0 >"$scratch/torch.in"
part "$scratch/torch.lock" "$scratch/torch.in"
cuda=$(names "$scratch/torch.lock" | grep -E '^(cuda|nvidia|torch|triton)')
readarray -t no_cuda < <(sed 's/^/--no-emit-package=/' <<<"$cuda")
part requirements/cpu.lock "${inputs[@]}" "${no_cuda[@]}"
part requirements/dev.lock "${inputs[@]}" "${no_cuda[@]}" requirements/real.in requirements/dev.in --extra dev
part requirements/real.lock requirements/real.in --excludes requirements/excluded.txt
part requirements/gpu.lock requirements/gpu.in pyproject.toml
readarray -t no_cpu < <(names requirements/cpu.lock | sed 's/^/--no-emit-package=/')
part requirements/torch.lock "$scratch/torch.in" "${no_cpu[@]}"
