# make demo   set up, train a small model on real text, sample from it
# make test   set up, run every test
# make check  set up, lint, types, import order
# make bench  set up, measure speed beside peers

PYTHON := $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
PEERS := .venv-bench

.PHONY: demo test check bench peers setup clean

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

# make bench BARS="--only train/lstm --threads 1" measures a part
bench: setup peers
	$(BIN)/python benchmarks/bars.py --peers $(PEERS)/bin/python $(BARS)

peers: setup
	test -x $(PEERS)/bin/python || $(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check -r benchmarks/requirements.txt \
		|| echo "the peers cannot be installed here; those that are missing are left out"

clean:
	rm -rf .venv .venv-bench dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
