# make demo | test | quick | bench | site | clean: everything happens in .venv, node_modules and build.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.NOTPARALLEL:
.DEFAULT_GOAL := help

PY := .venv/bin/python
NODE := node_modules/.bin/node
LOCK := build/pyodide/pyodide-lock.json
# A test that hangs ends after five minutes, so that the others are still heard of.
PYTEST := $(PY) -m pytest -q --timeout=300
SERVE ?= 1
# The native tests that are also run inside Pyodide: all but those that look at processes, or at the repository.
PYODIDE_TESTS ?= $(filter-out tests/test_interrupt.py, $(wildcard tests/test_*.py)) tests/contract tests/schedule

CORE := $(shell find core -type f -not -name '*.pyc' 2>/dev/null) pyproject.toml $(wildcard README.md LICENSE)

.PHONY: help setup system demo site serve lint test test-native test-pythons test-in-pyodide test-node test-chrome quick test-all bench clean

help:
	@echo "make demo     the same script natively, in Pyodide under node and in Chromium: one table, then the page (SERVE=0: no page)"
	@echo "make test     lint, types and all tests, natively, in Pyodide under node and in Chromium"
	@echo "make quick    lint, native tests and a smoke test in Pyodide"
	@echo "make bench    side by side with the peers: benchmarks/results.md"
	@echo "make clean    remove what was made, the virtual environment and node_modules included"

# --- what everything needs -------------------------------------------------------------------------------------

setup: system .venv/.installed .venv/.stdlib_sources $(LOCK)

system:
	@tools/system_packages.sh

.venv/bin/python: | system
	python=$${PYTHON:-$$(tools/find_python.sh)}; echo "Making .venv with $$python ($$("$$python" -V))"; "$$python" -m venv .venv
	$(PY) -m pip install -q -U pip

# An editable install: only a change of what pyproject.toml says needs another one.
.venv/.installed: pyproject.toml | .venv/bin/python
	$(PY) -m pip install -q -e . --group dev
	touch $@

.venv/.stdlib_sources: build/wheels/stdlib_sources/.made
	$(PY) -m pip install -q --no-deps --force-reinstall build/wheels/stdlib_sources/*.whl
	touch $@

node_modules/.package-lock.json: package.json package-lock.json
	npm ci --no-audit --no-fund
	touch $@

# --- the Pyodide distribution ----------------------------------------------------------------------------------

build/wheels/downloaded/.made: tools/pyodide_requirements.txt | .venv/bin/python
	rm -rf $(@D)
	$(PY) -m pip download -qq --no-deps --only-binary=:all: --implementation py --abi none --platform any \
	    --python-version 3.14 -d $(@D) -r $<
	touch $@

build/wheels/stdlib_sources/.made: tools/stdlib_wheel.py | .venv/bin/python
	$(PY) $< $(@D)
	touch $@

build/wheels/jobspan/.made: $(CORE) .venv/.installed
	rm -rf $(@D)
	$(PY) -m build --wheel --no-isolation -o $(@D) . >/dev/null
	touch $@

$(LOCK): build/wheels/downloaded/.made build/wheels/stdlib_sources/.made build/wheels/jobspan/.made \
    node_modules/.package-lock.json tools/pyodide_dist.py
	$(PY) tools/pyodide_dist.py node_modules/pyodide $(@D) \
	    build/wheels/downloaded build/wheels/stdlib_sources build/wheels/jobspan

# --- running it ------------------------------------------------------------------------------------------------

demo: setup
	$(PY) tools/demo_table.py
	if [ "$(SERVE)" != 0 ]; then $(MAKE) --no-print-directory serve; fi

# The page at /, the distribution at /pyodide/, the example scripts at /examples/.
site: setup
	rm -rf build/site
	cp -r web_demo build/site
	cp -r build/pyodide build/site/pyodide
	cp -r docs/examples build/site/examples

serve: site
	$(PY) tools/serve.py build/site --isolate

bench: setup
	-$(PY) benchmarks/browser_run.py
	$(PY) benchmarks/run.py

# --- testing it ------------------------------------------------------------------------------------------------
# Each suite writes a report, and tools/check_suites.py fails when one that this machine can run has run no test.

lint: .venv/.installed
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy --strict core
	.venv/bin/lint-imports

# Looked at when it is used, after setup may have installed Chromium.
SUITES = native $(if $(PYODIDE_TESTS),in-pyodide) node $(and $(shell command -v chromium),$(shell command -v chromedriver),chrome)

test-native: setup
	$(PYTEST) tests --junitxml=build/reports/native.xml

test-in-pyodide: setup
	timeout 15m $(NODE) tools/pyodide_pytest.mjs build/reports/in-pyodide.xml $(PYODIDE_TESTS)

test-node: setup
	$(PYTEST) tests_pyodide --rt node --junitxml=build/reports/node.xml

test-chrome: setup
	$(PYTEST) tests_pyodide --rt chrome --junitxml=build/reports/chrome.xml

test: setup
	rm -rf build/reports
	$(MAKE) --no-print-directory --keep-going lint $(SUITES:%=test-%)
	$(PY) tools/check_suites.py build/reports $(SUITES)

quick: setup lint test-native
	$(PYTEST) tests_pyodide/test_wheel.py --rt node

# The native tests on each Python of this machine, with jobspan installed as a user would.
test-pythons: setup
	for python in $$(tools/find_python.sh --all); do \
	    echo "$$("$$python" -V)"; venv=build/pythons/venv; rm -rf $$venv; "$$python" -m venv $$venv; \
	    $$venv/bin/python -m pip install -q . "pytest<9.2" hypothesis pytest-timeout; \
	    $$venv/bin/python -m pytest -q --timeout=300 tests --ignore=tests/tools; \
	done

test-all: test test-pythons
	$(PY) tools/demo_table.py

clean:
	rm -rf .venv build dist node_modules .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
