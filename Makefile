# Every target makes its own environment: only Python 3.11 or newer, make and a package index are needed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test acceptance images bench lint fmt protos soak fuzz clean

$(READY): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --editable . --group dev
	@touch $@

demo: $(READY)  ## three retailers and a coordinator on this machine, checked against plaintext
	$(BIN)/sealroom demo

test: lint  ## everything that CI runs
	$(BIN)/python -m pytest benchmarks --benchmark-disable -q
	$(BIN)/python -m pytest -n auto --dist loadgroup

acceptance: $(READY)  ## the figures that models and queries must reach on real data; half an hour
	$(BIN)/python -m pytest -m slow

images: $(READY)  ## build the shipped images and run a room across containers; needs root and podman
	.ci/containers.sh
	SEALROOM_LANES=images,docker-compose $(BIN)/python -m pytest tests/e2e/test_containers.py

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fmt: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(READY)
	$(BIN)/sealroom bench --quick --report bench.html --json bench.json

protos:  ## regenerate mpc/wire/v1 with the oldest toolchain that is promised
	./proto/generate.sh

soak: $(READY)
	$(BIN)/python -m pytest -m soak

fuzz: $(READY)
	$(BIN)/python -m pytest -m fuzz

clean:
	rm -rf $(VENV) .venv-protos
