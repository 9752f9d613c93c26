# Everything a newcomer needs: `make demo` and `make test`. Both build .venv from the lock file once and reuse it.
PYTHON ?= python3
BIN := .venv/bin
unexport PYTHONDONTWRITEBYTECODE  # the tests start hundreds of processes: each would compile the project anew

.PHONY: help setup demo test lint bench mutants soak lock clean

help:  ## what there is
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

setup: .venv/.ready  ## build .venv from requirements.lock

.venv/.ready: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "fluxbatch needs Python 3.11 or newer: make setup PYTHON=python3.12")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: setup  ## the demo manifest through the Prefect flow, against the simulator: costs nothing
	FLUXBATCH_LEDGER=sqlite:///out/ledger.sqlite3 $(BIN)/python -m flows.generate prompts/demo.csv --out out/demo --budget 1 --simulate

test: setup  ## lint, types and every test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pytest

lint: setup  ## format and mend what can be mended
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/mypy

SOAK := crash power simulation budget hostile dataset flow

# No time limit a test: what chance can fail prints its seed. SEED=7 goes where no run was before.
soak: setup  ## the tests that kill, cut the power, fuzz and simulate, at a night's counts: 30 times CI's, hours
	FLUXBATCH_SOAK=1 FLUXBATCH_SEED=$(or $(SEED),0) $(BIN)/pytest --timeout=0 $(wildcard $(addprefix tests/,$(SOAK)))

bench: setup  ## measure everything, beside what one would pick instead (QUICK=1: small)
	$(BIN)/python -m bench $(if $(QUICK),--quick)

mutants: setup  ## plant known bugs one at a time, and show which test sees each
	$(BIN)/python -m tests.mutants

lock:  ## resolve the lock file anew (needs uv)
	uv pip compile pyproject.toml --group dev --universal --python-version 3.11 --generate-hashes \
	  --no-header --no-annotate --no-emit-index-url --upgrade --output-file requirements.lock

clean:  ## remove what make made
	rm -rf .venv out .mypy_cache .pytest_cache .ruff_cache
