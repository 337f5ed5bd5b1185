# Two commands: `make demo` runs the main job, `make test` runs the checks. Both make .venv first.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
OUT    ?= runs/demo
VIDEO  ?=
MODEL  ?=

.PHONY: demo test weights check clean help
.DEFAULT_GOAL := help

help: ## Show the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

$(VENV)/.python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo "error: $(PYTHON) is older than 3.10; name a newer one: make PYTHON=python3.12 demo" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.installed: pyproject.toml $(VENV)/.python
	$(BIN)/python -m pip install --quiet --progress-bar off -e .
	@touch $@

$(VENV)/.dev: pyproject.toml $(VENV)/.python
	$(BIN)/python -m pip install --quiet --progress-bar off -e '.[dev]'
	@touch $@ $(VENV)/.installed

demo: $(VENV)/.installed ## Run the main job on drawn videos (VIDEO=file.mp4 MODEL=embedded for yours); report in runs/demo
	$(BIN)/vidcausal demo $(VIDEO) --out $(OUT) $(if $(MODEL),--model $(MODEL))

test: check ## Lint, types, layers, tests
	HF_HUB_OFFLINE=1 $(BIN)/python -m pytest

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

weights: $(VENV)/.installed ## Fetch the small default weights (360 MB, once), so that no test is skipped for want of them
	$(BIN)/vidcausal models --get embedded-shots --get whisper-tiny-en

clean: ## Remove the virtual environment and caches
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
