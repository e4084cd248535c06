# A fresh Debian or Ubuntu machine needs only git, make and this file: each target installs what it needs.
# Without compiled modules, each of the hundreds of processes that the tests start would compile them again.
unexport PYTHONDONTWRITEBYTECODE
VENV := .venv
BIN := $(VENV)/bin
# Each file marks a completed part of the set-up: the package, the Python tools for development, other programs.
DEMO := $(VENV)/demo
DEV := $(VENV)/dev
TOOLS := $(VENV)/tools

.DEFAULT_GOAL := help
# The parts of the set-up share one environment.
.NOTPARALLEL:
.PHONY: help demo test setup lint types architecture generated unit integration docs deploy tests test-kubelet test-node-tools fuzz bench test-image test-cluster release-check clean

help: ## List the targets.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s  %s\n", $$1, $$2 }' Makefile

demo: $(DEMO) ## Demonstrate the hub with a fake kubelet; needs no hardware, cluster or root.
	$(BIN)/dphub demo

test: lint types architecture generated tests ## Run every check that gates a change.

setup: $(TOOLS) ## Install everything that the checks need.

lint: $(DEV) ## Check style and formatting.
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(DEV) ## Check the types.
	$(BIN)/mypy

architecture: $(DEV) ## Check the imports between packages.
	$(BIN)/lint-imports

generated: $(DEV) ## Check that generated files are up to date.
	$(BIN)/python scripts/generate.py --check
	$(BIN)/python -m scripts.schema --check
	$(BIN)/python -m scripts.reference --check
	$(BIN)/python -m scripts.migrating --check
	$(BIN)/python -m scripts.lock --check

# Tests wait more than they compute, so two CPUs can run four at a time.
PYTEST := $(BIN)/pytest --numprocesses 4

unit: $(TOOLS) ## Run the tests that start no process; they take seconds.
	$(PYTEST) tests/unit

integration: $(TOOLS) ## Run the tests that start plugins, hubs and commands; they take minutes.
	$(PYTEST) tests/integration

docs: $(TOOLS) ## Check the documentation against the code, and run its commands.
	$(PYTEST) tests/docs

deploy: $(TOOLS) ## Check the manifests, the chart, the release and the set-up.
	$(PYTEST) tests/deploy

# In one run, so that all processes stay busy until the end.
tests: $(TOOLS) ## Run all tests except those of the image, and list the slowest.
	$(PYTEST)

# The supported versions. A build takes minutes, and is kept in build/kubelet.
KUBELETS := 1.34 1.35 1.36 1.37
# By default, all tests that use a kubelet. They wait even more than other tests.
TESTS :=

test-kubelet: $(TOOLS) ## Run the tests that use a kubelet against real ones, KUBELETS="1.36 1.37" TESTS=tests/unit; needs Go.
	$(BIN)/python -m tests.harness.kubeletbuild $(KUBELETS)
	$(BIN)/python -m tests.harness.drabuild $(filter 1.36 1.37,$(KUBELETS))
	set -e; for version in $(KUBELETS); do $(PYTEST) --numprocesses 6 --dist worksteal --kubelet=$$version $(TESTS); done

test-node-tools: $(TOOLS) ## Test the hub's files with the parsers of node-problem-detector and Node Feature Discovery; needs Go.
	$(BIN)/python -m tests.harness.nodetoolsbuild
	$(PYTEST) tests/differential/test_node_tools.py

# The total time for all fuzz targets.
MINUTES := 10

fuzz: $(DEV) ## Feed random input to all code that parses external input, for MINUTES=n; failures go to build/fuzz.
	$(BIN)/python -m tests.fuzz --minutes $(MINUTES)

bench: $(TOOLS) ## Measure how fast the hub is, and check the budgets.
	$(BIN)/python -m benchmarks

test-image: $(TOOLS) ## Build the container image without a registry and test it as a pod; needs root.
	$(BIN)/python -m scripts.image --test

test-cluster: $(TOOLS) ## Test the hub on a real cluster of one node, built from source; needs root and Go.
	$(BIN)/python -m tests.cluster

release-check: test test-image ## Check that this checkout can be released.
	$(BIN)/python -m scripts.release

clean: ## Remove everything that the other targets created.
	rm -rf $(VENV) build/image build/image.json build/cluster build/*.cdx.json

# Set up again when the dependencies of the project change; `dev` includes `demo`.
$(DEMO) $(DEV): pyproject.toml scripts/setup.sh scripts/apt.sh
	scripts/setup.sh $(VENV) $(@F)

$(TOOLS): $(DEV) scripts/tools.sh scripts/kubetools.sh
	scripts/tools.sh $(VENV)
