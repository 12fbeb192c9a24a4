# `make` alone lists what there is.
.DEFAULT_GOAL := help
.ONESHELL:
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c

PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3)
BIN := .venv/bin
# One marker per set of extras: what is installed once is not looked at again.
DEMO := .venv/.demo
DEV := .venv/.dev
MUTATION := .venv/.mutation

.PHONY: help demo test test-all coverage reproduce-fast mutation check audit clean

help:  ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

demo: $(DEMO)  ## the demonstration ablation: trains, prints its tables, writes reports/demo.html
	$(BIN)/lm-research sweep sweep=demo

test: $(DEV)  ## the test suite (minutes)
	$(BIN)/pytest -n 2 -m "not slow"

test-all: $(DEV)  ## the test suite with the long tests
	$(BIN)/pytest -n 2

coverage: $(DEV)  ## which lines and branches the test suite reaches (its time twice over)
	rm -f .coverage*
	$(BIN)/coverage run -m pytest -n 2 -m "not slow"
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

reproduce-fast: $(DEV)  ## the papers' numbers that take minutes, run and judged
	status=0
	for name in kneser_ney_ptb mr_naive_bayes regmix_table; do
		$(BIN)/lm-research reproduce $$name || status=1
	done
	exit $$status

mutation: $(MUTATION)  ## would a fault in the numbers be noticed? (an hour; continues where it was stopped)
	$(BIN)/python benchmarks/mutation.py

check: $(DEV)  ## style, types, architecture, and an audit of the dependencies where there is a network
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	./audit.sh

audit: $(DEV)  ## the audit alone, for continuous integration: fails where it cannot ask
	./audit.sh --required

$(DEMO): pyproject.toml constraints.txt install.sh
	PYTHON=$(PYTHON) ./install.sh corpora,zh
	touch $@

$(DEV): pyproject.toml constraints.txt install.sh
	PYTHON=$(PYTHON) ./install.sh dev
	touch $@ $(DEMO)

$(MUTATION): pyproject.toml constraints.txt install.sh
	PYTHON=$(PYTHON) ./install.sh dev,mutation
	touch $@ $(DEV) $(DEMO)

clean:  ## remove the environment and caches; never runs or reports
	rm -rf .venv .coverage* .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis mutants
