# The everyday words of the project; `make` alone lists them.
.DEFAULT_GOAL := help
PY := .venv/bin/python
WORKERS ?= 2

.PHONY: help setup check test proof lock clean

help: ## list these words
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 18

setup: ## make .venv from the hash-locked requirements (quick when nothing changed)
	@scripts/setup

check: setup ## style, types, direction of imports
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/pyright
	.venv/bin/lint-imports

test: setup ## every test except the long proofs, on real servers
	$(PY) -m pytest -q -n $(WORKERS) $(ARGS)

lock: setup ## refresh requirements/*.txt after a change in pyproject.toml
	@scripts/lock $(ARGS)

clean: ## remove environment and caches
	rm -rf .venv .tools .cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
