# Everything runs in .venv, made from requirements.lock; nothing of ours is installed.
PYTHON ?= python3
PY := .venv/bin/python
STAMP := .venv/.installed-from-lock
# Two processes, whatever the machine has: each starts a Ray of its own, and their tests wait for processes half the time.
PARALLEL := --numprocesses 2 --dist loadfile --no-loadscope-reorder --durations 10

.PHONY: demo test test-all check gpu-check format setup lock clean

demo: $(STAMP)  ## the whole path on synthetic walkers, a few minutes on two cores; results in ./demo
	$(PY) -m jobs.demo

test: $(STAMP)  ## the suite, without what takes longest
	$(PY) -m pytest $(PARALLEL) -m "not slow"

test-all: $(STAMP)  ## the suite and what takes longer
	$(PY) -m pytest $(PARALLEL)

check: $(STAMP)  ## style and types
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

gpu-check: $(STAMP)  ## whether the GPUs of this machine compute what they should, and how fast; eight minutes
	$(PY) -m benchmarks.gpu --json gpu-check.json

format: $(STAMP)
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

setup: $(STAMP)  ## the virtual environment alone

$(STAMP): requirements.lock
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version.split()[0] + ": make PYTHON=<python>" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv
	@echo 'installing requirements.lock into .venv: a minute or two'
	$(PY) -m pip install --disable-pip-version-check -qq -r requirements.lock  # -qq: errors alone
	touch $@

lock:  ## resolve pyproject.toml anew
	$(PYTHON) -m venv .venv-lock && .venv-lock/bin/pip install --quiet uv
	head -2 requirements.lock > requirements.new
	.venv-lock/bin/uv pip compile --quiet --universal --python-version 3.11 --group dev --no-annotate --no-header \
		pyproject.toml | grep -Ev '^(cuda-|nvidia-|triton)' >> requirements.new
	mv requirements.new requirements.lock && rm -r .venv-lock

clean:
	rm -rf .venv demo .mypy_cache .pytest_cache .ruff_cache
