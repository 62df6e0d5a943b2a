# glioflow: `make demo` and `make test` set up what they need. Linux x86_64, Python 3.11, GNU make 4.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help setup setup-dev setup-bench wheels demo test test-long test-chaos test-slurm test-studies fuzz bench bench-plan bench-quality bench-radiomics bench-report bench-truth lint format docs lock clean

CORES ?= $(shell nproc)
# More than 2 cores: tests wait for much of their time.
TEST_WORKERS ?= 3
PYTHON_VERSION := 3.11
PYTHON := .venv/bin/python

# The machine's own uv, or else one installed beside the environment.
UV := $(or $(shell command -v uv),.venv-uv/bin/uv)
OWN_UV := $(filter .venv-uv/bin/uv,$(UV))

# So that nothing outside the locked environment is found first.
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export PYTHONNOUSERSITE := 1
unexport PYTHONPATH VIRTUAL_ENV
# Many container images set this; every job would then compile what it imports.
unexport PYTHONDONTWRITEBYTECODE

# A folder that `make wheels` filled, to install from without network or compiler.
ifdef OFFLINE
export UV_OFFLINE := 1
FROM_FOLDER := --no-index --find-links $(OFFLINE)
endif

# torch for GPUs of NVIDIA and for CPUs, which every lock holds with its hashes; or for CPUs alone, from an index of PyTorch's own.
TORCH ?= cuda
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
ifeq ($(filter cpu cuda,$(TORCH)),)
$(error TORCH=$(TORCH): it is cuda (for GPUs and CPUs) or cpu)
endif
ifeq ($(TORCH),cpu)
ifneq ($(OFFLINE)$(filter wheels,$(MAKECMDGOALS)),)
$(error TORCH=cpu: wheels are fetched and installed with torch for GPUs and CPUs alone; leave TORCH out)
endif
ENVIRONMENT := -cpu
endif

lock_file = $(if $(OFFLINE),$(OFFLINE)/$(notdir $<),$<)

help:  ## print this list
	@sed -nE 's/^([a-z-]+):.*## (.*)/make \1\t\2/p' Makefile | expand -t 18

setup: .venv/setup$(ENVIRONMENT).stamp  ## install the locked runtime environment into .venv (OFFLINE=wheels from that folder; TORCH=cpu without CUDA)

setup-dev: .venv/setup-dev$(ENVIRONMENT).stamp  ## install the runtime and what tests and linters need

setup-bench: .venv-bench/setup.stamp  ## install glioflow's scoring and its peers into .venv-bench

wheels: setup .venv-uv/bin/uv  ## fetch what setup installs into wheels/, for machines without network or compiler
	@$(PYTHON) envs/write_wheels.py wheels .venv-uv/bin/python -m pip --python $(PYTHON)

demo: setup  ## run config/config.yaml from nothing to its report (CORES=2 by default all cores)
	@$(PYTHON) -m snakemake --cores $(CORES) --quiet rules -- all
	@echo "report: results/report/index.html; the study as one file: results/bundle/demo-1.0.0.zip"

test: setup-dev  ## run the tests, the demo among them (PYTEST="-k name" for some)
	@$(PYTHON) -m pytest -n $(TEST_WORKERS) --dist loadfile --no-loadscope-reorder -m "not long" $(PYTEST)

test-long: setup-dev  ## run what takes longest: every study variant, killed runs and trainings, Slurm, a browser
	@$(PYTHON) -m pytest -n $(TEST_WORKERS) --dist loadfile --no-loadscope-reorder -m "long and not studies and not slurm and not chaos" $(PYTEST)

test-studies: setup-dev  ## run the five published systems on miniatures of their data sets, from raw files to the report
	@$(PYTHON) -m pytest -m studies $(PYTEST)

test-slurm: setup-dev  ## run the demo through a Slurm of one node, with faults (Debian's slurm-wlm and munge)
	@$(PYTHON) -m pytest -m slurm $(PYTEST)

test-chaos: setup-dev  ## run a study that trains while it is killed 60 times and more, in every stage
	@$(PYTHON) -m pytest -s -m chaos $(PYTEST)

fuzz: setup-dev  ## give damaged files to every reader (SECONDS=30 for each of them; SEED=$RANDOM; PYTEST="-k study")
	@GLIOFLOW_FUZZ_SECONDS=$(or $(SECONDS),30) GLIOFLOW_FUZZ_SEED=$(or $(SEED),$$RANDOM) $(PYTHON) -m pytest tests/fuzz $(PYTEST)

bench-truth: setup  ## plant causes of failure and count how often they are found: docs/failure-analysis.md
	@$(PYTHON) benchmarks/failure_truth.py

bench-quality: setup  ## count how often intervals of predicted Dice hold the true one, and time the features: docs/quality.md
	@$(PYTHON) benchmarks/quality.py

bench: setup-bench  ## time the scoring of a case beside other tools (BENCH="--slow"): docs/benchmarks.md
	@.venv-bench/bin/python benchmarks/score_cases.py $(BENCH)

bench-plan: setup  ## time the planning of large studies, and reckon what they cost (BENCH="--cases 100"): docs/scale.md
	@$(PYTHON) benchmarks/plan.py $(BENCH)

bench-report: setup-dev  ## time the report of 1,251 cases, and its table in a browser (BENCH="--cases 100"): docs/scale.md
	@$(PYTHON) benchmarks/report.py $(BENCH)

