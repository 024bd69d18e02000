# The commands for development; CI runs the same ones. They need make and Python 3.10 or newer.

PYTHON ?= python3
# More workers than cores, because the tests that run a real Airflow mostly wait. tests/conftest.py sorts the files, and workers take them
# in that order.
PYTEST_ARGS ?= --numprocesses 6 --dist loadfile --no-loadscope-reorder
DEMO_ARGS ?=
BENCH_ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.complete
NEWEST := constraints/airflow-3.3.txt
OLDEST := constraints/airflow-2.11.txt
OLDEST_EMULATOR := constraints/airflow-2.11-emulator.txt
BETWEEN := constraints/airflow-3.0.txt

# Airflow starts many Python processes; without bytecode files each of them takes seconds longer to start.
unexport PYTHONDONTWRITEBYTECODE
# Variables of the caller's shell must not make uv or nox use another environment.
unexport VIRTUAL_ENV
unexport PYTHONPATH
unexport PYTHONHOME

.DEFAULT_GOAL := help
.PHONY: help demo test test-oldest test-oldest-quick test-between test-installed resolve lint typecheck format docs request-types bench constraints clean

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(STAMP) ## run a lookalike pipeline against the emulator; writes its results to build/
	$(BIN)/python -m demo $(DEMO_ARGS)

test: $(STAMP) ## run the tests with the newest Airflow; PYTEST_ARGS='-k name' runs some
	$(BIN)/python -m pytest $(PYTEST_ARGS)

test-oldest: $(STAMP) ## run the tests with the oldest supported Airflow
	$(BIN)/python -m nox --session oldest -- $(PYTEST_ARGS)

test-oldest-quick: $(STAMP) ## run the subset that the version of Airflow can affect; every change must pass these
	$(BIN)/python -m nox --session oldest_quick -- $(PYTEST_ARGS)

test-between: $(STAMP) ## run the tests that depend on Airflow itself with Airflow 3.0
	$(BIN)/python -m nox --session between -- $(PYTEST_ARGS)

test-installed: $(STAMP) ## run the project of docs/howto/test_your_dag.md with the built wheel, and the emulator without Airflow
	$(BIN)/python -m nox --session installed image

resolve: $(STAMP) ## resolve the dependencies with the constraints that Airflow publishes; installs nothing
	$(BIN)/python -m nox --session resolve

lint: $(STAMP) ## run ruff's linter, and check that the code is formatted
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .

typecheck: $(STAMP) ## check the types with mypy
	$(BIN)/python -m mypy

format: $(STAMP) ## format the code and apply ruff's automatic fixes
	$(BIN)/python -m ruff format .
	$(BIN)/python -m ruff check --fix .

docs: $(STAMP) ## regenerate the reference and the pictures in docs/, and build the site in build/site
	$(BIN)/python -m tools.docs
	$(BIN)/python -m tools.pictures
	$(BIN)/python -m tools.relevance_curve
	$(BIN)/python -m tools.site

request-types: $(STAMP) ## regenerate the types of nested request members from botocore's model
	$(BIN)/python -m tools.request_types
	$(BIN)/python -m ruff format airflow_cleanroomsml/request_types.py

# aiobotocore, which the benchmarks compare with, pins an older botocore than the tests use. So they need a separate environment.
BENCH := .venv-benchmarks
BENCH_PINS := constraints/benchmarks.txt

bench: $(BENCH)/.complete ## compare with the amazon provider; BENCH_ARGS=waits runs one benchmark
	$(BENCH)/bin/python -m benchmarks $(BENCH_ARGS)

$(BENCH)/.complete: pyproject.toml $(BENCH_PINS) | $(STAMP)
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(BENCH)
	$(BIN)/uv pip install --quiet --python $(BENCH)/bin/python --constraint $(BENCH_PINS) --build-constraint $(NEWEST) \
		--editable '.[emulator]' --group benchmarks
	touch $@

.PHONY: assumptions
assumptions: $(STAMP) ## regenerate docs/assumptions.md from the emulator
	$(BIN)/python -m airflow_cleanroomsml.emulator.assumptions docs/assumptions.md

# All pins must install with Python 3.10, the oldest supported version. The pins for an older Airflow are limited to releases of its time
# and agree with the constraints that Airflow published for it.
constraints: $(STAMP) ## resolve the pinned versions again
	$(BIN)/uv pip compile pyproject.toml --quiet --upgrade --universal --python-version 3.10 --no-python-downloads \
		--all-extras --group dev --strip-extras --no-header --no-annotate --output-file $(NEWEST)
	$(BIN)/uv pip compile pyproject.toml --quiet --upgrade --constraint constraints/airflow-2.11.0-official.txt \
		--python-version 3.10 --python-platform linux --no-python-downloads --exclude-newer 2025-06-01 \
		--group test --no-header --no-annotate --output-file $(OLDEST)
	$(BIN)/uv pip compile pyproject.toml --quiet --upgrade --constraint $(OLDEST) --extra emulator --group test --universal \
		--python-version 3.10 --no-python-downloads --strip-extras --no-header --no-annotate --output-file $(OLDEST_EMULATOR)
	$(BIN)/uv pip compile pyproject.toml --quiet --upgrade --constraint constraints/airflow-3.0.6-official.txt --universal \
		--python-version 3.10 --no-python-downloads --exclude-newer 2025-09-15 \
		--group test --no-header --no-annotate --output-file $(BETWEEN)
	$(BIN)/uv pip compile pyproject.toml --quiet --upgrade --universal --python-version 3.10 --no-python-downloads \
		--extra emulator --group benchmarks --strip-extras --no-header --no-annotate --output-file $(BENCH_PINS)
	$(BIN)/python -m tools.emulator_requirements | $(BIN)/uv pip compile - --quiet --universal --python-version 3.10 \
		--no-python-downloads --constraint $(NEWEST) --no-header --no-annotate --output-file deploy/emulator/requirements.txt

clean: ## remove everything that these commands created
	rm -rf $(VENV) $(BENCH) .nox .hypothesis .pytest_cache .mypy_cache .ruff_cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamp contains the directory in which the environment was created, and the environment's own Python reads it. This fails, and the
# environment is created again, if the installation was interrupted, the directory was copied, or its Python no longer exists.
ifneq ($(shell $(BIN)/python -c 'print(open("$(STAMP)").read().strip())' 2>/dev/null),$(CURDIR))
.PHONY: $(STAMP)
endif

$(STAMP): pyproject.toml $(NEWEST)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
		echo '$(PYTHON) is not Python 3.10 or newer; choose another: make PYTHON=/path/to/python3' >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo '$(PYTHON) cannot create virtual environments: install its venv module (Debian: apt install python3-venv)' >&2; exit 1; }
	@echo 'Creating the virtual environment $(VENV), which takes about 20 seconds'
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint $(NEWEST) uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint $(NEWEST) --build-constraint $(NEWEST) \
		--editable '.[demo,emulator]' --group dev
	@echo '$(CURDIR)' > $@
