# Plumbline. `make help` lists every command.
SHELL := /bin/bash
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv
PYTHON ?= $(shell for name in python3.13 python3.12 python3.11 python3; do \
	"$$name" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && echo "$$name" && break; done)
STAMP := $(VENV)/.installed
PACKAGES := contracts services/collector services/evaluator services/score-api simulators deploy/local
PROJECTS := pyproject.toml $(addsuffix /pyproject.toml,$(PACKAGES))
SOURCES := contracts/src services/collector/src services/evaluator/src services/score-api/src simulators/src deploy/local/src
export UV_CACHE_DIR := $(CURDIR)/.cache/uv
export PIP_CACHE_DIR := $(CURDIR)/.cache/pip

.PHONY: help
help: ## List all commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

.PHONY: install
install: $(STAMP) ## Set up .venv and the caches, nothing else

$(STAMP): requirements/bootstrap.lock requirements/dev.lock deploy/local/jgo.lock.toml $(PROJECTS)
	@test -n "$(PYTHON)" || { echo "make: no Python 3.11, 3.12 or 3.13 found; install one, or say which: make PYTHON=/path/to/python" >&2; exit 1; }
	@test -x "$(BIN)/python" || { echo "creating $(VENV) with $(PYTHON)"; "$(PYTHON)" -m venv "$(VENV)"; }
	@echo "installing Python packages (hashes checked)"
	@"$(BIN)/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/bootstrap.lock \
		|| { echo "make: the Python package registry does not answer or refuses uv; check the network or pip's index settings" >&2; exit 1; }
	@"$(UV)" pip install --python "$(BIN)/python" --quiet --require-hashes -r requirements/dev.lock \
		|| { echo "make: the Python packages could not be installed; see the message above" >&2; exit 1; }
	@"$(UV)" pip install --python "$(BIN)/python" --quiet --no-deps --no-build-isolation $(addprefix -e ,$(PACKAGES))
	@"$(BIN)/plumbline" install
	@touch "$@"

.PHONY: up
up: install ## Start everything with two simulated orgs, print the Secure Scores, leave it running
	@"$(BIN)/plumbline" up

.PHONY: down
down: install ## Stop everything; state stays in .local
	@"$(BIN)/plumbline" down

.PHONY: status
status: install ## What runs, and the scores
	@"$(BIN)/plumbline" status

.PHONY: logs
logs: install ## The last lines of every process
	@"$(BIN)/plumbline" logs

.PHONY: format
format: install ## Format the code
	@"$(BIN)/ruff" format .
	@"$(BIN)/ruff" check --fix --quiet .

.PHONY: lint
lint: install ## Format check and lint
	@"$(BIN)/ruff" format --check --quiet .
	@"$(BIN)/ruff" check --quiet .

.PHONY: types
types: install ## mypy, strict
	@"$(BIN)/mypy" $(SOURCES) tests

.PHONY: imports
imports: install ## Who may import whom
	@"$(BIN)/lint-imports"

.PHONY: generated
generated: install ## Generated files are current
	@"$(BIN)/contracts" generate --check
	@"$(BIN)/evaluator" controls index --check --out contracts/generated/control-index.json

.PHONY: check
check: lint types imports generated ## Format, lint, types, import contracts, unit and contract tests
	@"$(BIN)/evaluator" controls lint
	@"$(BIN)/pytest" -q tests/unit tests/contract

.PHONY: test
test: lint types imports generated ## Everything: check, then integration and end-to-end tests on real parts
	@"$(BIN)/pytest" -q tests/unit tests/contract tests/integration tests/e2e

.PHONY: bench
bench: install ## Measure; figures are ratios of two things in one run
	@"$(BIN)/python" -m tests.bench

.PHONY: generate
generate: install ## Write all generated files
	@"$(BIN)/contracts" generate
	@"$(BIN)/evaluator" controls index --out contracts/generated/control-index.json

.PHONY: lock
lock: ## Compile the locks anew
	@"$(UV)" lock --quiet --upgrade
	@"$(UV)" export --quiet --all-packages --group local --group dev --no-emit-workspace --no-emit-project \
		--format requirements-txt --no-annotate --no-header -o requirements/dev.lock
	@for name in collector evaluator score-api simulators; do "$(UV)" export --quiet --package plumbline-$$name --no-dev \
		--no-emit-workspace --no-emit-project --format requirements-txt --no-annotate --no-header -o requirements/$$name.lock; done
	@"$(UV)" pip compile --quiet --upgrade requirements/build.in --generate-hashes --universal --no-header --no-annotate -o requirements/build.lock
	@"$(UV)" pip compile --quiet --upgrade requirements/bootstrap.in --generate-hashes --universal --no-header --no-annotate -o requirements/bootstrap.lock

.PHONY: clean
clean: ## Delete .venv, caches and the local stack's state
	@test ! -x "$(BIN)/plumbline" || "$(BIN)/plumbline" down
	@rm -rf "$(VENV)" .cache .local .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
