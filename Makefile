# Turnpike: `make` lists what can be done. Nothing here asks a question.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help run test test-cli bench chaos mutants check reset format lock install

VENV := .venv
PYTHON := $(VENV)/bin/python
LOCK := requirements/dev.txt
PYTEST_WORKERS ?= 2
STRIPE_CLI := instance/stripe-cli
STRIPE_CLI_VERSION := 1.52.0

help: ## List the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@echo
	@echo "  make run PORT=9000 SANDBOX_PORT=9001 DATABASE_URL=... REDIS_URL=...   any setting of .env.example"
	@echo "  make test ARGS='tests/unit -k money'                                 arguments for pytest"
	@echo "  make chaos SEED=7 ROUNDS=200                                         the same choices again, or more of them"
	@echo "  make chaos OPERATIONS=0 TABLES=0 ROUNDS=0 CUSTOMERS=30 SEEDS=5       only a month of customers, told badly"
	@echo "  make chaos OPERATIONS=50000 TABLES=0 ROUNDS=0 SEEDS=0                only clients at the ledger"

run: install ## Set everything up and start it; Ctrl-C stops it again
	@exec $(PYTHON) -m portal.cli.stack run

test: install ## Run all tests, the browser's too
	@exec $(PYTHON) -m pytest -n $(PYTEST_WORKERS) $(ARGS)

test-cli: install ## Trigger events at the stand-in with Stripe's own command line (needs npm)
	@npm install --silent --no-audit --no-fund --no-save --prefix $(STRIPE_CLI) @stripe/cli@$(STRIPE_CLI_VERSION)
	@STRIPE_CLI=$(STRIPE_CLI)/node_modules/.bin/stripe $(PYTHON) -m pytest tests/stripe_cli/triggers.py $(ARGS)

bench: install ## Measure against a bare insert; writes docs/performance.md, fails when a target is missed
	@exec $(PYTHON) -m tests.bench

chaos: install ## Break workers, Redis, connections and deliveries; fails when anything is lost or doubled
	@exec $(PYTHON) -m tests.chaos $(if $(SEED),--seed $(SEED)) $(if $(OPERATIONS),--operations $(OPERATIONS)) \
	  $(if $(TABLES),--tables $(TABLES)) $(if $(ROUNDS),--rounds $(ROUNDS)) \
	  $(if $(CUSTOMERS),--customers $(CUSTOMERS)) $(if $(SEEDS),--seeds $(SEEDS))

mutants: install ## Plant bugs in a copy of the code; fails when the tests do not catch one
	@exec $(PYTHON) -m tests.mutation $(if $(ONLY),--only $(ONLY))

check: install ## Lint, formatting, types, templates
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy
	if [ -d templates ]; then $(PYTHON) -m djlint --check --lint templates; fi

format: install ## Put the formatting right
	$(PYTHON) -m ruff check --fix .
	$(PYTHON) -m ruff format .
	if [ -d templates ]; then $(PYTHON) -m djlint --reformat --quiet templates || true; fi

reset: ## Stop what runs here and forget all of its data
	@if [ -x $(PYTHON) ] && [ -d instance ]; then $(PYTHON) -m portal.cli.stack stop; fi
	rm -rf instance
	@echo "Data removed. The next 'make run' starts afresh."

install: # A virtual environment with exactly the locked packages; seconds when nothing has changed
	@requirements/install $(VENV) $(LOCK)

lock: ## Resolve requirements/*.in anew into the lock files (needs uv on the PATH)
	for name in base dev; do \
	  uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --no-emit-index-url \
	    --custom-compile-command "make lock" --output-file requirements/$$name.txt requirements/$$name.in || exit 1; \
	done
