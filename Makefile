# make demo    sets everything up, then takes a sample of conversations through the whole system
# make test    sets everything up, then checks and runs the whole test suite
#
# Needs Python 3.11 or newer, make and a package registry. Everything stands in .venv/ and var/.

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input
TESTS ?= tests
LOCK = --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
  --custom-compile-command "make lock" --all-extras $(UPGRADE)

.PHONY: help setup demo test servers check format bench chaos screenshots lock salesforce-conversion clean

help:
	@echo "make setup   the environment in $(VENV)/, development tools included"
	@echo "make demo    the main job, end to end, with no account anywhere"
	@echo "make test    linters, types, layers and every test (TESTS=tests/jobs for a part)"
	@echo "make check   linters, types and layers only"
	@echo "make format  rewrite the code in the house format"
	@echo "make bench   the benchmarks beside their floors"
	@echo "make chaos   random faults over intake and three destinations (COUNT=200 schedules, SEED=N to play one again)"
	@echo "make screenshots   every page of the portal, in both widths and both themes, in var/screenshots"
	@echo "make lock    write the locked requirements (UPGRADE=--upgrade for the newest of everything)"
	@echo "make salesforce-conversion   record what Salesforce's own converter makes of the package"
	@echo "make clean   remove $(VENV)/ and caches; var/ stays"

setup: $(VENV)/.dev $(VENV)/.converter

demo: $(VENV)/.runtime
	$(BIN)/assent demo

test: setup check servers
	$(BIN)/pytest --numprocesses auto --maxprocesses 4 --dist loadfile $(TESTS)

# What tests run against and no Python package brings: an SSH server, a real S3, a Chromium. No root is needed.
servers: | $(BIN)/python
	@tests/system-packages || echo "Going on: the tests that need what is missing fail and say what to install." >&2

# Every page of the portal, in both widths and both themes; KEEP=--keep renews those of the README, too.
screenshots: setup servers
	$(BIN)/python -m tests.browser.screenshots $(KEEP)

check: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: setup
	$(BIN)/python -m tests.benchmarks

COUNT ?= 200

chaos: setup
	$(BIN)/python -m tests.chaos $(COUNT) $(if $(SEED),--seed $(SEED))

# What runs needs no development tools, so the demo doesn't wait for them.
$(VENV)/.runtime: requirements.txt pyproject.toml | $(BIN)/python
	$(PIP) install --quiet --require-hashes -r requirements.txt
	$(PIP) install --quiet --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: requirements-dev.txt pyproject.toml | $(BIN)/python
	$(PIP) install --quiet --require-hashes -r requirements-dev.txt
	$(PIP) install --quiet --no-deps --no-build-isolation -e .
	@touch $(VENV)/.runtime $@

# Salesforce's own converter, where npm can fetch it; what it made of the package is recorded for everyone else.
$(VENV)/.converter: tests/salesforce/converter/package-lock.json | $(BIN)/python
	@rm -rf $(VENV)/converter; \
	if node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' 2>/dev/null; then \
	  mkdir -p $(VENV)/converter; cp tests/salesforce/converter/package*.json $(VENV)/converter/; \
	  npm ci --prefix $(VENV)/converter --silent --no-audit --no-fund || rm -rf $(VENV)/converter; fi
	@touch $@

$(BIN)/python:
	@python=; for name in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	  if $$name -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    python=$$name; break; fi; done; \
	if [ -z "$$python" ]; then \
	  echo "Assent needs Python 3.11 or newer with its venv module; on Debian: apt-get install python3 python3-venv" >&2; \
	  exit 1; fi; \
	echo "$$python -m venv $(VENV)"; \
	$$python -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

# Both files pin every package with its hashes and name no registry, so any mirror can serve them.
# What builds the package stands among what runs: it is installed from this folder without build isolation.
lock: $(VENV)/.dev
	$(PIP) install --quiet uv
	printf 'hatchling\neditables\n' | $(BIN)/uv pip compile $(LOCK) --group dev -o requirements-dev.txt pyproject.toml -
	printf 'hatchling\neditables\n' | $(BIN)/uv pip compile $(LOCK) -c requirements-dev.txt -o requirements.txt pyproject.toml -

# What Salesforce's library makes of the package, written down anew after a change of it.
salesforce-conversion: setup
	$(BIN)/python -m tests.salesforce.converter.record

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis dist build
