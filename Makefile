# Two commands do everything on a machine that has Python 3.11 or newer, make and git: make demo, make test.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PACKAGES := aistack_top collectors layouts tui
SOURCES := $(PACKAGES) tests bench scripts

.PHONY: help demo test coverage check format lint types imports schemas pictures bench clean

help: ## show what there is
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

demo: $(VENV)/.installed ## run the console on the embedded example; without a terminal it prints a snapshot
	$(BIN)/aistack-top demo

test: $(VENV)/.developed ## run the tests
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal

coverage: $(VENV)/.developed ## run the tests with branch coverage, that of started programs too; takes several times as long
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal --cov --cov-report=term

check: $(VENV)/.developed format lint types imports ## format, lint, strict types, import contracts

format: $(VENV)/.developed
	$(BIN)/ruff format --check .

lint: $(VENV)/.developed
	$(BIN)/ruff check .

types: $(VENV)/.developed
	$(BIN)/mypy

imports: $(VENV)/.developed
	$(BIN)/lint-imports

bench: $(VENV)/.developed ## measure start, CPU, bytes, memory and quit against the bars of docs/performance.md
	$(BIN)/python bench/console.py

schemas: $(VENV)/.developed ## write the schemas and the configuration reference again
	$(BIN)/python scripts/schemas.py

pictures: $(VENV)/.developed ## draw the pictures of the documentation anew
	$(BIN)/python scripts/pictures.py

clean: ## remove what the other commands made
	rm -rf $(VENV) dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage .coverage.*

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "aistack-top needs Python 3.11 or newer; set PYTHON=")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	touch $@

$(VENV)/.developed: $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@ $(VENV)/.installed
