# Everything runs from a virtual environment in .venv that is made when it is missing or pyproject.toml has changed.
#   make run [PROFILE=profiles/nat_1400B.toml] [ARGS="--set load.rate=300M"]
#   make test    all checks and tests through tox
#   make soak [COUNT=500 SEED=1]    seeded faults, every promise checked after each; goes on where it was
#   make soak-kill [COUNT=100 SEED=1]    kill the program at every phase and random moments (as root)
#   make lint    formatting, lint rules and types only
#   make clean   remove the environments, caches and build products (results are kept)
# As root, or as an ordinary user where the kernel permits user namespaces; 'harness doctor' says what differs.

SHELL   := /bin/sh
PYTHON  ?= python3
VENV    := .venv
PROFILE ?= profiles/nat_512B.toml
COUNT   ?= 500
SEED    ?= 1
ARGS    ?=

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: run test soak soak-kill lint clean

run: $(VENV)/.installed
	$(VENV)/bin/harness doctor --warm-cache --quiet
	$(VENV)/bin/harness run $(PROFILE) $(ARGS)

soak: $(VENV)/.installed
	$(VENV)/bin/harness doctor --warm-cache --quiet
	$(VENV)/bin/harness soak profiles/soak.toml --count $(COUNT) --seed $(SEED)

# All of it, whatever fails: one report tells everything.
test: $(VENV)/bin/tox
	@status=0; \
	$(VENV)/bin/tox run -e dev,lint,type,compile || status=1; \
	$(VENV)/bin/tox run-parallel -e uml,beside,unit,boundscheck --parallel 2 --parallel-no-spinner --parallel-live || status=1; \
	$(VENV)/bin/tox run -e system || status=1; \
	exit $$status

soak-kill: COUNT = 100
soak-kill: $(VENV)/.installed
	$(VENV)/bin/python -m tests.soak.kill --count $(COUNT) --seed $(SEED)

lint: $(VENV)/bin/tox
	$(VENV)/bin/tox run -e dev,lint,type

clean:
	rm -rf .tox .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist *.egg-info $(VENV)
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml $(VENV)/bin/python
	$(VENV)/bin/python -m pip install --quiet --editable .
	touch $@

$(VENV)/bin/tox: $(VENV)/bin/python
	$(VENV)/bin/python -m pip install --quiet "tox>=4.20,<5"
	touch $@
