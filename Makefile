# Everything a user or developer does with Certhaven. `make help` lists it.

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
EMULATOR := .local/emulator
export PORT CERTHAVEN_STATE STAGE ACCOUNT ALIBABA ALIBABA_PORT

.PHONY: help run scan test check bench package deploy operator-token recount reset clean unit e2e format
.DEFAULT_GOAL := help

help: ## Say what there is
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 18

run: $(VENV)/.installed $(EMULATOR)/.installed ## Run the whole service on this machine (PORT=8799, ALIBABA=double)
	@exec $(BIN)/python -m infra.local

scan: $(VENV)/.installed ## Run the daily scan now, on the service that runs on this machine
	@$(BIN)/python -m infra.scan

test: unit e2e ## Run every test

unit: $(VENV)/.installed
	@$(BIN)/python -m pytest tests/unit tests/contracts -n 2 --dist loadfile --disable-socket

e2e: $(VENV)/.installed $(EMULATOR)/.installed
	@$(BIN)/python -m pytest tests/e2e --allow-hosts=127.0.0.1,::1,localhost

check: $(VENV)/.installed ## Check format, lint, types, layers and the template
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python -m infra.package
	@$(BIN)/cfn-lint .build/*/sam.yaml

format: $(VENV)/.installed ## Put the code into its format
	@$(BIN)/ruff check --fix --quiet . ; $(BIN)/ruff format .

bench: $(VENV)/.installed $(EMULATOR)/.installed ## Run the benchmarks: ratios against the bare work
	@$(BIN)/python -m benchmarks

package: $(VENV)/.installed ## Build the package for AWS
	@$(BIN)/python -m infra.package

deploy: $(VENV)/.installed ## Deploy to AWS (STAGE=…)
	@$(BIN)/python -m infra.deploy

operator-token: $(VENV)/.installed ## Make an operator's token on AWS (STAGE=…)
	@$(BIN)/python -m infra.deploy operator-token

recount: $(VENV)/.installed ## Count certificates anew: locally, or on AWS (STAGE=…); of one account (ACCOUNT=…)
	@$(BIN)/python -m infra.recount

reset: ## Delete the local data
	@sh infra/reset.sh "$(or $(CERTHAVEN_STATE),.local)"

clean: ## Delete everything that was built or installed here
	@rm -rf $(VENV) .local .build vendor .chalice/deployments .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(VENV)/.installed: requirements-dev.txt requirements-nodeps.txt
	@sh infra/venv.sh "$(PYTHON)" $(VENV) requirements-dev.txt requirements-nodeps.txt
	@touch $@

$(EMULATOR)/.installed: requirements-local.txt
	@sh infra/venv.sh "$(PYTHON)" $(EMULATOR) requirements-local.txt
	@touch $@
