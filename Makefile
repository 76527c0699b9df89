# Penstock: `make up` runs everything on this machine, `make test` proves it. Both make their own environment.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DATA ?= penstock-data
ARGS ?=
PIP = $(PYTHON) deploy/progress.py $(BIN)/pip install --disable-pip-version-check --progress-bar off

SOAK_S ?= 600
SOAK_SEEDS ?= 10000

.DEFAULT_GOAL := help
.PHONY: help up test check soak servers peers system bench bench-compare reference clean format

help: ## Show what can be made
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

# One stamp for each set of packages, so that a second start installs nothing.
$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Penstock needs Python 3.11 or newer; $(PYTHON) is older. Choose one with: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "Python's venv module is missing; install it with: sudo apt install python3-venv"; exit 2; }
	@echo "making the environment in $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.up: $(VENV)/.made pyproject.toml
	@echo "installing Penstock (once; a minute or two)"
	@$(PIP) -e '.[hub,edge]'
	@echo "compiling the kernels (once)"
	@$(BIN)/python -m penstock.warm
	@touch $@

$(VENV)/.dev: $(VENV)/.made pyproject.toml
	@echo "installing Penstock and its tests (once)"
	@$(PIP) -e '.[dev]'
	@$(BIN)/python -m penstock.warm
	@touch $@ $(VENV)/.up

$(VENV)/.soak: $(VENV)/.dev
	@$(BIN)/pip install --disable-pip-version-check --quiet -e '.[soak]' || \
	  echo "atheris cannot be installed here; the fuzzers run without its guidance"
	@touch $@

$(VENV)/.system: $(VENV)/.dev
	@$(PIP) -e '.[system]'
	@touch $@

up: $(VENV)/.up ## Run hub, processors, store, page, an agent and a simulated fleet
	@exec $(BIN)/penstock up --data '$(DATA)' $(ARGS)

test: $(VENV)/.dev ## Pass the tests: no network but loopback, at most 10 minutes
	$(BIN)/pytest -m 'not system and not tidy' -n 2 --ignore tests/system --ignore tests/tidy

check: $(VENV)/.dev ## Style, strict types, import direction, documentation
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest -m tidy tests/tidy

soak: $(VENV)/.soak ## Look for what no test has found yet, SOAK_S seconds each, SOAK_SEEDS lives of a log
	$(BIN)/python -m tests.fuzz.frames --seconds $(SOAK_S)
	$(BIN)/python -m tests.fuzz.mqtt --seconds $(SOAK_S)
	$(BIN)/python -m tests.streams.log_soak --seeds $(SOAK_SEEDS)

servers: ## Install the real servers of the system tests
	tests/system/install-servers

system: $(VENV)/.system servers ## Real servers, real processes, a real browser
	PENSTOCK_INFLUXD=$${PENSTOCK_INFLUXD:-$(CURDIR)/.servers/bin/influxd} $(BIN)/pytest -m system tests

peers: # what the benchmarks are measured beside
	tests/system/install-servers --peers

bench: $(VENV)/.system peers ## Measure everything, beside its peers
	$(BIN)/python -m benchmarks

bench-compare: $(VENV)/.system peers ## Measure and compare with the committed figures
	$(BIN)/python -m benchmarks --compare

reference: $(VENV)/.dev ## Write docs/commands.md and docs/settings.md from the code
	$(BIN)/python -m penstock.reference

format: $(VENV)/.dev ## Put the code in order
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## Take away the environment and caches; data stays
	rm -rf $(VENV) .servers .mypy_cache .ruff_cache .pytest_cache *.egg-info
