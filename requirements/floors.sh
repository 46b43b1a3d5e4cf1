#!/usr/bin/env bash
# `make floors`: the lowest version of each dependency that pyproject.toml allows, in a fresh environment, with the locked
# torch. The smoke experiment runs, and tests of methods, of LoRA rounds and of the report.
set -euo pipefail
cd "$(dirname "$0")/.."
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
PYTHON=${PYTHON:-python3}
"$PYTHON" requirements/install.py run "$scratch/venv"
PATH="$PATH:$scratch/venv/bin" # where pip has put uv, if it was not on the PATH
echo torch==2.13.0 | uv pip compile --quiet --python "$scratch/venv" --resolution lowest-direct --no-annotate \
    pyproject.toml - requirements/floors.in --excludes requirements/excluded.txt |
    grep -vE '^(torch|triton|cuda-|nvidia-)' >"$scratch/floors.txt"
uv pip install --quiet --python "$scratch/venv" --no-deps --requirements "$scratch/floors.txt"
grep -E "^($(sed -n 's/^    "\([a-z0-9-]*\)[>=].*/\1/p' pyproject.toml | paste -sd'|'))==" "$scratch/floors.txt"
"$scratch/venv/bin/python" -m star_loop experiment=smoke iterations=2 "outputs=$scratch"
"$scratch/venv/bin/python" -m pytest -q tests/samplers tests/accounting tests/trainers/test_lora.py tests/report
