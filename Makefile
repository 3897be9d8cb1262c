# make bench   set up .venv, time the kernels, run the default studies, write results/;
#              ARGS='-k notes' for a part
# make test    set up .venv, run the tests, in up to 4 processes
# make lint    ruff and mypy, as the CI runs them;  make format  ruff's formatting
# make mutants plant errors one at a time and show that the tests catch each
# Another Python than python3:  make bench PYTHON=python3.13

PYTHON ?= python3
BIN := .venv/bin

.PHONY: bench test lint format mutants

bench: .venv/test.stamp
	$(BIN)/python -m pytest --benchmark $(ARGS)

test: .venv/test.stamp
	$(BIN)/python -m pytest --numprocesses logical --maxprocesses 4 --dist loadfile --benchmark-disable

lint: .venv/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: .venv/dev.stamp
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

mutants: .venv/test.stamp
	$(BIN)/python tests/mutants.py

# A stamp says: what pyproject.toml asks for in this extra is installed. pip comes last when a
# virtual environment is made, so one without it was interrupted and is made again. What `dev` asks
# for holds all of `test`.
.venv/%.stamp: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and \
	    "batchbench needs Python 3.11 or newer, for example: make $(MAKECMDGOALS) PYTHON=python3.12")'
	test -x $(BIN)/pip || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$*]'
	@touch $@ $(if $(filter dev,$*),.venv/test.stamp)
