# Two commands: `make demo` and `make test`. Needs python3 (3.11 or newer) and a package registry, nothing else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUN ?= demo/run

.PHONY: demo test test-hub check format benchmark clean

# the environment is made anew only when what it consists of changes
$(VENV)/.made: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[ann,adjust,coregister,test]"
	touch $@

$(VENV)/.made-hub: $(VENV)/.made
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[ann,adjust,test,hub]"
	touch $@

demo: $(VENV)/.made
	$(BIN)/alpgm demo --out demo/data
	$(BIN)/alpgm run catalogs/demo.toml --output $(RUN)

check: $(VENV)/.made
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

test: check
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile

# servers on the loopback interface; what Chromium, Node or npm would be needed for skips, saying so, where they are absent
test-hub: $(VENV)/.made-hub
	$(BIN)/python -m pytest -m hub

format: $(VENV)/.made
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

benchmark: $(VENV)/.made
	$(BIN)/python tests/benchmarks/geometry.py
	$(BIN)/python tests/benchmarks/inference.py
	$(BIN)/python tests/benchmarks/climate.py

clean:
	rm -rf $(VENV) demo build *.egg-info
