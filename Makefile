# A fresh Debian or Ubuntu machine needs no more than git, make and this file: each target does its own set-up.
VENV := .venv
BIN := $(VENV)/bin
# Each is made when its part of the set-up is complete: the package, the Python tools of developers, other programs.
DEMO := $(VENV)/demo
DEV := $(VENV)/dev
TOOLS := $(VENV)/tools

.DEFAULT_GOAL := help
# The parts of the set-up share one environment.
.NOTPARALLEL:
.PHONY: help demo test setup lint types architecture generated unit bench test-image release-check clean

help: ## List the targets.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s  %s\n", $$1, $$2 }' Makefile

demo: $(DEMO) ## Show a fake kubelet and the real hub at work; needs no hardware, cluster or root.
	$(BIN)/dphub demo

test: lint types architecture generated unit ## Run every check that gates a change.

setup: $(TOOLS) ## Install all that the checks need, and run none.

lint: $(DEV) ## Check style and formatting.
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(DEV) ## Check the types.
	$(BIN)/mypy

architecture: $(DEV) ## Check which package imports which.
	$(BIN)/lint-imports

generated: $(DEV) ## Check that generated files are up to date.
	$(BIN)/python scripts/generate.py --check
	$(BIN)/python -m scripts.schema --check
	$(BIN)/python -m scripts.reference --check
	$(BIN)/python -m scripts.lock --check

# Tests wait more than they work, so that two processors have room for three.
unit: $(TOOLS) ## Run all tests; .venv/bin/pytest tests/ROOM runs some.
	$(BIN)/pytest --numprocesses 3

bench: $(TOOLS) ## Measure how fast the hub is, against budgets.
	$(BIN)/python -m benchmarks

test-image: $(TOOLS) ## Build the container image without a registry and test it as a pod; needs root.
	$(BIN)/python -m scripts.image --test

release-check: test test-image ## Check that this checkout can be released.
	$(BIN)/python -m scripts.release

clean: ## Remove what the other targets made.
	rm -rf $(VENV) build/image build/image.json

# Made again when what the project depends on changes; `dev` includes `demo`.
$(DEMO) $(DEV): pyproject.toml scripts/setup.sh scripts/apt.sh
	scripts/setup.sh $(VENV) $(@F)

$(TOOLS): $(DEV) scripts/tools.sh scripts/kubetools.sh
	scripts/tools.sh $(VENV)
