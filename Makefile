# Plumbline. `make help` lists every command. ARGS are passed on: make up ARGS='--port-base 19200'
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
# Downloads show their progress on a terminal.
QUIET := $(shell test -t 2 || echo --quiet)
# A virtual environment that was copied or moved still names its old place; it is made anew.
ifeq ($(shell test -e $(STAMP) && ! grep -qsF "$(CURDIR)/$(VENV)" $(VENV)/bin/activate && echo moved),moved)
.PHONY: $(STAMP)
endif
# The system's certificates, to which a company adds its own, are trusted by uv and the Maven client too.
CERTIFICATES := $(firstword $(wildcard /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt /etc/ssl/cert.pem))
ifneq ($(CERTIFICATES),)
UV_SYSTEM_CERTS ?= true
REQUESTS_CA_BUNDLE ?= $(CERTIFICATES)
export UV_SYSTEM_CERTS REQUESTS_CA_BUNDLE
endif
export UV_CACHE_DIR := $(CURDIR)/.cache/uv
export PIP_CACHE_DIR := $(CURDIR)/.cache/pip
unexport PYTHONPATH PYTHONHOME

.PHONY: help
help: ## List all commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

.PHONY: install
install: $(STAMP) ## Set up .venv and the caches, nothing else

$(STAMP): requirements/bootstrap.lock requirements/dev.lock deploy/local/jgo.lock.toml $(PROJECTS)
	@test -n "$(PYTHON)" || { echo "make: no Python 3.11, 3.12 or 3.13 found; install one, or say which: make PYTHON=/path/to/python" >&2; exit 1; }
	@if test -e "$(VENV)/.installing" || ! grep -qsF "$(CURDIR)/$(VENV)" "$(VENV)/bin/activate" \
			|| ! "$(BIN)/python" -m pip --version >/dev/null 2>&1; then \
		echo "creating $(VENV) with $(PYTHON)"; \
		"$(PYTHON)" -m venv --clear "$(VENV)" \
			|| { echo "make: $(PYTHON) cannot make a virtual environment; Debian and Ubuntu need the package python3-venv" >&2; exit 1; }; fi
	@touch "$(VENV)/.installing"
	@echo "installing Python packages (hashes checked)"
	@"$(BIN)/python" -m pip install $(QUIET) --disable-pip-version-check --require-hashes -r requirements/bootstrap.lock \
		|| { echo "make: uv could not be installed: the Python package registry does not answer, or has another uv than the lock;" \
			"check the network, or pip's settings for a mirror (PIP_INDEX_URL), then run the command again" >&2; exit 1; }
	@"$(UV)" pip install --python "$(BIN)/python" $(QUIET) --require-hashes -r requirements/dev.lock \
		|| { echo "make: the Python packages could not be installed; the message above says which. Check the network," \
			"or uv's settings for a mirror (UV_DEFAULT_INDEX), then run the command again" >&2; exit 1; }
	@"$(UV)" pip install --python "$(BIN)/python" --quiet --no-deps --no-build-isolation $(addprefix -e ,$(PACKAGES))
	@"$(BIN)/plumbline" install
	@rm "$(VENV)/.installing"
	@touch "$@"

.PHONY: up
up: install ## Start everything with two simulated orgs, print the Secure Scores, leave it running
	@"$(BIN)/plumbline" up $(ARGS)

.PHONY: down
down: install ## Stop everything; state stays in .local
	@"$(BIN)/plumbline" down $(ARGS)

.PHONY: status
status: install ## What runs, and the scores
	@"$(BIN)/plumbline" status $(ARGS)

.PHONY: logs
logs: install ## The last lines of every process
	@"$(BIN)/plumbline" logs $(ARGS)

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
	@"$(BIN)/mypy" $(SOURCES) services/score-api/tools tests docs/examples/consume-findings/python

.PHONY: imports
imports: install ## Who may import whom
	@"$(BIN)/lint-imports"

