# Two commands: `make repro` runs the pipeline, `make test` checks the code. Both make .venv first.
# `make acceptance` holds the tests that take too long for every change.
PYTHON ?= python3.11
RECIPES ?= taltech
BIN := .venv/bin
SUITES := parameters tables numbers malice damaged_audio mutants bits disk_full neighbours checkpoints kills ray_chaos

export PATH := $(CURDIR)/$(BIN):$(PATH)
export HF_HUB_DISABLE_TELEMETRY := 1
export DVC_NO_ANALYTICS := 1

.PHONY: install repro rehearse test acceptance coverage lint faults audit clean

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	$(BIN)/ser plot offline
	touch $@

install: .venv/installed

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
