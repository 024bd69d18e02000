# The commands that everyone uses, CI included. All they need is make and Python 3.10 or newer.

PYTHON ?= python3
# More workers than cores: the tests that run a real Airflow wait most of the time. Files are handed out in the order of collection, by
# tests/conftest.py.
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

# Airflow starts many Python processes; without compiled modules each of them takes seconds longer to start.
unexport PYTHONDONTWRITEBYTECODE
# A variable of the caller's shell must not lead uv or nox to another environment than ours.
unexport VIRTUAL_ENV
unexport PYTHONPATH
unexport PYTHONHOME

.DEFAULT_GOAL := help
.PHONY: help demo test test-oldest test-oldest-quick test-between test-installed resolve lint typecheck format docs request-types bench constraints clean

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(STAMP) ## run a lookalike pipeline against the emulator; what it shows goes to build/
	$(BIN)/python -m demo $(DEMO_ARGS)

test: $(STAMP) ## run the tests with the newest Airflow; PYTEST_ARGS='-k name' runs some
	$(BIN)/python -m pytest $(PYTEST_ARGS)

test-oldest: $(STAMP) ## run the tests with the oldest supported Airflow
	$(BIN)/python -m nox --session oldest -- $(PYTEST_ARGS)

test-oldest-quick: $(STAMP) ## run those that Airflow's version can affect with it; a change has to pass these
	$(BIN)/python -m nox --session oldest_quick -- $(PYTEST_ARGS)

test-between: $(STAMP) ## run the tests of what stands on Airflow itself with an Airflow in between
	$(BIN)/python -m nox --session between -- $(PYTEST_ARGS)

test-installed: $(STAMP) ## run the project of docs/howto/test_your_dag.md with the built wheel, and the emulator without Airflow
	$(BIN)/python -m nox --session installed image

resolve: $(STAMP) ## resolve the dependencies with the constraints that Airflow publishes; nothing is installed
	$(BIN)/python -m nox --session resolve

lint: $(STAMP) ## look for faults and for unformatted code
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .

typecheck: $(STAMP) ## check the types
	$(BIN)/python -m mypy

format: $(STAMP) ## format the code and mend what can be mended by itself
	$(BIN)/python -m ruff format .
	$(BIN)/python -m ruff check --fix .

docs: $(STAMP) ## write the reference in docs/ anew, from the operators and sensors, and build the site in build/site
	$(BIN)/python -m tools.docs
	$(BIN)/python -m tools.pictures
	$(BIN)/python -m tools.relevance_curve
	$(BIN)/python -m tools.site

request-types: $(STAMP) ## write the types of nested request members anew, from botocore's model
	$(BIN)/python -m tools.request_types
	$(BIN)/python -m ruff format airflow_cleanroomsml/request_types.py

# What is compared with pins an older botocore than the tests use, so it has an environment of its own.
BENCH := .venv-benchmarks
BENCH_PINS := constraints/benchmarks.txt

bench: $(BENCH)/.complete ## measure against the amazon provider; BENCH_ARGS=waits measures one thing
	$(BENCH)/bin/python -m benchmarks $(BENCH_ARGS)

$(BENCH)/.complete: pyproject.toml $(BENCH_PINS) | $(STAMP)
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(BENCH)
	$(BIN)/uv pip install --quiet --python $(BENCH)/bin/python --constraint $(BENCH_PINS) --build-constraint $(NEWEST) \
		--editable '.[emulator]' --group benchmarks
	touch $@

.PHONY: assumptions
assumptions: $(STAMP) ## write docs/assumptions.md anew
	$(BIN)/python -m airflow_cleanroomsml.emulator.assumptions docs/assumptions.md

# Python 3.10 is the oldest that both sets of pins have to serve. The pins of an older Airflow are those of its own
# days, and agree with what Airflow published for it.
constraints: $(STAMP) ## resolve the pinned versions anew
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

clean: ## remove everything that these commands made
	rm -rf $(VENV) $(BENCH) .nox .hypothesis .pytest_cache .mypy_cache .ruff_cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamp names the directory that the environment was made in and is read by the environment's own Python. So whatever is
# wrong with it (interrupted, copied from elsewhere, made for a Python that is gone) leads to a new one.
ifneq ($(shell $(BIN)/python -c 'print(open("$(STAMP)").read().strip())' 2>/dev/null),$(CURDIR))
.PHONY: $(STAMP)
endif

$(STAMP): pyproject.toml $(NEWEST)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
		echo '$(PYTHON) is no Python 3.10 or newer; name one: make PYTHON=/path/to/python3' >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo '$(PYTHON) cannot make virtual environments: install its venv module (Debian: apt install python3-venv)' >&2; exit 1; }
	@echo 'Making the virtual environment $(VENV): once, some 20 seconds'
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint $(NEWEST) uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint $(NEWEST) --build-constraint $(NEWEST) \
		--editable '.[demo,emulator]' --group dev
	@echo '$(CURDIR)' > $@
