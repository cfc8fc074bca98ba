# Everything happens in .venv and target; nothing else on the machine is touched but the caches of cargo and pip.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CARGO ?= cargo
STAMP := $(VENV)/.installed
DEMO := demo
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help evaluate demo test test-rust test-python build install lint format bench instructions profile record history fuzz docs clean

help: ## list what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

demo: build ## find an implant in the captures of an example router
	@$(BIN)/python examples/demo.py $(DEMO)

test: test-rust test-python ## run all tests

test-rust: ## run the engine's tests
	@echo "== engine tests (the first build takes a minute or two)"
	$(CARGO) test --locked

test-python: build ## run the package's tests
	@echo "== package tests"
	$(BIN)/python -m pytest -n auto tests

build: $(STAMP) ## build the extension into .venv
	@echo "== building the engine (optimised; the first build takes a few minutes)"
	@PIP_QUIET=1 PIP_DISABLE_PIP_VERSION_CHECK=1 VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/maturin develop --release --locked --quiet
	@touch $(STAMP)

install: $(STAMP) ## make .venv with all that is needed

$(STAMP): pyproject.toml
	@echo "== making $(VENV)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or later is needed; say which with: make PYTHON=/path/to/python3.11"; exit 2; }
	@$(PYTHON) -m venv $(VENV) || { echo "The venv module is needed; on Debian: apt-get install python3-venv"; exit 2; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --group dev
	$(BIN)/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"], sep="\n")' > $(VENV)/requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r $(VENV)/requirements.txt
	@touch $@

lint: build ## check formatting, lints and types
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets --features instructions -- -D warnings
	$(CARGO) clippy --locked --features python -- -D warnings
	$(BIN)/ruff format --check python tests examples benches docs fuzz
	$(BIN)/ruff check python tests examples benches docs fuzz
	$(BIN)/mypy
	$(BIN)/python -m mypy.stubtest tapsight._core --ignore-disjoint-bases

format: $(STAMP) ## format all code
	$(CARGO) fmt
	$(BIN)/ruff format python tests examples benches docs fuzz
	$(BIN)/ruff check --fix python tests examples benches

bench: build ## measure the engine, then the package
	$(CARGO) bench --locked
	$(BIN)/python -m pytest benches --benchmark-group-by=func --benchmark-columns=min,median,max,rounds

instructions: ## count instructions, and fail if they rose (needs valgrind)
	$(PYTHON) benches/instructions.py --check

profile: ## say which parts of the engine the instructions of a packet go to (needs valgrind and binutils)
	@$(PYTHON) benches/profile.py

record: build ## add counts and times to benches/record
	$(PYTHON) benches/instructions.py --record
	@mkdir -p benches/record/runs
	$(BIN)/tapsight bench --json benches/record/runs/$$(date -u +%F)-$$(git rev-parse --short HEAD).json

history: ## draw benches/record, into target/history.svg
	@$(PYTHON) benches/history.py

evaluate: build ## run the lab through a check, and write docs/evaluation.md (minutes; SCALE=1)
	$(BIN)/python -m tapsight.lab.evaluate docs --rates python/tapsight/data/false_alarms.json --scale $(or $(SCALE),1)

fuzz: ## look for input that breaks the engine (FUZZ_SECONDS=60 a target)
	./fuzz/run.sh $(or $(FUZZ_SECONDS),60)

docs: build ## write the generated pages of docs
	$(BIN)/python docs/generate.py

clean: ## remove all that was made
	rm -rf $(VENV) target $(DEMO) dist python/tapsight/_core*.so fuzz/target .benchmarks .pytest_cache .mypy_cache .ruff_cache
