# Every target sets up what it needs. A second call reuses the set-up.
#   make sweep    the demo: train baseline and cutout on the bundled images, compare them
#   make test     the quick tests: one sweep on real images, and what takes seconds at most
#   make lint     style and types        make wheel   the package as a file
#   make docs     the documentation, into docs/_build
#   make bench    speed against named alternatives, some forty-five minutes on two cores
#   make test-slow        the tests marked slow: every bad input, trainings that are killed and go on
#   make test-processes   those of several devices, launchers and the walk-through, which start processes: minutes more
# Each test is in exactly one of the three; CI runs them all.
SHELL  := /bin/bash
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
            $$p -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN    := .venv/bin
READY  := .venv/ready

.PHONY: sweep bench test test-slow test-processes lint docs wheel browser clean
sweep: $(READY)
	$(BIN)/stress-lab -m experiment=demo

# pytest rewrites the assertions of each file, which takes each process ten seconds unless what it made may be kept
PYTEST := GOMP_SPINCOUNT=0 PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -q -rs -n 2 --dist loadfile --no-loadscope-reorder

test: $(READY) browser
	$(PYTEST) -m "not slow and not processes"

test-slow: $(READY) browser
	$(PYTEST) -m "slow and not processes"

test-processes: $(READY)
	$(PYTEST) -m processes

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(READY)
	GOMP_SPINCOUNT=0 $(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build

bench: $(READY)
	GOMP_SPINCOUNT=0 $(BIN)/python benchmarks/speed.py
	GOMP_SPINCOUNT=0 $(BIN)/python benchmarks/profile_step.py

wheel: $(READY)
	$(BIN)/python -m build --wheel --no-isolation

# the tests of the page look at it in Chromium; without one they are skipped, and say so
browser:
	@command -v chromium > /dev/null || { test "$$(id -u)" = 0 && command -v apt-get > /dev/null && { \
	  echo "installing Debian's chromium for the tests of the page"; \
	  apt-get -o DPkg::Lock::Timeout=120 install -y -qq chromium > /dev/null 2>&1 || \
	  { apt-get update -qq && apt-get -o DPkg::Lock::Timeout=120 install -y -qq chromium; } > /dev/null 2>&1; }; } || \
	  echo "no chromium: the tests of the page are skipped"

clean:
	rm -rf .venv dist build docs/_build *.egg-info

$(READY): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer with venv is needed: install it, or say make PYTHON=/path/to/python3"; exit 2; }
	@echo "setting up .venv with $$($(PYTHON) --version) (about 6 GB; half a minute to two, once)"
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -q --disable-pip-version-check -c constraints.txt uv
	$(BIN)/uv pip install -q --compile-bytecode --python $(BIN)/python -c constraints.txt -e '.[dev]' \
	  || $(BIN)/pip install -q --disable-pip-version-check -c constraints.txt -e '.[dev]'  # a mirror that only pip knows
	@touch $@
