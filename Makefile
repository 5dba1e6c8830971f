# Every target sets up what it needs. A second call reuses the set-up.
#   make sweep    the demo: train baseline and cutout on the bundled images, compare them
#   make test     the tests        make lint   style and types        make wheel   the package as a file
SHELL  := /bin/bash
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
            $$p -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN    := .venv/bin
READY  := .venv/ready

.PHONY: sweep test lint wheel clean
sweep: $(READY)
	$(BIN)/stress-lab -m experiment=demo

test: $(READY)
	GOMP_SPINCOUNT=0 $(BIN)/python -m pytest -q -n 2 --dist loadfile

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

wheel: $(READY)
	$(BIN)/python -m build --wheel --no-isolation

clean:
	rm -rf .venv dist build *.egg-info

$(READY): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer with venv is needed: install it, or say make PYTHON=/path/to/python3"; exit 2; }
	@echo "setting up .venv with $$($(PYTHON) --version) (about 6 GB; half a minute to two, once)"
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -q --disable-pip-version-check -c constraints.txt uv
	$(BIN)/uv pip install -q --python $(BIN)/python -c constraints.txt -e '.[dev]' \
	  || $(BIN)/pip install -q --disable-pip-version-check -c constraints.txt -e '.[dev]'  # a mirror that only pip knows
	@touch $@
