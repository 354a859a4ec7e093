# Everything runs in .venv, which the targets make themselves: Python 3.11 or newer, git and make are all it takes.
# Of several Pythons the oldest supported one is taken, so that nothing newer is used unseen; `make newest` tries the newest.
PYTHON ?= $(shell for python in python3.11 python3.12 python3.13 python3.14 python3; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
# The newest that pyproject.toml names, on the PATH or among pyenv's.
NEWEST = $(shell for python in python3.13 python3.12 \
	$$(ls -d $${PYENV_ROOT:-$$HOME/.pyenv}/versions/3.1[23].*/bin/python 2>/dev/null | sort -rV) $(PYTHON); do \
	$$python -c '' 2>/dev/null && echo $$python && break; done)
MINOR = 'import sys; print(*sys.version_info[:2], sep=".")'
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
# Tests wait for much (processes, timeouts, disks), so a third worker pays even on two cores; JOBS=0 runs them in one.
JOBS ?= 3
QUICK := tests/gateway/domain tests/gateway/formats tests/gateway/providers tests/gateway/routing tests/tui/test_text.py

# A lock is whole, so pip resolves nothing: a release newer than the lock cannot break an install.
# A stamp says which lock the environment was last filled from. The demo's lock is a third of the full one,
# so a first `make demo` starts sooner; where the full one is in place, the demo uses that.
DEV := $(VENV)/stamp-dev
DEMO := $(if $(wildcard $(DEV)),$(DEV),$(VENV)/stamp-demo)

# Older releases of a few packages, to be found before those of $(VENV).
OLDEST := .cache/oldest/stamp

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test test-slow test-quick newest oldest check docs screenshot bench chaos clients sbom audit lock dist clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "make %-10s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

demo: $(DEMO) ## gateway and simulated provider in one process: calls, costs, and a cap that holds
	@$(BIN)/paig demo $(ARGS)

test: $(DEV) ## the test suite; ARGS go to pytest, as in make test ARGS='-k ledger'
	$(BIN)/python -m pytest -m 'not slow' -n $(JOBS) --dist worksteal $(ARGS)

test-slow: $(DEV) ## the tests that are slow by nature: real browsers and terminals
	$(BIN)/python -m pytest -m slow -n $(JOBS) --dist worksteal $(ARGS)

test-quick: $(DEV) ## tests without servers and databases, for a look at another Python
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal $(QUICK) $(ARGS)

newest: $(DEV) ## the quick tests on the newest supported Python that is here, in an environment of its own
	@old=$$($(BIN)/python -c $(MINOR)); new=$$($(NEWEST) -c $(MINOR)); \
	if [ "$$old" = "$$new" ]; then echo "Python $$old is the newest here: make test has run everything on it."; exit; fi; \
	in_new="$(MAKE) --no-print-directory VENV=.cache/newest PYTHON=$(NEWEST)"; \
	if $$in_new .cache/newest/stamp-dev; then echo "The quick tests on Python $$new:"; $$in_new test-quick; \
	else echo "No environment for Python $$new can be made here: its tests are skipped." >&2; fi

oldest: $(OLDEST) ## the tests of pydantic-ai models, with the oldest pydantic-ai that is supported
	PYTHONPATH=$(dir $(OLDEST)) $(BIN)/python -m pytest tests/client/test_pydantic_ai.py $(ARGS)

check: $(DEV) ## lint, format, types, import direction, repository hygiene
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python scripts/example_types.py
	$(BIN)/python scripts/check_imports.py
	$(BIN)/python scripts/check_files.py

docs: $(DEV) ## build the documentation into site/
	$(BIN)/zensical build --clean --strict

screenshot: $(DEV) ## take the pictures of docs/images/ again: the demo and the terminal UI, at real gateways
	$(BIN)/python scripts/screenshot.py

bench: $(DEV) ## the benchmarks; ARGS go to benchmarks/run.py
	$(BIN)/python benchmarks/run.py $(ARGS)

chaos: $(DEV) ## break the gateway in every way for half an hour and compare the books; ARGS=--write writes docs/reliability.md
	$(BIN)/python scripts/chaos.py $(ARGS)

clients: $(DEV) ## run the newest release of every client and record where it connects (Linux, npm); ARGS name some
	$(BIN)/python scripts/clients.py $(ARGS)
	$(BIN)/python scripts/example_types.py --pyright

sbom: $(DEV) ## write dist/sbom.cdx.json (CycloneDX), what a locked installation consists of, and dist/licences.md
	$(BIN)/python scripts/sbom.py $(ARGS)

audit: $(DEV) ## hashes, licences, known faulty versions, and what the advisory database knows (fetches pip-audit)
	@test -x $(AUDIT) || { $(PYTHON) -m venv --clear .cache/audit && \
		.cache/audit/bin/python -m pip install --quiet pip-audit; } || true
	@$(BIN)/python scripts/audit.py --pip-audit $(AUDIT) $(ARGS)

lock: $(DEV) ## compile requirements/ again; ARGS=--upgrade takes newer versions
	$(COMPILE) --all-extras --group dev --output-file requirements/dev.txt
	$(COMPILE) --extra gateway --extra pydantic-ai --extra openai --extra anthropic --group build \
		--constraint requirements/dev.txt --output-file requirements/demo.txt
	$(COMPILE) --extra gateway --extra telemetry --group build --constraint requirements/dev.txt \
		--output-file requirements/gateway.txt
	$(COMPILE_ONLY) requirements/oldest.in --no-deps --output-file requirements/oldest.txt

dist: $(DEV) ## build the wheel and the source archive into dist/; the same commit gives the same bytes
	rm -rf dist
	$(BIN)/python -m hatchling build --directory dist

clean: ## remove the environment and everything built
	rm -rf $(VENV) site build dist .cache .hypothesis .mypy_cache .pytest_cache .ruff_cache

AUDIT := .cache/audit/bin/pip-audit
UV ?= $(BIN)/uv
COMPILE_ONLY = $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header $(ARGS)
COMPILE = $(COMPILE_ONLY) pyproject.toml

$(VENV)/stamp-%: requirements/%.txt pyproject.toml
	@test -n '$(PYTHON)' || { echo 'paig needs Python 3.11 or newer: put one on the PATH, or say make PYTHON=/path/to/python' >&2; exit 1; }
	@echo 'Filling $(VENV) from $< (once; about half a minute) …'
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python -m pip install --quiet --require-hashes --no-deps --requirement $<
	@$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

$(OLDEST): requirements/oldest.txt $(DEV)
	@rm -rf $(dir $@)
	@$(BIN)/python -m pip install --quiet --require-hashes --no-deps --target $(dir $@) --requirement $<
	@touch $@
