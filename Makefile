# `make demo` and `make test` are all that a fresh Debian or Ubuntu machine needs; each does its own set-up.
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready

.PHONY: demo test bench lint types architecture generated unit clean
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

unit: $(READY)
	$(BIN)/pytest --numprocesses 2

# Made anew when what the project depends on changes.
$(READY): pyproject.toml scripts/setup.sh scripts/kubetools.sh
	scripts/setup.sh $(VENV)
	touch $@

clean:
	rm -rf $(VENV)
