# Two commands on a fresh machine: `make demo` and `make test`. This file only says what depends on what;
# every recipe line is a command that a person can type.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
LOCK := --constraint requirements.lock
WORKBENCH := tests/e2e

.DEFAULT_GOAL := help
.PHONY: help demo test lint format e2e bench package clean

help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z0-9]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: .venv/.runtime  ## Change a script step by step with a real model, harvest rows, train a student
	@$(BIN)/python scripts/demo.py

test: lint  ## Lint, then every test but the workbench's
	$(BIN)/pytest
	npm run --silent test

lint: .venv/.development node_modules/.installed  ## ruff, mypy, import-linter, eslint, tsc
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	npm run --silent check

format: .venv/.development  ## Format the Python files
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

e2e: package .venv/.development  ## The extension in a real VS Code workbench
	sh $(WORKBENCH)/install-workbench.sh
	npm --prefix $(WORKBENCH) run --silent e2e

bench: .venv/.development  ## Every measurement of bench/, one after the other
	for file in bench/*.py; do $(BIN)/python "$$file" || exit 1; done

package: .venv/.development node_modules/.installed  ## The extension as dist/*.vsix, with the server's wheel inside
	rm -rf dist/wheel
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist/wheel .
	npm run --silent package

clean:  ## Remove everything that was installed or built
	rm -rf .venv node_modules dist $(WORKBENCH)/node_modules

.venv/.created:
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	touch $@

.venv/.runtime: .venv/.created pyproject.toml requirements.lock
	@echo "Installing the engine, the embedded model and the trainer into .venv (the model runtime compiles for some minutes)."
	$(BIN)/python -m pip install --quiet $(LOCK) --editable '.[agents,embedded,train]'
	touch $@

.venv/.development: .venv/.runtime
	$(BIN)/python -m pip install --quiet $(LOCK) --group dev
	touch $@

node_modules/.installed: package.json package-lock.json
	npm ci --no-fund --no-audit --loglevel=error
	touch $@
