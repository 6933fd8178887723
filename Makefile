# `make demo` and `make test` need Python 3.11 or newer and nothing else: each makes .venv first.
PYTHON ?= python3
BIN := .venv/bin
export SK_SENTEMB_DATA ?= $(abspath ../shared/data)

.PHONY: demo test test-all lint bench docs clean

demo: .venv/ready
	$(BIN)/python examples/quickstart.py

test: .venv/ready
	$(BIN)/pytest

test-all: .venv/ready
	$(BIN)/pytest -m "not gpu"

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

docs: .venv/ready-docs
	$(BIN)/sphinx-build -W --keep-going -b html docs docs/_build/html

clean:
	rm -rf .venv build dist *.egg-info docs/_build docs/auto_examples docs/api/generated
	find . -name __pycache__ -prune -exec rm -rf {} +

# A marker file, so that the environment is made once and again when what it is made from changes.
.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@

.venv/ready-docs: .venv/ready
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[docs]"
	touch $@
