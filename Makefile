# make demo | test | quick | bench | site | clean: everything happens in .venv, node_modules and build.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.NOTPARALLEL:
.DEFAULT_GOAL := help

PY := .venv/bin/python
NODE := node_modules/.bin/node
LOCK := build/pyodide/pyodide-lock.json
LITE := build/jupyterlite
# A test that hangs ends after five minutes, so that the others are still heard of.
PYTEST := $(PY) -m pytest -q --timeout=300
# Where make nogil-python puts a free-threaded CPython; one on PATH or in pyenv is found as well.
NOGIL_FOLDER ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/jobspan/python3.13t
SOAK_MINUTES ?= 10
# A folder of more wheels for the tests inside Pyodide, such as numpy's, which npm's distribution does not have.
export PYODIDE_WHEELS ?=
SERVE ?= 1
# The native tests that are also run inside Pyodide: all but those that look at processes, or at the repository.
PYODIDE_TESTS ?= $(filter-out tests/test_interrupt.py, $(wildcard tests/test_*.py)) tests/contract tests/schedule

LITE_TESTS := tests_pyodide/test_jupyterlite.py
# What differs most between browsers: waiting, workers in workers, images of memory (without isolation) and where they are kept.
FIREFOX_BRIEF := $(addprefix tests_pyodide/,test_waiting.py test_nested_workers.py test_images.py) -k "not (test_images and firefox-True)"

CORE := $(shell find core -type f -not -name '*.pyc' 2>/dev/null) pyproject.toml $(wildcard README.md LICENSE)

.PHONY: help setup system demo site serve jupyterlite serve-jupyterlite lint test test-native test-pythons nogil-python test-nogil test-sklearn soak test-in-pyodide test-node test-chrome test-firefox test-firefox-brief test-jupyterlite quick test-all bench clean FORCE

help:
	@echo "make demo     the same script natively, in Pyodide under node and in Chromium: one table, then the page (SERVE=0: no page)"
	@echo "make test     lint, types and all tests, natively, in Pyodide under node, in Chromium and in Firefox"
	@echo "make jupyterlite   a JupyterLite site with jobspan and the example notebooks, which needs no network: $(LITE)/site"
	@echo "make quick    lint, native tests and a smoke test in Pyodide"
	@echo "make soak     random concurrent use for SOAK_MINUTES=$(SOAK_MINUTES), watching for hangs and leaks"
	@echo "make nogil-python   build a free-threaded Python and keep it in $(NOGIL_FOLDER): make test uses it too"
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

# --- the JupyterLite site ---------------------------------------------------------------------------------------

$(LITE)/venv/.made: tools/jupyterlite_requirements.txt | .venv/bin/python
	rm -rf $(@D)
	$(PY) -m venv $(@D)
	$(@D)/bin/python -m pip install -q -r $<
	touch $@

$(LITE)/wheels/.made: tools/jupyterlite_wheels.txt | .venv/bin/python
	rm -rf $(@D)
	$(PY) -m pip download -qq --no-deps --only-binary=:all: --implementation py --abi none --platform any \
	    --python-version 3.14 -d $(@D) -r $<
	touch $@

# Names the wheels that PYODIDE_WHEELS adds; written only when they are others.
$(LITE)/more: FORCE
	mkdir -p $(@D)
	echo "$(wildcard $(PYODIDE_WHEELS:%=%/*.whl))" | cmp -s - $@ || echo "$(wildcard $(PYODIDE_WHEELS:%=%/*.whl))" >$@