.PHONY: generated
generated: install ## Generated files are current
	@"$(BIN)/contracts" generate --check
	@"$(BIN)/score-api" openapi generate --check
	@"$(BIN)/python" services/score-api/tools/ocsf_schema.py --check
	@"$(BIN)/evaluator" controls index --check --out contracts/generated/control-index.json
	@"$(BIN)/evaluator" controls pages --check --out docs/reference/controls
	@"$(BIN)/evaluator" controls schema --check --out controls/control.schema.json
	@"$(BIN)/evaluator" controls lock --check

.PHONY: check
check: lint types imports generated ## Format, lint, types, import contracts, unit and contract tests
	@"$(BIN)/evaluator" controls lint
	@"$(BIN)/pytest" -q tests/unit tests/contract tests/deploy --ignore=tests/deploy/engine

# Most tests wait for something, so more of them run side by side than there are processors here.
TEST_PROCESSES ?= 3

.PHONY: test
test: lint types imports generated ## Everything: check, then integration and end-to-end tests on real parts
	@"$(BIN)/pytest" -q -n $(TEST_PROCESSES) --dist loadfile tests/e2e tests/integration tests/deploy tests/contract tests/unit \
		--ignore=tests/deploy/engine

COMPOSE_VERSION := 5.0.2
COMPOSE := .cache/bin/docker-compose-$(COMPOSE_VERSION)

$(COMPOSE):
	@command -v go >/dev/null \
		|| { echo "make: go 1.24 or newer is not installed; it builds docker compose from its module (see go.dev/doc/install)" >&2; exit 1; }
	@echo "building docker compose $(COMPOSE_VERSION), once (about two minutes)"
	@mkdir -p .cache/bin
	@CGO_ENABLED=0 GOBIN="$(CURDIR)/.cache/go/bin" GOMODCACHE="$(CURDIR)/.cache/go/mod" GOCACHE="$(CURDIR)/.cache/go/build" \
		GOFLAGS=-modcacherw go install -trimpath -ldflags='-s -w' github.com/docker/compose/v5/cmd@v$(COMPOSE_VERSION) \
		|| { echo "make: docker compose could not be built; the message above says why" >&2; exit 1; }
	@mv .cache/go/bin/cmd "$@"
	@rm -rf .cache/go

.PHONY: test-deploy
test-deploy: install $(COMPOSE) ## The images and the compose file on real tools: needs root, go, buildah and mmdebstrap
	@"$(BIN)/pytest" -q tests/deploy

.PHONY: test-oidc
test-oidc: install ## Bearer tokens of a real Keycloak: fetches it once (177 MB, checksum verified), takes about two minutes
	@"$(BIN)/pytest" -q tests/oidc

GRAPH_VENV := .cache/msgraph

# In an environment of its own: what it needs must not decide what the services are built of.
$(GRAPH_VENV)/.installed: tests/graph/msgraph.lock $(STAMP)
	@"$(UV)" venv --quiet --clear --python "$(BIN)/python" "$(GRAPH_VENV)"
	@"$(UV)" pip install --python "$(GRAPH_VENV)/bin/python" $(QUIET) --require-hashes -r tests/graph/msgraph.lock \
		|| { echo "make: Microsoft's client library could not be installed; the message above says why" >&2; exit 1; }
	@touch "$@"

.PHONY: test-graph
test-graph: install $(GRAPH_VENV)/.installed ## Microsoft's own client library against the Graph routes: fetches it once (242 MB on disk), one to three minutes
	@PLUMBLINE_TEST_MSGRAPH="$(CURDIR)/$(GRAPH_VENV)/bin/python" "$(BIN)/pytest" -q tests/graph

NODE := .cache/node/.installed

$(NODE): requirements/client.lock | $(STAMP)
	@echo "fetching Node, once (204 MB, hashes checked)"
	@"$(UV)" pip install --python "$(BIN)/python" $(QUIET) --target .cache/node --require-hashes -r requirements/client.lock
	@touch "$@"

.PHONY: test-client
test-client: install $(NODE) ## Tools of others on our documents: OpenAPI's linter and generators of clients, AsyncAPI's parser. Fetches Node once
	@"$(BIN)/pytest" -q tests/client tests/asyncapi

SIEM_TOOLS := .cache/siem/tools
OTELCOL := .cache/siem/otelcol-0.145.0

