# Everything a developer or a new user types. `make help` lists it.
PYTHON ?= python3
ONCE ?=
VENV := .venv
BIN := $(VENV)/bin
UV_VERSION := $(shell sed -n 's/.*"uv==\([0-9.]*\)".*/\1/p' pyproject.toml)

.DEFAULT_GOAL := help
.PHONY: help install demo up down test check format bench clean

help: ## List the targets.
	@sed -n 's/^\([a-z]*\):.*## /\1|/p' $(MAKEFILE_LIST) | while IFS='|' read -r name text; do printf '  make %-9s %s\n' "$$name" "$$text"; done

install: $(VENV)/.installed ## Build .venv from the lock file.

$(VENV)/.installed: pyproject.toml uv.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; $(PYTHON) is $$($(PYTHON) --version 2>&1). Name another one: make PYTHON=python3.12"; exit 1; }
	@echo "installing into $(VENV) …"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check "uv==$(UV_VERSION)"
	@$(BIN)/uv sync --frozen --quiet --compile-bytecode
	@$(BIN)/python -m compileall -q shared services studio
	@touch $@

demo: install ## Four runs on the real parts, live in the terminal (ONCE=1: end by itself).
	@$(BIN)/studio demo $(if $(ONCE),--once)

up: install ## Start the whole stack on this machine; Ctrl-C stops it.
	@$(BIN)/studio up

down: install ## Stop the stack that was started in this folder.
	@$(BIN)/studio down

test: install ## The whole test suite, on a real broker and a real database.
	@PYTHONDONTWRITEBYTECODE= $(BIN)/pytest -n 4 --dist loadfile --no-loadscope-reorder

check: install ## Formatting, lint, types, import rules, migrations.
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python -m tests.support.check_migrations

format: install ## Put every file into the house's form.
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: install ## Measure speed and print it beside the targets.
	@$(BIN)/python -m benchmarks

clean: ## Remove what was built (not the data in .studio).
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
