# Targets for development. Each installs what it needs.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin

.PHONY: help demo test suite lint types format docs plugin qgis clean

help: ## Show this list
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

# What users install, without PyTorch. Modules are compiled when they are imported first, which most
# of them never are: 9 of 31 CPU seconds.
$(VENV)-demo/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)-demo
	$(VENV)-demo/bin/python -m pip install --quiet --no-compile --editable .
	touch $@

demo: $(VENV)-demo/.installed ## Harmonize and map a rendered town, into demo/
	$(VENV)-demo/bin/geossda demo --output demo --overwrite

# Types are checked beside the tests: it takes half a minute on one core.
test: lint ## Check style and types, run the tests on all cores, print the coverage
	@$(MAKE) --no-print-directory --jobs 2 types suite

# One core for each process of tests, whose threads would wait for each other, busily at that. One
# process more than there are cores, since some tests wait for locks and other processes. Whole
# files, the longest first.
suite: $(VENV)/.installed
	OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE \
		PYTEST_XDIST_AUTO_NUM_WORKERS=$$(($$($(BIN)/python -c "import os; print(os.cpu_count())") + 1)) \
		$(BIN)/python -m pytest -n auto \
		--dist loadfile --no-loadscope-reorder --cov --cov-report term:skip-covered

lint: $(VENV)/.installed ## Check style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed ## Check types
	$(BIN)/mypy

format: $(VENV)/.installed ## Bring the code to the common style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(VENV)/.docs: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --editable '.[docs]'
	touch $@

docs: $(VENV)/.docs ## Build the documentation site strictly, into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet --clean

$(VENV)-plugin/.installed:
	$(PYTHON) -m venv $(VENV)-plugin
	$(VENV)-plugin/bin/python -m pip install --quiet click
	touch $@

plugin: $(VENV)-plugin/.installed ## Build the zip that QGIS installs, into dist/
	$(VENV)-plugin/bin/python qgis_plugin/bundle.py dist/geossda_processing.zip

$(VENV)-qgis/.installed:
	/usr/bin/python3 -m venv --system-site-packages $(VENV)-qgis
	$(VENV)-qgis/bin/python -m pip install --quiet pytest
	touch $@

qgis: $(VENV)/.installed $(VENV)-qgis/.installed ## Test the plugin in the system's QGIS
	GEOSSDA_PYTHON=$(CURDIR)/$(BIN)/python LC_ALL=C.UTF-8 xvfb-run -a -s "-screen 0 1400x1000x24" \
		$(VENV)-qgis/bin/python -m pytest tests_qgis

clean: ## Remove the virtual environment and what was built
	rm -rf $(VENV) $(VENV)-demo $(VENV)-plugin $(VENV)-qgis build dist demo site *.egg-info
