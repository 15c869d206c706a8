# Two commands for a newcomer: `make demo` and `make test`. Both set up what they need.
VENV := .venv
BIN  := $(VENV)/bin

# Python 3.11 to 3.13: that of $(VENV) where there is one, else the first that works; `make PYTHON=...` takes another. Each is run,
# not only looked up: a version manager's shim is there for versions that are not, and some Pythons come without venv or pip.
LOOKED_FOR := python3.11 python3.12 python3.13 python3 python
WORKS      := import ensurepip, sys, venv
ifndef PYTHON
PYTHON := $(shell for python in $(BIN)/python $(LOOKED_FOR); do \
	$$python -c '$(WORKS); sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && { echo $$python; break; }; done)
PROBLEM := no Python 3.11, 3.12 or 3.13 with venv and pip works here (tried $(LOOKED_FOR))
else
PROBLEM := $(PYTHON) does not work, is older than 3.11, or comes without venv or pip
endif
VERSION := $(shell $(PYTHON) -c '$(WORKS); sys.version_info >= (3, 11) and print(*sys.version_info[:2], sep=".")' 2>/dev/null)
READY   := $(VENV)/.ready-$(VERSION)

# Hundreds of processes are started here: where bytecode is not written, each of them compiles the packages anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help python setup demo test coverage lint docs links notebooks benchmarks benchmarks-energy benchmarks-loihi benchmarks-onnx results models kills streaming fuzz fuzz-formats \
	onnx-versions onnx-exact nir-frameworks foreign netx other-counters reference-models runtimes pages sana-fe joules mcu lock sbom audit reproducible lowest dist test-wheel clean

help:
	@echo "make demo   train, distil, export, verify and report on real digits (results in runs/demo)"
	@echo "make test   static checks, the documentation, then the notebooks and the whole test suite"
	@echo "make coverage  the test suite once more, with the lines that it reaches; fails below the share in pyproject.toml"
	@echo "make notebooks  run every notebook in its small setting; data that are missing are downloaded where their publishers allow it"
	@echo "make sbom   list the parts of the tests' environment in dist/sbom.json (CycloneDX)"
	@echo "make audit  look its versions up in the public advisories"
	@echo "make reproducible  build the wheel twice, and compare every byte"
	@echo "make setup  create $(VENV) with everything that the two need (PYTHON=python3.12 for one Python of your choice)"
	@echo "make lint   ruff and mypy alone"
	@echo "make docs   build the documentation into site/, warnings as errors, and check its links"
	@echo "make links  the same, and ask for every page of other hosts that it links to"
	@echo "make benchmarks  measure against other frameworks, in an environment of their own (BENCHMARK=--help for its options)"
	@echo "make benchmarks-energy  compare the counted operations with NeuroBench's in every framework, and what counting costs"
	@echo "make benchmarks-loihi  measure the Loihi simulator against recorded runs of Lava (BENCHMARK=\"--recordings FOLDER\")"
	@echo "make benchmarks-onnx  measure the ONNX export against torch and an unrolled export"
	@echo "make results  train the small recipes of docs/results.md (hours) and write that page again"
	@echo "make models  make a ready model of a trained student's run folder (RUN=runs/resnet8-fsdd-t4 MODEL=\"--commit d7b9890\")"
	@echo "make kills  kill trainings, alone and with two processes, and other commands at random moments and compare what becomes of them"
	@echo "make streaming  train on 60,000 images from a folder, with workers and processes, killed and resumed; memory and time"
	@echo "make fuzz   read 20,000 damaged .net and circuit files (RECORDINGS=folder damages the .net files in it too), and 10,000 each of NIR and ONNX"
	@echo "make fuzz-formats  read 10,000 damaged files of each of 17 other formats (FUZZ=\"--files 500 --format report\" fewer)"
	@echo "make onnx-versions  run every exported small network with ONNX Runtime 1.19.2, 1.20.1, 1.23.2 and the newest"
	@echo "make onnx-exact  compare every spike of exact ONNX exports with torch's on 1,000 images of CIFAR-10 (hours)"
	@echo "make nir-frameworks  pass NIR files to and from the tools that read and write NIR, and write docs/nir.md again"
	@echo "make foreign  bring networks built in SpikingJelly, snnTorch, Norse, sinabs, SLAYER and plain torch here, and write docs/foreign.md again"
	@echo "make netx  write bundles for Loihi of each kind of network, and compare every spike with Lava's own netx"
	@echo "make other-counters  count small networks with NeuroBench, syops, SpikingJelly and fvcore, and compare with the recording of the tests"
	@echo "make reference-models  count public models, whose code is cloned into a folder outside, and write docs/reference-models.md again"
	@echo "make runtimes  run every form of ONNX export in ONNX Runtime, its WebAssembly, OpenVINO, OpenCV and others, and write docs/runtimes.md again"
	@echo "make pages  open reports of every kind in Chromium, wide and on a phone, with the keyboard alone (PAGES=\"--run runs/demo\")"
	@echo "make sana-fe  run bodies for Loihi in SANA-FE, an architecture simulator, and compare every spike (SANA=\"--bundle FOLDER\")"
	@echo "make joules  read the energy counters of an NVIDIA GPU while a network runs on it (a minute; needs torch for CUDA)"
	@echo "make mcu    install Debian's compiler and emulator for Cortex-M where they are missing, and run C exports on M4 and M7"
	@echo "make lock   take the newest versions into constraints.txt (torch stays: TORCH=... for another one)"
	@echo "make lowest  run the tests with the lower bounds of pyproject.toml, in an environment of their own (TESTS=...)"
	@echo "make dist   build the source distribution and the wheel into dist/"
	@echo "make test-wheel  run the tests on the installed wheel, away from this folder (PYTHON=python3.12, TESTS=...)"
	@echo "make clean  remove $(VENV), runs and caches"

python:
	@[ -n "$(VERSION)" ] || { echo "error: $(PROBLEM); install one, or call make PYTHON=/path/to/python3.12"; exit 2; }

setup: $(READY)

# LOCKED=1: the files whose hashes are in requirements-test.txt and no others, those of the public index.
ifdef LOCKED
INSTALL = $(BIN)/python -m pip install --quiet --require-hashes --requirement requirements-test.txt && \
	$(BIN)/python -m pip install --quiet --no-deps --editable .
else
INSTALL = $(BIN)/python -m pip install --quiet --constraint constraints.txt torch && \
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[$(EXTRAS)]"
endif

# An environment of another Python is made anew; one of the same is brought up to date.
$(READY): pyproject.toml constraints.txt | python
	@rm -f $(VENV)/.ready*
	[ -x $(BIN)/python$(VERSION) ] || $(PYTHON) -m venv --clear $(VENV)
	$(INSTALL)
	@touch $@

# The tools are Debian's; elsewhere install what `neurodeploy map` says is missing.
MCU_PACKAGES := gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm

mcu: setup
	@command -v arm-none-eabi-gcc qemu-system-arm > /dev/null && [ "$$(command -v arm-none-eabi-gcc qemu-system-arm | wc -l)" = 2 ] || \
		{ [ "$$(id -u)" = 0 ] || sudo=sudo; $$sudo apt-get install --yes --no-install-recommends $(MCU_PACKAGES); }
	$(BIN)/pytest -n 0 tests/exporters/c -k "microcontroller"

COMMA := ,
# Every extra that a test needs.
EXTRAS := onnx,sign,notebooks,docs,test
# torch stays where it is until it is moved on purpose: it is by far the largest download, and brings a CUDA of its own.
TORCH ?= 2.13.0

lock: | python
	$(PYTHON) -m venv $(VENV)-lock
	$(VENV)-lock/bin/python -m pip install --quiet uv
	@{ echo "# The exact versions that the tests ran with, on Linux, for Python 3.11 to 3.13: pip takes from each line what fits."; \
	echo "# Written by \`make lock\`; \`make lock TORCH=...\` moves torch, and with it Triton and CUDA. No one who installs the package is"; \
	echo "# bound to these: its requirements are in pyproject.toml, and \`make lowest\` tests their lower bounds."; } > $(VENV)-lock/head
	echo "torch==$(TORCH)" > $(VENV)-lock/torch
	$(VENV)-lock/bin/uv pip compile --quiet --universal --python-version 3.11 --constraint $(VENV)-lock/torch \
		--extra onnx --extra sweep --extra sign --extra measure --extra notebooks --extra docs --extra test \
		--no-header --annotation-style line --output-file $(VENV)-lock/versions --upgrade pyproject.toml
	cat $(VENV)-lock/head $(VENV)-lock/versions > constraints.txt
	@{ echo "# The environment of the tests with the hash of every file that may be installed: constraints.txt, for pip's --require-hashes."; \
	echo "# Written by \`make lock\`; \`make setup LOCKED=1\` installs exactly these, \`make audit\` looks them up in the public advisories."; } > $(VENV)-lock/head
	$(VENV)-lock/bin/uv pip compile --quiet --universal --python-version 3.11 --constraint constraints.txt \
		$(addprefix --extra ,$(subst $(COMMA), ,$(EXTRAS))) --generate-hashes --no-header --no-annotate \
		--output-file $(VENV)-lock/hashed pyproject.toml
	cat $(VENV)-lock/head $(VENV)-lock/hashed > requirements-test.txt

# What is in the environment of the tests, for people and programs that look for weak parts in it: CycloneDX, in dist/sbom.json.
SUPPLY := $(VENV)-supply/.ready

$(SUPPLY): checks/requirements-supply.txt | python
	$(PYTHON) -m venv $(VENV)-supply
	$(VENV)-supply/bin/python -m pip install --quiet --requirement $<
	@touch $@

sbom: setup $(SUPPLY)
	mkdir -p dist
	$(VENV)-supply/bin/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible --of JSON -o dist/sbom.json $(BIN)/python

# Fails where an advisory is known for one of the versions that the tests run with, and where nobody can be asked.
audit: $(SUPPLY)
	$(VENV)-supply/bin/pip-audit --requirement requirements-test.txt --require-hashes --disable-pip --strict --progress-spinner off

# Two wheels of one commit, built from two copies at two times, are equal byte by byte.
reproducible: | python
	$(PYTHON) -m venv $(VENV)-build
	$(VENV)-build/bin/python -m pip install --quiet build
	$(VENV)-build/bin/python -m checks.reproducible

TESTS ?= tests

$(VENV)-lowest/.ready-$(VERSION): pyproject.toml checks/lowest.py | python
	$(PYTHON) -m venv --clear $(VENV)-lowest
	$(PYTHON) -m checks.lowest > $(VENV)-lowest/constraints.txt
	$(VENV)-lowest/bin/python -m pip install --quiet --constraint $(VENV)-lowest/constraints.txt --editable ".[$(EXTRAS),sweep,measure]"
	@touch $@

lowest: $(VENV)-lowest/.ready-$(VERSION)
	OMP_NUM_THREADS=1 $(VENV)-lowest/bin/python -m pytest -n 2 --dist worksteal $(TESTS)

# Times in what is built are those of the commit, so that whoever builds it again gets the same bytes.
EPOCH = $(or $(SOURCE_DATE_EPOCH),$(shell git log -1 --format=%ct 2>/dev/null),315532800)

dist: | python
	rm -rf dist build
	$(PYTHON) -m venv $(VENV)-build
	$(VENV)-build/bin/python -m pip install --quiet build
	SOURCE_DATE_EPOCH=$(EPOCH) $(VENV)-build/bin/python -m build --quiet --outdir dist .

# The tests are those of the source distribution, whose packages lose their modules: what is imported is what the wheel installed.
AWAY ?= $(or $(TMPDIR),/tmp)/neurodeploy-wheel-$(VERSION)

test-wheel: dist
	rm -rf $(AWAY)
	mkdir -p $(AWAY)/source
	tar -xzf dist/neurodeploy-*.tar.gz -C $(AWAY)/source --strip-components 1
	cd $(AWAY)/source && rm -rf *.egg-info && find neurodeploy exporters energy -name '*.py' -delete
	$(PYTHON) -m venv $(AWAY)/venv
	$(AWAY)/venv/bin/python -m pip install --quiet --constraint constraints.txt torch
	$(AWAY)/venv/bin/python -m pip install --quiet --constraint constraints.txt "$$(ls $(CURDIR)/dist/neurodeploy-*.whl)[$(EXTRAS)]"
	cd $(AWAY)/source && OMP_NUM_THREADS=1 PATH=$(AWAY)/venv/bin:$$PATH $(AWAY)/venv/bin/python -P -m pytest -n 2 --dist worksteal $(TESTS)

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

# The theme's notice that its own successor is another program is of no use to a reader of this log. Not --quiet: mkdocs then counts
# no warnings, and --strict has nothing to abort for.
docs: setup
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict
	$(BIN)/python -m checks.links site

links: docs
	$(BIN)/python -m checks.links site --fetch

$(VENV)-benchmarks/.ready: pyproject.toml constraints.txt $(wildcard benchmarks/requirements*.txt) | python
	$(PYTHON) -m venv $(VENV)-benchmarks
	$(VENV)-benchmarks/bin/python -m pip install --quiet --constraint constraints.txt torch
	$(VENV)-benchmarks/bin/python -m pip install --quiet --constraint constraints.txt --editable .
	$(VENV)-benchmarks/bin/python -m pip install --quiet --requirement benchmarks/requirements-imports.txt
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
		OMP_NUM_THREADS=1 $(BIN)/neurodeploy train $$name --output runs/$$name --resume || exit; \
	done
	$(BIN)/python -m benchmarks.papers $(SMALL:%=runs/%/results.json)

# The folder of `neurodeploy models`: every number is measured on the whole test set, bundles are exported and verified.
models: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.ready_models --run $(RUN) $(MODEL)

kills: setup
	$(BIN)/python -m checks.kills --processes 1
	$(BIN)/python -m checks.kills --processes 2
	OMP_NUM_THREADS=1 $(BIN)/python -m checks.kill_commands

# 60,000 images from a folder: memory, time, and what becomes of a training that is killed. Some ten minutes.
streaming: setup
	$(BIN)/python -m checks.streaming

fuzz: setup
	for seed in 0 1; do \
		OMP_NUM_THREADS=1 $(BIN)/python -m checks.fuzz_net --seed $$seed --files 10000 $(RECORDINGS:%=--recordings %) || exit; \
	done
	OMP_NUM_THREADS=1 $(BIN)/python -W ignore -m checks.fuzz_nir --files 10000
	OMP_NUM_THREADS=1 $(BIN)/python -m checks.fuzz_onnx --files 10000

# FUZZ="--format report --files 500" damages some files of one format.
fuzz-formats: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m checks.fuzz_formats $(FUZZ)

onnx-versions: setup
	OMP_NUM_THREADS=1 $(BIN)/python -W ignore -m checks.onnx_versions --folder runs/onnx-versions 1.19.2 1.20.1 1.23.2 newest

FRAMEWORKS := spikingjelly snntorch norse sinabs rockpool snn-mlir spyx

$(VENV)-nir-%/.ready: checks/nir/requirements-%.txt checks/nir/requirements-imports.txt constraints.txt | python
	$(PYTHON) -m venv $(VENV)-nir-$*
	$(VENV)-nir-$*/bin/python -m pip install --quiet --constraint constraints.txt torch
	$(VENV)-nir-$*/bin/python -m pip install --quiet --requirement checks/nir/requirements-imports.txt
	$(VENV)-nir-$*/bin/python -m pip install --quiet --no-deps --requirement checks/nir/requirements-$*.txt
	@touch $@

nir-frameworks: setup $(FRAMEWORKS:%=$(VENV)-nir-%/.ready)
	OMP_NUM_THREADS=1 $(BIN)/python -W ignore -m checks.nir_frameworks --environments $(VENV)-nir- $(NIR)

SPIKING := spikingjelly snntorch norse sinabs slayer

# Each has this toolkit beside the framework. lava-dl asks for the Python that Lava needs; its part for torch runs on others.
$(VENV)-foreign-%/.ready: checks/foreign/requirements-%.txt checks/nir/requirements-imports.txt pyproject.toml constraints.txt | python
	$(PYTHON) -m venv $(VENV)-foreign-$*
	$(VENV)-foreign-$*/bin/python -m pip install --quiet --constraint constraints.txt torch
	$(VENV)-foreign-$*/bin/python -m pip install --quiet --constraint constraints.txt --editable ".[onnx]"
	$(VENV)-foreign-$*/bin/python -m pip install --quiet --requirement checks/nir/requirements-imports.txt
	$(VENV)-foreign-$*/bin/python -m pip install --quiet --no-deps --ignore-requires-python --requirement $<
	@touch $@

# FOREIGN="--record tests/files/foreign" writes the recordings of the tests instead.
foreign: setup $(SPIKING:%=$(VENV)-foreign-%/.ready)
	OMP_NUM_THREADS=1 $(BIN)/python -W ignore -m checks.foreign_modules --environments $(VENV)-foreign- $(FOREIGN)

# netx asks for an older numpy, so it has an environment of its own; SLAYER's networks are written in that of `make foreign`.
$(VENV)-netx/.ready: checks/requirements-netx.txt pyproject.toml constraints.txt | python
	$(PYTHON) -m venv $(VENV)-netx
	$(VENV)-netx/bin/python -m pip install --quiet --constraint constraints.txt torch
	$(VENV)-netx/bin/python -m pip install --quiet --constraint constraints.txt --editable ".[onnx]"
	$(VENV)-netx/bin/python -m pip install --quiet --no-deps --ignore-requires-python --requirement $<
	@touch $@

netx: setup $(VENV)-foreign-slayer/.ready $(VENV)-netx/.ready
	rm -rf runs/netx
	OMP_NUM_THREADS=1 $(VENV)-foreign-slayer/bin/python -W ignore -m checks.lava_bundles runs/netx
	OMP_NUM_THREADS=1 $(VENV)-netx/bin/python -W ignore -m checks.netx runs/netx/*

# Two environments: syops reads versions of SpikingJelly that have no counters of their own yet. The public models need the latter.
$(VENV)-counters-%/.ready: checks/counters/requirements-%.txt checks/counters/requirements-imports.txt pyproject.toml constraints.txt | python
	$(PYTHON) -m venv $(VENV)-counters-$*
	$(VENV)-counters-$*/bin/python -m pip install --quiet --constraint constraints.txt torch
	$(VENV)-counters-$*/bin/python -m pip install --quiet --constraint constraints.txt --editable .
	$(VENV)-counters-$*/bin/python -m pip install --quiet --requirement checks/counters/requirements-imports.txt
	$(VENV)-counters-$*/bin/python -m pip install --quiet --no-deps --requirement $<
	@touch $@

# COUNTERS=--record writes the recording anew instead.
other-counters: setup $(VENV)-counters-new/.ready $(VENV)-counters-old/.ready
	OMP_NUM_THREADS=1 $(BIN)/python -W ignore -m checks.other_counters --environments $(VENV)-counters- $(COUNTERS)

# Half an hour on one core. REFERENCES="--only SEW" counts some of them, and writes no page.
reference-models: $(VENV)-counters-old/.ready
	OMP_NUM_THREADS=1 $(VENV)-counters-old/bin/python -W ignore -m checks.reference_models $(REFERENCES)

READERS := onnxruntime reference openvino opencv mnn tract iree

$(VENV)-runtimes-node/.ready: checks/runtimes/package.json
	@command -v npm > /dev/null || { echo "error: node and npm are needed for ONNX Runtime's WebAssembly; install them"; exit 2; }
	mkdir -p $(VENV)-runtimes-node
	cp $< $(VENV)-runtimes-node/
	npm install --prefix $(VENV)-runtimes-node --ignore-scripts --no-audit --no-fund --silent
	@touch $@

# Each has one program and numpy; what runs in them needs no more.
$(VENV)-runtimes-%/.ready: checks/runtimes/requirements-%.txt | python
	$(PYTHON) -m venv $(VENV)-runtimes-$*
	$(VENV)-runtimes-$*/bin/python -m pip install --quiet --requirement $<
	@touch $@

# RUNTIMES="--program OpenVINO --only vgg" tries one program and some cases, and writes no page.
runtimes: setup $(READERS:%=$(VENV)-runtimes-%/.ready) $(VENV)-runtimes-node/.ready
	OMP_NUM_THREADS=1 $(BIN)/python -W ignore -m checks.onnx_runtimes --environments $(VENV)-runtimes- $(RUNTIMES)

onnx-exact: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m checks.exact_onnx

# Pages and screenshots are in runs/pages.
pages: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m checks.pages $(PAGES)

$(VENV)-sana-fe/.ready: checks/sanafe/requirements.txt | python
	$(PYTHON) -m venv $(VENV)-sana-fe
	$(VENV)-sana-fe/bin/python -m pip install --quiet --requirement $<
	@touch $@

# SANA="--bundle runs/demo/seed-0/bundles/lava --samples 4" simulates a bundle too; SANA="--record tests/files/sanafe" writes the
# recordings of the tests instead.
sana-fe: setup $(VENV)-sana-fe/.ready
	OMP_NUM_THREADS=1 $(BIN)/python -m checks.sana_fe --python $(VENV)-sana-fe/bin/python $(SANA)

joules:
	$(BIN)/python -m checks.joules

# Types and pages take a minute each, on one core.
test: setup
	$(MAKE) --jobs=2 lint docs
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist worksteal notebooks tests --nbmake --nbmake-timeout=600

# Apart from `make test`: noting every line makes the tests take half as long again and more.
coverage: setup
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist worksteal --cov --cov-report=term tests

clean:
	rm -rf $(VENV) $(VENV)-benchmarks $(VENV)-nir-* $(VENV)-foreign-* $(VENV)-netx $(VENV)-counters-* $(VENV)-runtimes-* $(VENV)-sana-fe $(VENV)-lock $(VENV)-lowest $(VENV)-build $(VENV)-supply runs site build dist .coverage* .mypy_cache .pytest_cache .ruff_cache .hypothesis *.egg-info