# In an environment of its own: what it needs must not decide what the services are built of.
$(SIEM_TOOLS)/.installed: tests/siem/tools.lock | $(STAMP)
	@"$(UV)" venv --quiet --clear --python "$(BIN)/python" "$(SIEM_TOOLS)"
	@"$(UV)" pip install --python "$(SIEM_TOOLS)/bin/python" $(QUIET) --require-hashes -r tests/siem/tools.lock \
		|| { echo "make: sigma-cli and parsers of query languages could not be installed; the message above says why" >&2; exit 1; }
	@touch "$@"

$(OTELCOL): tests/siem/otelcol/main.go tests/siem/otelcol/go.mod tests/siem/otelcol/go.sum
	@command -v go >/dev/null \
		|| { echo "make: go 1.25 or newer is not installed; it builds the OpenTelemetry Collector (see go.dev/doc/install)" >&2; exit 1; }
	@echo "building the OpenTelemetry Collector, once (checksums verified, one to two minutes)"
	@mkdir -p $(@D)
	@CGO_ENABLED=0 GOMODCACHE="$(CURDIR)/.cache/go/mod" GOCACHE="$(CURDIR)/.cache/go/build" GOFLAGS="-modcacherw -mod=readonly" \
		go -C tests/siem/otelcol build -trimpath -ldflags='-s -w' -o "$(CURDIR)/$@" . \
		|| { echo "make: the OpenTelemetry Collector could not be built; the message above says why" >&2; exit 1; }
	@rm -rf .cache/go

.PHONY: test-siem
test-siem: install $(NODE) $(SIEM_TOOLS)/.installed $(OTELCOL) ## SIEM consumers on a real broker, Sigma rules, guides: needs rsyslog with Kafka and Elasticsearch modules, kcat and go
	@"$(BIN)/pytest" -q tests/siem

.PHONY: faults
faults: install ## Every fault of the simulators in every phase against the connectors: about five minutes
	@PLUMBLINE_TEST_EVERY_FAULT=1 "$(BIN)/pytest" -q tests/integration/collector/test_faults.py

.PHONY: bench
bench: install ## Measure; figures are ratios of two things in one run
	@"$(BIN)/python" -m tests.bench

.PHONY: generate
generate: install ## Write all generated files
	@"$(BIN)/evaluator" controls index --out contracts/generated/control-index.json
	@"$(BIN)/evaluator" controls pages --out docs/reference/controls
	@"$(BIN)/evaluator" controls schema --out controls/control.schema.json
	@"$(BIN)/evaluator" controls lock
	@"$(BIN)/contracts" generate
	@"$(BIN)/score-api" openapi generate
	@"$(BIN)/python" services/score-api/tools/ocsf_schema.py

.PHONY: lock
lock: install ## Compile the locks anew
	@"$(UV)" lock --quiet --upgrade
	@"$(UV)" export --quiet --all-packages --group local --group dev --no-emit-workspace --no-emit-project \
		--format requirements-txt --no-annotate --no-header -o requirements/dev.lock
	@for name in collector evaluator score-api simulators; do "$(UV)" export --quiet --package plumbline-$$name --no-dev \
		--no-emit-workspace --no-emit-project --format requirements-txt --no-annotate --no-header -o requirements/$$name.lock; done
	@"$(UV)" pip compile --quiet --upgrade requirements/build.in --generate-hashes --universal --no-header --no-annotate -o requirements/build.lock
	@"$(UV)" pip compile --quiet --upgrade tests/graph/msgraph.in --generate-hashes --universal --no-header --no-annotate -o tests/graph/msgraph.lock
	@"$(UV)" pip compile --quiet --upgrade tests/siem/tools.in --generate-hashes --universal --no-header --no-annotate -o tests/siem/tools.lock
	@"$(UV)" pip compile --quiet --upgrade requirements/client.in --generate-hashes --universal --no-header --no-annotate -o requirements/client.lock
	@"$(UV)" pip compile --quiet --upgrade requirements/bootstrap.in --generate-hashes --universal --no-header --no-annotate -o requirements/bootstrap.lock

.PHONY: clean
clean: ## Delete .venv, caches and the local stack's state
	@test ! -x "$(BIN)/plumbline" || "$(BIN)/plumbline" down
	@rm -rf "$(VENV)" .cache .local .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
