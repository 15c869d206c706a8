# Two commands for a newcomer: `make demo` and `make test`. Both set up what they need.
PYTHON ?= python3.11
VENV   := .venv
BIN    := $(VENV)/bin

.PHONY: help setup demo test lint docs links notebooks benchmarks benchmarks-energy benchmarks-loihi benchmarks-onnx results kills fuzz \
	onnx-versions onnx-exact nir-frameworks joules clean

help:
	@echo "make demo   train, distil, export, verify and report on real digits (results in runs/demo)"
	@echo "make test   static checks, the documentation, then the notebooks and the whole test suite with coverage"
	@echo "make notebooks  run every notebook in its small setting; data that are missing are downloaded where their publishers allow it"
	@echo "make setup  create $(VENV) with everything that the two need"
	@echo "make lint   ruff and mypy alone"
	@echo "make docs   build the documentation into site/, warnings as errors, and check its links"
	@echo "make links  the same, and ask for every page of other hosts that it links to"
	@echo "make benchmarks  measure against other frameworks, in an environment of their own (BENCHMARK=--help for its options)"
	@echo "make benchmarks-energy  compare the counted operations with NeuroBench's in every framework, and what counting costs"
	@echo "make benchmarks-loihi  measure the Loihi simulator against recorded runs of Lava (BENCHMARK=\"--recordings FOLDER\")"
	@echo "make benchmarks-onnx  measure the ONNX export against torch and an unrolled export"
	@echo "make results  train the small recipes of docs/results.md (hours) and write that page again"
	@echo "make kills  kill trainings at random moments and compare what becomes of them, alone and with two processes"
	@echo "make fuzz   read 20,000 damaged .net and circuit files (RECORDINGS=folder damages the .net files in it too)"
	@echo "make onnx-versions  run every exported small network with ONNX Runtime 1.19.2, 1.20.1, 1.23.2 and the newest"
	@echo "make onnx-exact  compare every spike of exact ONNX exports with torch's on 1,000 images of CIFAR-10 (hours)"
	@echo "make nir-frameworks  pass NIR files to and from SpikingJelly, snnTorch, Norse and sinabs, and write docs/nir.md again"
	@echo "make joules  read the energy counters of an NVIDIA GPU while a network runs on it (a minute; needs torch for CUDA)"
	@echo "make clean  remove $(VENV), runs and caches"

setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "error: $(PYTHON) not found; install Python 3.11 or call make PYTHON=..."; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[onnx,notebooks,docs,test]"
	@touch $@

# One thread each: for networks this small two gain nothing, and wait for each other for minutes where the machine is busy.
demo: setup
	rm -rf runs/demo
	OMP_NUM_THREADS=1 $(BIN)/neurodeploy run digits --output runs/demo

notebooks: setup
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist worksteal notebooks --nbmake --nbmake-timeout=600 --download-data

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The theme's notice that its own successor is another program is of no use to a reader of this log.
docs: setup
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs --quiet build --strict
	$(BIN)/python -m checks.links site

links: docs
	$(BIN)/python -m checks.links site --fetch

$(VENV)-benchmarks/.ready: pyproject.toml constraints.txt $(wildcard benchmarks/requirements*.txt)
	$(PYTHON) -m venv $(VENV)-benchmarks
	$(VENV)-benchmarks/bin/python -m pip install --quiet --constraint constraints.txt torch
	$(VENV)-benchmarks/bin/python -m pip install --quiet --constraint constraints.txt --editable .
	$(VENV)-benchmarks/bin/python -m pip install --quiet --constraint constraints.txt --requirement benchmarks/requirements-imports.txt
	$(VENV)-benchmarks/bin/python -m pip install --quiet --no-deps --requirement benchmarks/requirements.txt
	@touch $@

benchmarks: $(VENV)-benchmarks/.ready
	$(VENV)-benchmarks/bin/python -W ignore -m benchmarks.training $(BENCHMARK)

benchmarks-energy: $(VENV)-benchmarks/.ready
	$(VENV)-benchmarks/bin/python -W ignore -m benchmarks.energy $(BENCHMARK)

benchmarks-onnx: setup
	OMP_NUM_THREADS=1 $(BIN)/python -W ignore -m benchmarks.onnx $(BENCHMARK)

benchmarks-loihi: setup
	$(BIN)/python -W ignore -m benchmarks.loihi $(BENCHMARK)

SMALL := $(patsubst docs/results/%.json,%,$(wildcard docs/results/*.json))

results: setup
	for name in $(SMALL); do \
		OMP_NUM_THREADS=1 $(BIN)/neurodeploy train $$name --output runs/$$name --resume --allocator tuned || exit; \
	done
	$(BIN)/python -m benchmarks.papers $(SMALL:%=runs/%/results.json)

kills: setup
	$(BIN)/python -m checks.kills --processes 1
	$(BIN)/python -m checks.kills --processes 2

fuzz: setup
	for seed in 0 1; do \
		OMP_NUM_THREADS=1 $(BIN)/python -m checks.fuzz_net --seed $$seed --files 10000 $(RECORDINGS:%=--recordings %) || exit; \
	done

onnx-versions: setup
	OMP_NUM_THREADS=1 $(BIN)/python -W ignore -m checks.onnx_versions --folder runs/onnx-versions 1.19.2 1.20.1 1.23.2 newest

FRAMEWORKS := spikingjelly snntorch norse sinabs

$(VENV)-nir-%/.ready: checks/nir/requirements-%.txt checks/nir/requirements-imports.txt constraints.txt
	$(PYTHON) -m venv $(VENV)-nir-$*
	$(VENV)-nir-$*/bin/python -m pip install --quiet --constraint constraints.txt torch
	$(VENV)-nir-$*/bin/python -m pip install --quiet --constraint constraints.txt --requirement checks/nir/requirements-imports.txt
	$(VENV)-nir-$*/bin/python -m pip install --quiet --no-deps --requirement checks/nir/requirements-$*.txt
	@touch $@

nir-frameworks: setup $(FRAMEWORKS:%=$(VENV)-nir-%/.ready)
	OMP_NUM_THREADS=1 $(BIN)/python -W ignore -m checks.nir_frameworks --environments $(VENV)-nir- $(NIR)

onnx-exact: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m checks.exact_onnx

joules:
	$(BIN)/python -m checks.joules

test: lint docs
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist worksteal --cov --cov-report=term notebooks tests --nbmake --nbmake-timeout=600

clean:
	rm -rf $(VENV) $(VENV)-benchmarks $(VENV)-nir-* runs site build dist .coverage* .mypy_cache .pytest_cache .ruff_cache .hypothesis *.egg-info
