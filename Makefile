# Two commands for a newcomer: `make demo` and `make test`. Both set up what they need.
PYTHON ?= python3.11
VENV   := .venv
BIN    := $(VENV)/bin

.PHONY: help setup demo test lint clean

help:
	@echo "make demo   train, distil, export, verify and report on real digits (results in runs/demo)"
	@echo "make test   static checks, then the whole test suite with coverage"
	@echo "make setup  create $(VENV) with everything that the two need"
	@echo "make lint   ruff and mypy alone"
	@echo "make clean  remove $(VENV), runs and caches"

setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "error: $(PYTHON) not found; install Python 3.11 or call make PYTHON=..."; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[onnx,notebooks,test]"
	@touch $@

demo: setup
	rm -rf runs/demo
	$(BIN)/neurodeploy run digits --output runs/demo

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint
	$(BIN)/pytest -n 2 --dist worksteal --cov --cov-report=term notebooks tests --nbmake --nbmake-timeout=600

clean:
	rm -rf $(VENV) runs build dist .coverage* .mypy_cache .pytest_cache .ruff_cache .hypothesis *.egg-info
