# Two commands matter: `make run` and `make test`. Both work on a fresh machine with Python >= 3.11.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do command -v $$p >/dev/null && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
DATA ?= ./liuhen-data
PORT ?= 8470
BIN := .venv/bin
PACKAGES := hardware ingest vault transcode api

.PHONY: run setup test test-slow test-browser test-interop check check-static format bench clean help

run: setup ## set up, seal the sample footage, serve the review page and print a sign-in link
	@scripts/run "$(DATA)" "$(PORT)"

setup: .venv/ready-run ## leave .venv/bin/liuhen working

test: .venv/ready-dev ## set up and run the default tests
	$(BIN)/pytest

test-slow: .venv/ready-dev .venv/ready-bench ## hundreds of kills, gigabytes, every syscall
	$(BIN)/pytest -m slow

test-browser: .venv/ready-dev ## real pages in Debian's Chromium
	$(BIN)/pytest -m browser

test-interop: .venv/ready-dev ## our log read by Go's x/mod, our bags by bagit
	$(BIN)/pytest -m interop

check: check-static test ## the gate: format, lint, layers, types, tests

check-static: .venv/ready-dev ## the gate without the tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/mypy

format: .venv/ready-dev ## put the code in order
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: .venv/ready-bench ## every benchmark beside its peers; writes benchmarks/RESULTS.md
	$(BIN)/python -P -m benchmarks.run

clean: ## remove the environment and the sample; never a vault
	rm -rf .venv .cache

help:
	@grep -hE '^[a-z-]+:.*##' Makefile | sed -E 's/:[^#]*## /\t/' | expand -t 16

.venv/ready-run: requirements/run.txt requirements/build.txt pyproject.toml scripts/setup
	@PYTHON="$(PYTHON)" scripts/setup run

.venv/ready-dev: requirements/dev.txt .venv/ready-run
	@PYTHON="$(PYTHON)" scripts/setup dev

.venv/ready-bench: requirements/bench.txt .venv/ready-run
	@PYTHON="$(PYTHON)" scripts/setup bench
