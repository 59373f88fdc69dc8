# Two promises: `make run` installs and runs the default job; `make test` installs and tests.
PYTHON ?= python3
BIN := .venv/bin
# Two at a time; waiting threads sleep, as else those of one hold up the other's.
PYTEST = PATH="$(CURDIR)/$(BIN):$$PATH" OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m pytest -n 2 --dist worksteal

.PHONY: run test test-fast reliability lint audit bench templates clean

run: .venv/installed
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/graftwork run

test: .venv/tested
	$(PYTEST)

test-fast: .venv/tested
	$(PYTEST) -m "not slow"

# The tables of docs/reliability.md and docs/security.md: runs the tests they name, and writes what came out.
reliability: .venv/tested
	PATH="$(CURDIR)/$(BIN):$$PATH" OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m tests.evidence_pages -n 2 --dist worksteal

lint: .venv/developed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Known vulnerabilities of what is installed; the exception is argued in docs/security.md.
audit: .venv/developed
	$(BIN)/pip-audit --skip-editable --ignore-vuln CVE-2025-69872

bench: .venv/installed
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m benchmarks

# What `graftwork init` writes is made from this workspace's own files; a test compares them.
templates: .venv/installed
	$(BIN)/python flows/graftwork_flows/templates/make.py

clean:
	-$(BIN)/graftwork server stop
	rm -rf .venv .graftwork .prefect prefect.toml

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed; found " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv

.venv/installed: pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

.venv/tested: pyproject.toml | .venv/installed
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	@touch $@

.venv/developed: pyproject.toml | .venv/installed
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@
