# `make demo` and `make test` need Python 3.11 or newer and nothing else: each makes .venv first.
PYTHON ?= python3
# `make test-oldest` needs the oldest Python: its packages have no wheels for newer ones.
OLDEST_PYTHON ?= python3.11
BIN := .venv/bin
STARTED := $(shell date +%s)
export SK_SENTEMB_DATA ?= $(abspath ../shared/data)

.PHONY: demo test test-all test-oldest lint bench docs clean

demo: .venv/ready-demo
	$(BIN)/python benchmarks/first_prediction.py $(STARTED)
	$(BIN)/python examples/quickstart.py

test: .venv/ready
	$(BIN)/pytest

test-all: .venv/ready
	$(BIN)/pytest -m "not gpu"

test-oldest: .venv-oldest/ready
	.venv-oldest/bin/pytest -W default  # old versions warn of more than pyproject.toml lists

lint: .venv/ready
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: .venv/ready
	$(BIN)/python benchmarks/encode.py
	$(BIN)/python benchmarks/grid_search.py
	$(BIN)/python benchmarks/cache.py
	$(BIN)/python benchmarks/scale.py
	$(BIN)/python benchmarks/fine_tuning.py
	$(BIN)/python benchmarks/few_shot.py
	$(BIN)/python benchmarks/defaults.py
	$(BIN)/python benchmarks/cross_encoder.py
	$(BIN)/python benchmarks/multimodal.py
	$(BIN)/python benchmarks/retrieval.py
	$(BIN)/python benchmarks/retrieval_quality.py

docs: .venv/ready-docs
	$(BIN)/sphinx-build -W --keep-going -b html docs docs/_build/html

clean:
	rm -rf .venv .venv-oldest build dist *.egg-info docs/_build docs/auto_examples docs/api/generated
	find . -name __pycache__ -prune -exec rm -rf {} +

# Marker files: an environment is made once, and again when what it is made from has changed.
# `make demo` installs only what its example needs; the other targets add to the same environment.
.venv/ready-demo: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[offline,plot]"
	touch $@

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch .venv/ready-demo $@

.venv/ready-docs: .venv/ready
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[docs]"
	touch $@

.venv-oldest/ready: pyproject.toml constraints-oldest.txt
	$(OLDEST_PYTHON) -m venv .venv-oldest
	.venv-oldest/bin/python -m pip install --quiet --constraint constraints-oldest.txt --editable ".[test]"
	touch $@
