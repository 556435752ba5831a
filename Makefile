# Two commands: `make repro` runs the pipeline, `make test` checks the code. Both make .venv first.
# `make acceptance` holds the tests that take too long for every change.
PYTHON ?= python3.11
RECIPES ?= taltech
NEMO ?= yes
LOCK ?= yes
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed$(if $(filter no,$(NEMO)),_without_nemo)
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
WITHOUT_NEMO := pipeline,qlora,cluster,egemaps,predict,onnx,test
LOCKED := $(PIP) --require-hashes --no-deps --no-build-isolation
SUITES := parameters tables numbers malice damaged_audio mutants bits disk_full neighbours checkpoints kills ray_chaos

export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: install lock repro rehearse test acceptance coverage lint faults audit clean

# Wheels by their hashes, all but torch: its build (CPU, CUDA) is the index's, and what that build needs comes with it.
# LOCK=no: the same versions without hashes, where there is no lock (macOS, ARM).
# `make install NEMO=no` leaves out NeMo (Canary) and what it alone brings, for transcription.engine whisper or reference.
$(INSTALLED): pyproject.toml constraints.txt requirements/build.txt requirements/base.txt requirements/asr.txt
	$(PYTHON) -m venv $(VENV)
ifneq ($(LOCK),no)
	$(LOCKED) -r requirements/build.txt
	$(LOCKED) -r requirements/base.txt
	$(if $(filter no,$(NEMO)),,$(LOCKED) -r requirements/asr.txt)
	$(PIP) --only-binary :all: -c constraints.txt torch
else
	$(PIP) -c constraints.txt setuptools
	$(PIP) --prefer-binary -c constraints.txt -e '.[$(if $(filter no,$(NEMO)),$(WITHOUT_NEMO),dev)]'
endif
	$(PIP) --no-deps --no-build-isolation -e .
	$(BIN)/python -m pip check
	$(BIN)/ser plot offline
	touch $@

install: $(INSTALLED)

# Resolve pyproject.toml's extras anew under constraints.txt, and write their hashes.
lock:
	$(PYTHON) requirements/lock.py

# A kill of dvc itself can leave half a file that blocks every later dvc; the first line repairs that, and is else silent.
repro: install
	$(BIN)/ser doctor --dvc-only --fix
	$(BIN)/dvc repro

# Before an expensive run: hours, memory and disk of a recipe at MSP-Podcast's size, steps with random weights on this
# device, a kill and a resume. `make rehearse RECIPES="taltech distilled" REHEARSE=--plan`
rehearse: install
	$(BIN)/ser rehearse $(RECIPES) $(REHEARSE)

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Two processes of one thread each; a file's tests stay in one process, so that what they share is made once.
test: lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not acceptance"

# What is too long for every change; before a release, and before an issue is closed.
acceptance: install
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m acceptance

# Share of lines that the tests run, by file; subprocesses are not counted.
coverage: install
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not acceptance" \
		--cov=pipeline_lib --cov=stages --cov-report=term:skip-covered

# Longer still: kills, damaged files, bit flips, full disks, at the counts that docs/faults.md reports.
faults: install
	for suite in $(SUITES); do $(BIN)/python -m tests.faults.$$suite || exit 1; done

# Known vulnerabilities of the pinned packages; AUDIT=--strict fails where one cannot be looked up, else it is listed.
audit: install
	$(BIN)/python -m pip install --quiet pip-audit==2.10.1
	$(BIN)/pip-audit --requirement constraints.txt --no-deps --disable-pip --progress-spinner off $(AUDIT)

clean:
	rm -rf work .pytest_cache .ruff_cache
