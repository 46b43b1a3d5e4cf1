# make run    the embedded default: a tiny model teaches itself arithmetic (a few minutes on 2 cores)
# make real   a real pretrained model, from the package index, teaches itself word problems
# make test   linters, type checker and the whole test suite
# make test-reliability   80 kills (KILLS=60), a fault at every effect on the disk, fuzzing, long runs (about an hour; KILLS=6: less)
# make methods   the methods compared over seeds; stops and goes on at any time (ARGS="order --seeds 0 1": a part of it)
# make bench  speed beside what a user would otherwise run, with the embedded model; make bench-large: 110M parameters
# make bench-smollm2   the same with SmolLM2-135M, from the package index: generation, collecting, LoRA rounds
# make floors the lowest version of each dependency that pyproject.toml allows, tried
# make release   dist/: wheel, sdist, SBOM; built, checked, installed and run
# make lock   resolve what is pinned again, for every platform (ARGS=--upgrade: the newest of all)
#
# VENV=<folder>   the environment elsewhere     PYTHON=python3.12   another Python than the first that fits
# WORKERS=4       processes that the tests run in, each on a core of its own (2)
SUITS = import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 15))
ifndef PYTHON
PYTHON := $(firstword $(foreach name,python3 python3.13 python3.12 python3.11 python3.14,$(shell $(name) -c '$(SUITS)' 2>/dev/null && echo $(name))))
endif
VENV ?= .venv
WORKERS ?= 2
BIN := $(VENV)/bin
INSTALL := $(PYTHON) requirements/install.py
export HF_HUB_OFFLINE := 1
# Where it is set, as in many images, each process would compile torch and vLLM anew: half a minute for an engine.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: run real setup test test-reliability methods bench bench-large bench-smollm2 lint lock floors release clean

run: $(VENV)/.ready
	$(BIN)/python -m star_loop $(ARGS)

real: $(VENV)/.ready-real
	$(BIN)/python -m star_loop experiment=real $(ARGS)

setup: $(VENV)/.ready

test: $(VENV)/.ready-dev lint
	$(BIN)/python -m pytest -q -n $(WORKERS) --dist worksteal $(ARGS)

test-reliability: $(VENV)/.ready-dev
	$(BIN)/python -m pytest -q -s -m reliability $(ARGS)

methods: $(VENV)/.ready
	$(BIN)/python -m benchmarks.methods run $(ARGS)

bench: $(VENV)/.ready-dev
	$(BIN)/python -m benchmarks.speed tiny $(ARGS)

bench-large: $(VENV)/.ready-dev
	$(BIN)/python -m benchmarks.speed large $(ARGS)

bench-smollm2: $(VENV)/.ready-dev $(VENV)/.ready-real
	$(BIN)/python -m benchmarks.speed smollm2 --only generation collecting training starting $(ARGS)

lint: $(VENV)/.ready-dev
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy

lock: $(VENV)/.ready
	ARGS="$(ARGS)" PATH="$(CURDIR)/$(BIN):$$PATH" requirements/lock.sh

floors:
	PATH="$(CURDIR)/$(BIN):$$PATH" PYTHON=$(PYTHON) requirements/floors.sh

release: $(VENV)/.ready
	PATH="$(CURDIR)/$(BIN):$$PATH" PYTHON=$(PYTHON) requirements/release.sh

clean:
	rm -rf $(VENV) build dist *.egg-info

$(VENV)/.ready: requirements/install.py requirements/cpu.lock requirements/gpu.lock requirements/torch.lock requirements/torch-cpu.lock pyproject.toml
	@$(PYTHON) -c '$(SUITS)' 2>/dev/null || { echo "star_loop needs Python 3.11 to 3.14, and $(or $(PYTHON),no such Python) is not one: make $(MAKECMDGOALS) PYTHON=<a Python>"; exit 1; }
	@$(INSTALL) run $(VENV)

$(VENV)/.ready-real: $(VENV)/.ready requirements/real.lock
	@$(INSTALL) real $(VENV)

$(VENV)/.ready-dev: $(VENV)/.ready requirements/dev.lock
	@$(INSTALL) dev $(VENV)
