# paycore: every habit is one word. `make` alone lists them.

PYTHON ?= python3
# Tests share the machine's cores; PYTEST_ARGS="tests/core -k late" runs a few.
PYTEST_ARGS ?= -n auto --dist worksteal

# Byte code is a third of the start-up time; some images forbid writing it.
unexport PYTHONDONTWRITEBYTECODE
unexport PYTHONHOME

BIN := .venv/bin
READY := .venv/.paycore-ready
CODEGEN := .venvs/codegen/.paycore-ready
DISTRIBUTIONS := pyproject.toml bridge/pyproject.toml $(wildcard plugins/*/pyproject.toml)

.DEFAULT_GOAL := help
.PHONY: help setup demo serve test check format types bench storm chaos fuzz gen lock clean

help: ## say what there is
	@sed -n 's/^\([a-z]*\):[^#]*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "%-14s %s\n", $$1, $$2 }'

setup: $(READY) ## make .venv (the other words do it by themselves)

demo: $(READY) ## watch orders being paid, closed and refunded, on SQLite, without a network
	@$(BIN)/paycore demo

serve: $(READY) ## run a development server with simulated channels, data in .paycore (stop it with Ctrl-C)
	@mkdir -p .paycore
	@PAYCORE_DATABASE_URL="$${PAYCORE_DATABASE_URL:-sqlite:///.paycore/paycore.db}" $(BIN)/paycore serve --dev --simulators

test: $(READY) $(CODEGEN) ## run every test, on SQLite and PostgreSQL
	@$(BIN)/python -m pytest $(PYTEST_ARGS)

check: $(READY) $(CODEGEN) ## format, lint, types, floors, protos, stubs: everything that is not a test
	@$(BIN)/python tools/check.py

format: $(READY) ## write the format that check wants
	@$(BIN)/ruff check --quiet --fix-only .
	@$(BIN)/ruff format .

types: $(READY) ## mypy alone
	@$(BIN)/python tools/check.py types

bench: $(READY) ## print the table of how fast it is, as ratios against a bare echo
	@$(BIN)/python -m bench

storm: $(READY) ## replay the simulated world of SEED=n, or run MANY=n worlds on all cores; CHANNEL=alipay for a plugin
	@$(BIN)/python -m paycore.testing.simulation $(if $(CHANNEL),--channel $(CHANNEL)) $(if $(MANY),--many $(MANY) $(if $(SEED),--from $(SEED)),$(or $(SEED),1))

chaos: $(READY) ## kill and cut everything for MINUTES=3 from SEED=n, then compare all books
	@$(BIN)/python -m tests.chaos $(if $(MINUTES),--minutes $(MINUTES)) $(if $(SEED),--seed $(SEED))

fuzz: $(READY) ## spoil requests, notices and tokens, and live whole lives, for SECONDS=60 from SEED=n
	@$(BIN)/python -m tests.fuzz $(if $(SECONDS),--seconds $(SECONDS)) $(if $(SEED),--seed $(SEED))

gen: $(CODEGEN) ## make the stubs in src/paycore/v1 from protos/
	@.venvs/codegen/bin/python tools/gen.py

lock: $(READY) ## remake the hashed locks (UPGRADE=1 takes the newest that fit); needs uv
	@$(BIN)/python tools/lock.py $(if $(UPGRADE),--upgrade)

clean: ## remove what was made here: environments, caches, development data
	rm -rf .venv .venvs build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .paycore
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(READY): requirements/dev.txt $(DISTRIBUTIONS) tools/setup.py
	@$(PYTHON) tools/setup.py

$(CODEGEN): requirements/codegen.txt tools/setup.py
	@$(PYTHON) tools/setup.py codegen
