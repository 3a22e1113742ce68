# The verbs are the same for people and CI: setup, up, test, check, bench, clean.

SHELL := /bin/sh
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

VENV := .venv
BIN := $(VENV)/bin
STAMPS := $(VENV)/.made
# This checkout's own target directory, unless the caller shares one.
export CARGO_TARGET_DIR ?= $(CURDIR)/target
export UV_PROJECT_ENVIRONMENT := $(CURDIR)/$(VENV)
export VIRTUAL_ENV := $(CURDIR)/$(VENV)
# Registries are the machine's business; ours are the versions and hashes.
UV := $(BIN)/uv
UV_QUIET := UV_NO_PROGRESS=1

RUST_SOURCES := Cargo.toml Cargo.lock pyproject.toml $(shell find edge/dataplane -name '*.rs' -o -name Cargo.toml -path 'edge/*' 2>/dev/null)
PYTHON_SOURCES := $(shell find edge control tradewind bench -name '*.py' 2>/dev/null)
WEB_SOURCES := $(shell find web -path web/node_modules -prune -o -type f -not -name '*.tsbuildinfo' -print 2>/dev/null)

.PHONY: help setup up test test-python test-rust test-web check check-python check-rust check-web check-generated check-wheel \
        bench bench-build clean lock prerequisites clients FORCE

help:
	@echo "make setup   environment, packet path and web pages; leaves $(BIN)/tradewind"
	@echo "make up      three regions on this machine with a live broadcast; Ctrl-C ends it (ARGS='--regions sg,fra,iad,dxb')"
	@echo "make test    every test, the browser's included"
	@echo "make check   linters, types, import rules, generated code, the wheel"
	@echo "make bench   every scenario with its bars (ARGS=--quick for a short run)"
	@echo "make clean   removes what was built"

setup: $(STAMPS)/native $(STAMPS)/bytecode $(STAMPS)/web

up: setup
	@exec $(BIN)/tradewind up $(ARGS)

prerequisites:
	@.ci/prerequisites

# --- the environment -------------------------------------------------------------------------------------------------

$(STAMPS)/uv:
	@.ci/prerequisites
	@echo "creating the environment in $(VENV)"
	@if [ ! -x $(BIN)/python ]; then \
	    python=$$(.ci/prerequisites --python); \
	    if command -v uv >/dev/null 2>&1; then uv venv -q --seed --python "$$python" $(VENV); else "$$python" -m venv $(VENV); fi; \
	fi
	@[ -x $(UV) ] || $(BIN)/python -m pip install -q --disable-pip-version-check 'uv>=0.9'
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/packages: $(STAMPS)/uv requirements.lock requirements-dev.lock
	@$(UV_QUIET) .ci/progress "installing the locked Python packages" \
	    $(UV) pip install -q --python $(BIN)/python --require-hashes --compile-bytecode \
	    -r requirements.lock -r requirements-dev.lock
	@touch $@

# The editable build and the wheel of `make check` go through the same build hook: switching between them compiles nothing.
$(STAMPS)/native: $(STAMPS)/packages $(RUST_SOURCES)
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(UV_QUIET) .ci/progress "building the packet path (some minutes the first time)" \
	    $(UV) pip install -q --python $(BIN)/python --no-build-isolation --no-deps --reinstall-package tradewind -e .
	@touch $@

# Bytecode made once: a fleet starts six processes, and where PYTHONDONTWRITEBYTECODE is set each would compile everything.
$(STAMPS)/bytecode: $(STAMPS)/packages $(PYTHON_SOURCES)
	@$(BIN)/python -m compileall -q edge control tradewind bench
	@touch $@

# --- the web pages ---------------------------------------------------------------------------------------------------

$(STAMPS)/node: $(STAMPS)/uv $(wildcard web/package-lock.json)
	@if [ -f web/package-lock.json ]; then cd web && ../.ci/progress "installing the locked web packages" npm ci --loglevel=error --no-audit --no-fund; fi
	@touch $@

$(STAMPS)/web: $(STAMPS)/node $(WEB_SOURCES)
	@if [ -f web/package.json ]; then cd web && ../.ci/progress "building the web pages" npm run --silent build; fi
	@touch $@

# --- tests -----------------------------------------------------------------------------------------------------------

test: setup clients test-rust test-web test-python

test-python: setup bench-build
	@echo "== Python tests"
	@$(BIN)/pytest $(ARGS)

test-rust: $(STAMPS)/packages
	@echo "== Rust tests"
	@cargo test --workspace --quiet

test-web: $(STAMPS)/node
	@echo "== web tests"
	@cd web && npm test --silent

clients:
	@.ci/clients

# --- checks ----------------------------------------------------------------------------------------------------------

check: check-python check-generated check-rust check-web check-wheel
	@echo "all checks hold"

check-python: setup
	@echo "== ruff, mypy, import rules"
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/pytest -q tests/rules

check-generated: $(STAMPS)/packages
	@echo "== generated code"
	@$(BIN)/python protos/generate.py --check
	@$(BIN)/python protos/room/generate.py --check
	@$(BIN)/python -m tradewind.cli config --markdown | cmp -s - docs/configuration.md || \
	    { echo "docs/configuration.md is old: .venv/bin/tradewind config --markdown > docs/configuration.md"; exit 1; }

check-rust: $(STAMPS)/packages
	@echo "== rustfmt, clippy"
	@cargo fmt --all --check
	@cargo clippy --workspace --all-targets --quiet -- -D warnings

check-web: $(STAMPS)/node
	@echo "== web: biome, tsc"
	@cd web && npm run --silent check

check-wheel: setup
	@echo "== the wheel, in an empty environment outside the checkout"
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python .ci/check_wheel.py

# --- the rest --------------------------------------------------------------------------------------------------------

bench: setup bench-build
	@$(BIN)/tradewind bench all $(ARGS)

bench-build: $(STAMPS)/packages
	@.ci/progress "building the load generator" cargo build --release --quiet -p tradewind-generator

lock: $(STAMPS)/uv
	@$(UV) pip compile -q --universal --generate-hashes --no-emit-index-url --python-version 3.11 \
	    --custom-compile-command 'make lock' pyproject.toml -o requirements.lock
	@$(UV) pip compile -q --universal --generate-hashes --no-emit-index-url --python-version 3.11 \
	    --custom-compile-command 'make lock' pyproject.toml --group dev -c requirements.lock -o requirements-dev.lock

clean:
	rm -rf $(VENV) target dist web/node_modules edge/static control/static .tradewind
	rm -f edge/dataplane/_native*.so
