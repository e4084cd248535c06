# `make demo` and `make test` are all that a fresh Debian or Ubuntu machine needs; each does its own set-up.
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready

.PHONY: demo test test-image bench release-check lint types architecture generated unit clean
.DELETE_ON_ERROR:

demo: $(READY)
	$(BIN)/dphub demo

test: lint types architecture generated unit

bench: $(READY)
	$(BIN)/python -m benchmarks

lint: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(READY)
	$(BIN)/mypy

architecture: $(READY)
	$(BIN)/lint-imports

generated: $(READY)
	$(BIN)/python scripts/generate.py --check
	$(BIN)/python -m scripts.schema --check
	$(BIN)/python -m scripts.reference --check
	$(BIN)/python -m scripts.lock --check

# Tests wait more than they work, so that two processors have room for three.
unit: $(READY)
	$(BIN)/pytest --numprocesses 3

# The container image, built without a registry and run as a pod; needs root. Also shows its size and start time.
test-image: $(READY)
	$(BIN)/python -m scripts.image --test

release-check: test test-image
	$(BIN)/python -m scripts.release

# Made anew when what the project depends on changes.
$(READY): pyproject.toml scripts/setup.sh scripts/kubetools.sh
	scripts/setup.sh $(VENV)
	touch $@

clean:
	rm -rf $(VENV) build/image build/image.json
