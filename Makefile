# Everything a fresh clone needs: `make align` trains and answers, `make test` tests. Both set up .venv first.
PYTHON ?= python3
# One process a GPU, or one on a machine without; cores shared out among them.
PROCESSES ?= $(shell n=$$(nvidia-smi -L 2>/dev/null | grep -c '^GPU'); echo $$((n > 0 ? n : 1)))
THREADS ?= $(shell n=$$(( $$(getconf _NPROCESSORS_ONLN) / $(PROCESSES) )); echo $$((n > 0 ? n : 1)))
LAUNCH = $(BIN)/accelerate launch --config_file accelerate_config.yaml --num_processes $(PROCESSES) --num_cpu_threads_per_process $(THREADS)
BIN := .venv/bin
export TOKENIZERS_PARALLELISM := false

.PHONY: align test slow lint bench bench-scale fuzz clean

align: .venv/ready
	$(LAUNCH) recipes/align.py $(ARGS)

test: .venv/ready
	$(BIN)/python -m pytest

slow: .venv/ready
	$(BIN)/python -m pytest -m slow

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: .venv/ready
	for f in $(filter-out %/bench_scale.py,$(wildcard tests/benchmarks/bench_*.py)); do $(BIN)/python $$f || exit 1; done

bench-scale: .venv/ready
	$(BIN)/python tests/benchmarks/bench_scale.py $(ARGS)

fuzz: .venv/ready
	$(BIN)/python tests/fuzz.py --examples 1000 $(ARGS)

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev]"
	touch .venv/ready

clean:
	rm -rf .venv .cache runs build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
