# make run    the embedded default: a tiny model teaches itself arithmetic (2½ minutes on 2 cores)
# make test   linters, type checker and the whole test suite
# make test-reliability   80 kills (KILLS=60), a fault at every effect on the disk, fuzzing, long runs (about an hour; KILLS=6: less)
# make methods   the methods compared over seeds; stops and goes on at any time (ARGS="order --seeds 0 1": a part of it)
# make bench  speed beside what a user would otherwise run, with the embedded model; make bench-large: 110M parameters
# make lock   resolve the pinned CPU dependencies again
#
# Where pip does not find a CPU build of torch by itself: make run TORCH_INDEX=<index of CPU wheels>
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))
export HF_HUB_OFFLINE := 1

.PHONY: run setup test test-reliability methods bench bench-large lint lock clean

run: .venv/.ready
	$(BIN)/python -m star_loop $(ARGS)

setup: .venv/.ready

test: .venv/.ready-dev lint
	$(BIN)/python -m pytest -q $(ARGS)

test-reliability: .venv/.ready-dev
	$(BIN)/python -m pytest -q -s -m reliability $(ARGS)

methods: .venv/.ready
	$(BIN)/python -m benchmarks.methods run $(ARGS)

bench: .venv/.ready-dev
	$(BIN)/python -m benchmarks.speed tiny $(ARGS)

bench-large: .venv/.ready-dev
	$(BIN)/python -m benchmarks.speed large $(ARGS)

lint: .venv/.ready-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

lock:
	$(PYTHON) requirements/lock.py

clean:
	rm -rf .venv build dist *.egg-info

.venv/.ready: requirements/cpu.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "star_loop needs Python 3.11 or newer: make $(MAKECMDGOALS) PYTHON=python3.11")'
	$(PYTHON) -m venv .venv
	$(PIP) --no-deps -r requirements/cpu.lock
	$(PIP) --no-deps --editable .
	touch $@

.venv/.ready-dev: .venv/.ready requirements/dev.lock
	$(PIP) --no-deps -r requirements/dev.lock
	touch $@