bench-radiomics: setup-bench  ## time the features of a region beside other tools (BENCH="--slow"): docs/benchmarks.md
	@.venv-bench/bin/python benchmarks/extract_radiomics.py $(BENCH)

lint: setup-dev  ## check style, formatting, types and the workflow's own rules
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy
	cd scripts && ../.venv/bin/lint-imports --config ../pyproject.toml --no-cache
	$(PYTHON) -m snakefmt --check Snakefile rules workflow/Snakefile
	$(PYTHON) -m snakemake --lint

format: setup-dev  ## rewrite the code in the agreed format
	$(PYTHON) -m ruff check --fix .
	$(PYTHON) -m ruff format .
	$(PYTHON) -m snakefmt Snakefile rules workflow/Snakefile

docs: setup  ## rewrite config/schema.json, and the tables of config/README.md and docs/conventions.md
	@cd scripts && ../$(PYTHON) -m glioflow.workflow.docs

COMPILE = $(UV) pip compile --quiet --generate-hashes --no-emit-index-url --custom-compile-command "make lock" \
  --python-version $(PYTHON_VERSION) --python-platform x86_64-manylinux_2_28 $(UPGRADE)

lock: | $(PYTHON)  ## compile envs/*.in into the locks and the conda form (UPGRADE=--upgrade for newer dependencies)
	$(COMPILE) envs/glioflow.in -o envs/glioflow.lock
	$(COMPILE) envs/dev.in -c envs/glioflow.lock -o envs/dev.lock
	$(COMPILE) envs/bench.in -c envs/dev.lock -o envs/bench.lock
	$(COMPILE) envs/uv.in -o envs/uv.lock
	$(PYTHON) envs/write_conda.py

clean:  ## remove the environments and tools' caches; results stay
	rm -rf .venv .venv-bench .venv-uv .mypy_cache .ruff_cache .pytest_cache .hypothesis

# What `make wheels` counts in the runtime's packages, nearly all of it torch with CUDA; what is left without, at most.
DOWNLOAD := $(if $(ENVIRONMENT),less than 1.5 GB,about 3.4 GB)

# Byte code is compiled at once: where PYTHONDONTWRITEBYTECODE is set, as in many container images, or the environment is
# read-only, every command would compile it again, and nnU-Net's trainers take half a minute of that.
# Two passes, because pyradiomics' build needs numpy, setuptools and wheel in place; the lock gives both their hashes.
define install_lock
	@$(@D)/bin/python -c 'import sys; sys.exit(sys.version_info[:2] != ($(subst .,$(comma),$(PYTHON_VERSION))))' || { \
	  echo "glioflow needs Python $(PYTHON_VERSION), but $(@D) holds $$($(@D)/bin/python -V): run 'make clean' and try again" >&2; exit 1; }
	@[ -f $(lock_file) ] || { echo "$(lock_file): there is no such file; 'make wheels' writes glioflow.lock and uv.lock" >&2; exit 1; }
	@echo "installing $(lock_file) into $(@D)$(if $(OFFLINE),, ($(DOWNLOAD) to fetch where uv has nothing in its cache))"
	@$(UV) pip install --quiet --python $(@D)/bin/python --require-hashes $(FROM_FOLDER) -c $(lock_file) \
	  $$(grep -oE '^(numpy|setuptools|wheel)==[^ ]+' $(lock_file))
	@$(UV) pip install --quiet --python $(@D)/bin/python --require-hashes --no-deps $(FROM_FOLDER) --compile-bytecode \
	  --no-build-isolation-package pyradiomics -r $(lock_file)
	@$(@D)/bin/python -m compileall -q scripts
	@touch $@
endef
comma := ,

.venv/setup.stamp: envs/glioflow.lock | $(PYTHON)
	$(install_lock)

.venv/setup-dev.stamp: envs/dev.lock | $(PYTHON)
	$(install_lock)

# The lock but for what CUDA brings, and torch from another index by its version: no hash of it is locked.
define install_for_cpus
	@$(PYTHON) envs/without_cuda.py $< > $(lock_file)
	$(install_lock)
	@echo "installing torch from $(TORCH_INDEX)"
	@$(UV) pip install --quiet --python $(PYTHON) --no-deps --compile-bytecode --index-url $(TORCH_INDEX) \
	  $$($(PYTHON) envs/without_cuda.py $< --torch)
endef

.venv/setup-cpu.stamp .venv/setup-dev-cpu.stamp: lock_file = .venv/without_cuda.lock

.venv/setup-cpu.stamp: envs/glioflow.lock | $(PYTHON)
	$(install_for_cpus)

.venv/setup-dev-cpu.stamp: envs/dev.lock | $(PYTHON)
	$(install_for_cpus)

.venv-bench/setup.stamp: envs/bench.lock | .venv-bench/bin/python
	$(install_lock)

$(PYTHON) .venv-bench/bin/python: | $(OWN_UV)
	@$(UV) venv --quiet --clear --python $(PYTHON_VERSION) $(@D:/bin=) || { \
	  echo "glioflow needs Python $(PYTHON_VERSION), and none could be found or fetched: install it and try again" >&2; exit 1; }

.venv-uv/bin/uv: envs/uv.lock
	@echo "installing uv into .venv-uv"
	@{ python3 -m venv .venv-uv && .venv-uv/bin/python -m pip install --quiet --require-hashes $(FROM_FOLDER) -r $(lock_file); } || { \
	  rm -rf .venv-uv; echo "uv could not be installed: install it yourself (https://docs.astral.sh/uv) and try again" >&2; exit 1; }
	@touch $@
