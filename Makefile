PYTHON ?= python3
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow test-lowest test-processors coverage chaos cluster faults power-cuts memory-faults fuzz soak lint types audit sbom docs site pictures benchmark benchmark-suggestion clean

help:  ## this list
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:[^#]*##/ #/' | awk -F' #' '{printf "make %-22s%s\n", $$1, $$2}'

demo: .venv/installed  ## install, find a learning rate for the embedded digits, train with it
	$(BIN)/onecycle find-lr recipes/digits.yaml
	$(BIN)/onecycle train recipes/digits.yaml --max-lr-from latest

test: lint types  ## lint, types and tests, what CI runs
	$(BIN)/pytest

test-slow: .venv/installed-dev  ## the long forms of some tests: many processes, kills at random moments
	$(BIN)/pytest -m "slow and not gpu and not network"

# What decides which instructions torch's own kernels, oneDNN, MKL and numpy use.
AVX2 := ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 MKL_ENABLE_INSTRUCTIONS=AVX2 OPENBLAS_CORETYPE=Haswell

test-processors: .venv/installed-dev  ## the tests as on a processor with AVX2 alone: two precisions, one and two threads
	$(AVX2) OMP_NUM_THREADS=1 $(BIN)/pytest --auto-precision float32
	$(AVX2) OMP_NUM_THREADS=2 $(BIN)/pytest --auto-precision float32 --numprocesses 1
	$(AVX2) OMP_NUM_THREADS=1 $(BIN)/pytest --auto-precision bfloat16
	$(AVX2) OMP_NUM_THREADS=2 $(BIN)/pytest --auto-precision bfloat16 --numprocesses 1

test-lowest:  ## the tests with the lowest versions that pyproject.toml declares, in .venv-lowest
	$(PYTHON) -m venv .venv-lowest
	.venv-lowest/bin/python -m pip install --quiet uv
	.venv-lowest/bin/uv pip install --quiet --python .venv-lowest --resolution lowest-direct --editable '.[dev]'
	.venv-lowest/bin/pytest
	rm -rf .venv-lowest

coverage: .venv/installed-dev  ## the share of lines that the tests run, and those that they do not
	$(BIN)/pytest --cov onecycle_cli --cov-branch --cov-report term-missing:skip-covered

chaos: .venv/installed  ## kill trainings at random moments, let them go on, compare their ends: some minutes
	$(BIN)/python tests/chaos.py

cluster: .venv/installed-dev  ## kill workers, nodes and ranks of sweeps on Ray and of trainings, compare their ends: a quarter of an hour
	$(BIN)/python tests/cluster.py

memory-faults: .venv/installed  ## refuse memory to commands, the Nth request for each N, and limit it: days; goes on where it was stopped
	$(BIN)/python tests/reliability/memory.py --log data/memory-faults.csv --counts benchmarks/results/memory_faults.csv

faults: .venv/installed-dev  ## make each file-system call of each command fail in turn, in seven ways: two hours, and two days for tune; goes on where it was stopped
	$(BIN)/python tests/reliability/faults.py --log data/faults.csv --counts benchmarks/results/faults.csv

power-cuts: .venv/installed-dev  ## rebuild what a power cut may leave at each moment, read it and go on: some minutes
	$(BIN)/python tests/reliability/power_cut.py

fuzz: .venv/installed-dev  ## the properties among the tests, with up to 5,000 new examples each
	$(BIN)/pytest -m "hypothesis and not gpu" --hypothesis-profile fuzz

soak: .venv/installed  ## 500 trainings in one process, then 50 processes at once, three times: hours; the growth a run
	$(BIN)/python benchmarks/soak.py in-a-row
	$(BIN)/python benchmarks/soak.py at-once
	$(BIN)/python benchmarks/soak.py slopes

lint: .venv/installed-dev  ## style, format and what is unsafe
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/installed-dev  ## mypy, strict
	$(BIN)/mypy

# --strict: a package that the vulnerability service does not know is no package without a vulnerability.
audit: .venv-release/installed  ## look up known vulnerabilities of all dependencies and extras as they resolve today
	.venv-release/bin/uv pip compile --quiet --extra dev --generate-hashes pyproject.toml -o .venv-release/dependencies.txt
	.venv-release/bin/pip-audit --strict --disable-pip --progress-spinner off -r .venv-release/dependencies.txt

# cyclonedx-py takes the version from pyproject.toml, which leaves it to onecycle_cli/__init__.py.
sbom: .venv-release/installed  ## write dist/onecycle-cli-VERSION.cdx.json: all that pip installs with it, as CycloneDX
	.venv-release/bin/uv venv --quiet --clear --python $(PYTHON) .venv-release/runtime
	.venv-release/bin/uv pip install --quiet --python .venv-release/runtime .
	mkdir -p dist
	version=$$(.venv-release/runtime/bin/onecycle --version | cut -d' ' -f2) && \
	sed "s/^dynamic = .*/version = \"$$version\"/" pyproject.toml > .venv-release/pyproject.toml && \
	.venv-release/bin/cyclonedx-py environment --pyproject .venv-release/pyproject.toml --short-PURLs --validate \
		-o dist/onecycle-cli-$$version.cdx.json .venv-release/runtime
	rm -rf .venv-release/runtime

docs: .venv/installed-dev  ## write docs/commands.md and docs/recipe_fields.md again, from the help and the recipe's classes
	$(BIN)/python -m typer onecycle_cli.cli utils docs --name onecycle --title Commands --output docs/commands.md
	$(BIN)/python docs/recipe_fields.py

site: .venv/installed-docs  ## build the documentation as a site, in site/; open site/index.html
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

pictures: .venv/installed  ## make all pictures of the pages again: hours; `python docs/pictures.py NAME` makes one
	$(BIN)/python docs/pictures.py
	$(BIN)/python docs/report_pictures.py

DATA ?= data/cifar10
benchmark: .venv/installed-benchmark  ## time it beside other libraries, on DATA=FOLDER with CIFAR-10's images
	$(BIN)/python benchmarks/speed.py $(DATA)
	$(BIN)/python benchmarks/tables.py

benchmark-suggestion: .venv/installed  ## score every rule for max_lr again, from the committed curves and runs
	$(BIN)/python benchmarks/suggestion/score.py

clean:  ## remove the environment and caches; runs stay
	rm -rf .venv .venv-release .mypy_cache .pytest_cache .ruff_cache .hypothesis

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "onecycle needs Python 3.11 or later: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv .venv || { rm -rf .venv; exit 1; }

.venv/installed: .venv/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

.venv/installed-dev: .venv/installed
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

.venv-release/installed: Makefile
	$(PYTHON) -m venv --clear .venv-release
	.venv-release/bin/python -m pip install --quiet 'cyclonedx-bom>=7.0' 'pip-audit>=2.9' 'uv>=0.5'
	touch $@

.venv/installed-docs: .venv/installed
	$(BIN)/python -m pip install --quiet --editable '.[docs]'
	touch $@

.venv/installed-benchmark: .venv/installed
	$(BIN)/python -m pip install --quiet --editable '.[benchmark]'
	touch $@
