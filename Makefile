# make demo   set up, train a small model on real text, sample from it
# make test   set up, run every test
# make check  set up, lint, types, import order
# make bench  set up, measure speed beside peers

PYTHON := $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin

.PHONY: demo test check bench setup clean

setup: .venv/ready

.venv/ready: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch .venv/ready

demo: setup
	$(BIN)/unrolled train pydoc --recipe demo

test: setup
	PATH="$(CURDIR)/$(BIN):$$PATH" scripts/test

check: setup
	PATH="$(CURDIR)/$(BIN):$$PATH" scripts/check

bench: setup
	$(BIN)/python benchmarks/scheduled_net.py

clean:
	rm -rf .venv dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
