# Targets for people. `make help` lists them; .ci/run uses check and test.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.complete
PROJECTS := libs/common libs/client $(sort $(patsubst %/pyproject.toml,%,$(wildcard services/*/pyproject.toml))) deploy/local deploy/adapters
PYPROJECTS := $(addsuffix /pyproject.toml,$(PROJECTS))
CODE := libs services deploy tests
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.DEFAULT_GOAL := help
.PHONY: help up down status clean demo test test-long check format bench lock lock-kafka

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

up: $(STAMP) ## Start everything on this machine; Ctrl-C stops it (KEFU_PORT_BASE=8000 chooses the ports)
	@exec $(BIN)/kefu local up

down: $(STAMP) ## Stop what `make up` started elsewhere
	@exec $(BIN)/kefu local down

status: $(STAMP) ## Show what runs; fails unless all is ready
	@exec $(BIN)/kefu local status

clean: ## Remove all data, keys and logs, and the environment
	@if [ -d .kefu ]; then $(MAKE) --no-print-directory $(STAMP) && $(BIN)/kefu local clean; fi
	@rm -rf $(VENV)

demo: $(STAMP) ## Play an hour of a small shop against the running stack (SPEED=60 minutes a minute)
	@exec $(BIN)/kefu demo $(if $(SPEED),--speed $(SPEED))

test: $(STAMP) ## Run the tests, without their long forms
	@$(BIN)/pytest -m "not long" -n 2 --dist loadfile

test-long: $(STAMP) ## Run the tests and their long forms
	@$(BIN)/pytest

check: $(STAMP) ## Check format, style, imports and types; changes no file
	@$(BIN)/ruff format --check $(CODE)
	@$(BIN)/ruff check $(CODE)
	@$(BIN)/lint-imports
	@$(BIN)/mypy $(CODE)

format: $(STAMP) ## Format the code, and mend what can be mended by itself
	@$(BIN)/ruff check --fix --exit-zero --quiet $(CODE)
	@$(BIN)/ruff format $(CODE)

bench: $(STAMP) ## Measure accept, event, dispatch and report speed beside plain loops
	@$(BIN)/python -m tests.bench

lock: $(STAMP) ## Resolve the Python dependencies anew into requirements.lock
	@$(BIN)/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --no-emit-find-links --no-header \
	  --no-annotate --no-emit-package kefu-common --no-emit-package kefu-client --group dev pyproject.toml $(PYPROJECTS) -o requirements.lock

lock-kafka: $(STAMP) ## Resolve the jars of Kafka and the trace viewer anew (needs mvn)
	@exec $(BIN)/kefu local lock-kafka

# Complete, or made anew: the stamp is written last, and a half-built environment has none.
$(STAMP): requirements.lock $(PYPROJECTS)
	@command -v $(PYTHON) >/dev/null || { echo "No $(PYTHON) found: install Python 3.11 or newer, or say make PYTHON=/path/to/python3."; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "$(PYTHON) is $$($(PYTHON) -V 2>&1), too old: install Python 3.11 or newer, or say make PYTHON=/path/to/python3.11."; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "$(PYTHON) cannot make environments: install its venv module (Debian and Ubuntu: apt-get install python3-venv)."; exit 1; }
	@echo "Building $(VENV) …"
	@rm -f $@
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python -m pip install --quiet --require-hashes -r requirements.lock || { \
	  echo "The packages of requirements.lock could not be installed (see above): check the network, or pip's mirror settings."; exit 1; }
	@$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation $(addprefix -e ,$(addprefix ./,$(PROJECTS)))
	@touch $@