# sortedcontainers stands for what a site offers to %pip install, and Pyodide does not know.
$(LITE)/.made: $(LITE)/venv/.made $(LITE)/wheels/.made $(LITE)/more build/wheels/jobspan/.made \
    build/wheels/downloaded/.made node_modules/.package-lock.json tools/jupyterlite_site.py tools/pyodide_dist.py \
    $(wildcard docs/examples/*.ipynb)
	$(PY) tools/jupyterlite_site.py node_modules/pyodide $(LITE) build/wheels/jobspan $(LITE)/wheels $(PYODIDE_WHEELS) \
	    --index build/wheels/downloaded/sortedcontainers-*.whl --notebooks docs/examples --jupyter $(LITE)/venv/bin/jupyter
	touch $@

jupyterlite: setup $(LITE)/.made

serve-jupyterlite: jupyterlite
	$(PY) tools/serve.py $(LITE)/site

# --- running it ------------------------------------------------------------------------------------------------

demo: setup
	$(PY) tools/demo_table.py
	if [ "$(SERVE)" != 0 ]; then $(MAKE) --no-print-directory serve; fi

# The editor of the pages, and the licences of what is in it.
VENDOR := build/vendor
EDITOR_PACKAGES := codemirror @codemirror/* @lezer/* @marijn/* crelt style-mod w3c-keyname
$(VENDOR)/codemirror.js: tools/codemirror.js node_modules/.package-lock.json
	rm -rf $(@D)
	node_modules/.bin/esbuild $< --bundle --format=esm --minify --log-level=warning --outfile=$@
	cd node_modules && tail -n +1 $(EDITOR_PACKAGES:%=%/LICENSE) >../$(@D)/LICENSES.txt

# The pages at /, the editor at /vendor/, the distribution at /pyodide/, the example scripts at /examples/.
site: setup $(VENDOR)/codemirror.js
	rm -rf build/site
	$(PY) tools/make_site.py build/site
	cp -r $(VENDOR) build/site/vendor
	cp -r build/pyodide build/site/pyodide
	cp -r docs/examples build/site/examples

serve: site
	$(PY) tools/serve.py build/site --isolate

bench: site
	-$(PY) benchmarks/browser_run.py
	-$(PY) benchmarks/pages_run.py
	$(PY) benchmarks/run.py

# --- testing it ------------------------------------------------------------------------------------------------
# Each suite writes a report, and tools/check_suites.py fails when one that this machine can run has run no test.

lint: .venv/.installed
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy --strict core
	.venv/bin/lint-imports

# Looked at when they are used, after setup may have installed browsers.
NOGIL_PYTHON = $(shell tools/find_python.sh --nogil $(NOGIL_FOLDER) 2>/dev/null)
# 153 is the first that has JSPI.
FIREFOX = $(shell firefox-esr --version 2>/dev/null | awk 'int($$3) >= 153')
SUITES = native $(and $(NOGIL_PYTHON),nogil) $(if $(PYODIDE_TESTS),in-pyodide) node $(if $(and $(shell command -v chromium),$(shell command -v chromedriver)),chrome jupyterlite) $(if $(FIREFOX),firefox-brief)

test-native: setup
	$(PYTEST) tests --junitxml=build/reports/native.xml

test-in-pyodide: setup
	timeout 15m $(NODE) tools/pyodide_pytest.mjs build/reports/in-pyodide.xml $(PYODIDE_TESTS)

test-node: setup
	$(PYTEST) tests_pyodide --ignore=$(LITE_TESTS) --rt node --junitxml=build/reports/node.xml

test-chrome: setup $(VENDOR)/codemirror.js
	$(PYTEST) tests_pyodide --ignore=$(LITE_TESTS) --rt chrome --junitxml=build/reports/chrome.xml

# The whole suite, but for the pages that are driven in Chromium alone; make test has the brief one.
test-firefox: setup
	$(PYTEST) tests_pyodide --ignore=$(LITE_TESTS) --rt firefox --junitxml=build/reports/firefox.xml

test-firefox-brief: setup
	$(PYTEST) $(FIREFOX_BRIEF) --rt firefox --junitxml=build/reports/firefox-brief.xml

test-jupyterlite: jupyterlite
	$(PYTEST) $(LITE_TESTS) --rt chrome --junitxml=build/reports/jupyterlite.xml

test: setup
	rm -rf build/reports
	$(MAKE) --no-print-directory --keep-going lint $(SUITES:%=test-%)
	$(PY) tools/check_suites.py build/reports $(SUITES)
	@tools/find_python.sh --nogil $(NOGIL_FOLDER) >/dev/null || true  # says so where there is none

quick: setup lint test-native
	$(PYTEST) tests_pyodide/test_wheel.py --rt node

# The native tests on each Python of this machine, with jobspan installed as a user would.
test-pythons: setup
	for python in $$(tools/find_python.sh --all); do \
	    echo "$$("$$python" -V)"; venv=build/pythons/venv; rm -rf $$venv; "$$python" -m venv $$venv; \
	    $$venv/bin/python -m pip install -q . "pytest<9.2" hypothesis pytest-timeout joblib==1.6.0 numpy; \
	    $$venv/bin/python -m pytest -q --timeout=300 tests --ignore=tests/tools; \
	done

# The native tests on a free-threaded Python with the GIL off, then some of them in four threads at once. Those with
# processes are left out there: four times as many pools of workers at a time take minutes.
build/nogil/.installed: pyproject.toml | .venv/bin/python
	rm -rf $(@D)
	"$(NOGIL_PYTHON)" -m venv $(@D)/venv
	$(@D)/venv/bin/python -m pip install -q --only-binary=:all: \
	    "pytest<9.2" hypothesis pytest-timeout pytest-run-parallel joblib==1.6.0 numpy psutil
	$(@D)/venv/bin/python -m pip install -q -e .
	touch $@

# Those of syntax, sources and sketches know no threads, and start other Pythons.
test-nogil: build/nogil/.installed
	PYTHON_GIL=0 build/nogil/venv/bin/python -m pytest -q --timeout=300 tests --ignore=tests/tools \
	    --ignore=tests/architecture --ignore=tests/test_syntax.py --ignore=tests/test_source.py \
	    --ignore=tests/test_sketch.py --junitxml=build/reports/nogil.xml
	PYTHON_GIL=0 build/nogil/venv/bin/python -m pytest -q --timeout=300 --parallel-threads=4 tests/test_parallel.py \
	    -k "not loky and not ProcessPoolExecutor and not multiprocessing"

soak: setup
	$(PY) tools/soak.py --minutes $(SOAK_MINUTES)
	$(PY) tools/soak_cache.py
	$(NODE) tools/pyodide_run.mjs --once tools/soak_web.py -- --minutes $(SOAK_MINUTES)
	$(PY) tools/fuzz.py --minutes $(SOAK_MINUTES)
	$(PY) tools/fuzz.py --minutes $(SOAK_MINUTES) --guided

nogil-python:
	tools/build_nogil_python.sh $(NOGIL_FOLDER)

# scikit-learn's own tests of what uses joblib, with joblib's backends and with jobspan in their place.
test-sklearn: setup
	nice $(PY) tools/sklearn_suite.py

test-all: test test-pythons test-sklearn
	$(if $(FIREFOX),$(MAKE) --no-print-directory test-firefox && $(PY) tools/check_suites.py build/reports $(SUITES) firefox)
	$(PY) tools/demo_table.py

clean:
	rm -rf .venv build dist node_modules .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
