# The everyday words of the project; `make` alone lists them. ARGS="…" is passed on to the tool behind a word.
.DEFAULT_GOAL := help
PY := .venv/bin/python
WORKERS ?= 2
SEED ?=
SIZE ?=
export SEED SIZE SEEDS OPS FAULTS ONLY KIND WORKERS REQUESTS

.PHONY: help setup demo check test proof sim fuzz drill mutants bench api migration lock clean

help: ## list these words
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 18

setup: ## make .venv from the hash-locked requirements; quick when nothing changed (PYTHON=…)
	@scripts/setup

demo: setup ## everything on embedded servers, with a year of real purchases
	@.venv/bin/loyalty demo $(ARGS)

check: setup ## style, types, direction of imports
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/pyright
	.venv/bin/lint-imports

test: setup ## every test except the long evidence, on real servers
	$(PY) -m pytest -q -n $(WORKERS) $(ARGS)

proof: setup ## the long evidence, with seeds and the time of each share (SEED=… SIZE=… ARGS=share)
	@$(PY) scripts/proof $(ARGS)

sim: setup ## seeded shops against the model, with faults (SEEDS=200 SEED= OPS=200; FAULTS= crowds, else a quarter of SEEDS; ONLY= KIND= of a failure)
	@$(PY) -m tests.sim

drill: setup ## everything that may break, broken under load (SEEDS=3 SEED= ONLY=postgres_stopped,disk_full)
	@$(PY) -m tests.drills

fuzz: setup ## generated, spoilt and forged requests against a server of its own (REQUESTS=100000 SEED=)
	@$(PY) -m tests.fuzz

mutants: setup ## planted bugs, each to be caught by a test (ONLY=pieces of names,with commas)
	@$(PY) -m tests.mutants $(ARGS)

bench: setup ## speed, as ratios to what the same machine can do
	@$(PY) -m bench $(ARGS)

api: setup ## rewrite openapi/openapi.json and the error catalogue from the code
	@$(PY) -m loyalty.web.written

migration: setup ## the next migration file: m="add hold ttl"
	@$(PY) scripts/migration "$(m)"

lock: setup ## refresh requirements/*.txt from pyproject.toml (ARGS=--upgrade)
	@scripts/lock $(ARGS)
	@scripts/setup

clean: ## remove environment, caches and the data of the embedded servers; the figures in proof/, hours of work, stay
	@if [ -x .venv/bin/loyalty ]; then env -u LOYALTY_HOME .venv/bin/loyalty servers reset --yes; fi
	rm -rf .venv .tools .cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache var
