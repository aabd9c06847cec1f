# make demo   the whole thing, live        make test    every test, real servers included
# make check  lint, types, import rules    make bench   the figures, beside their peers
SHELL := /bin/bash
PY := .venv/bin
UV := $(PY)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header

.PHONY: help setup demo test test-slow check bench lock clean
help:
	@sed -n '1,2s/^# //p' Makefile

setup:
	@tools/setup.sh dev

demo:
	@tools/setup.sh demo
	@$(PY)/twinloom demo $(ARGS)

test:
	@tools/setup.sh dev
	@$(PY)/pytest -q -n 2 -m "not slow" $(ARGS)

test-slow:
	@tools/setup.sh dev
	@$(PY)/pytest -q -m slow $(ARGS)

check:
	@tools/setup.sh dev
	@tools/check.sh

bench:
	@tools/setup.sh dev
	@$(PY)/twinloom bench $(ARGS)

lock:
	echo uv | $(UV) - -o requirements/bootstrap.txt
	$(UV) pyproject.toml -o requirements/core.txt
	$(UV) --extra viewer --group build pyproject.toml -o requirements/demo.txt
	$(UV) --all-extras --group dev pyproject.toml -o requirements/dev.txt

clean:
	rm -rf .venv .editable .mypy_cache .ruff_cache .pytest_cache viewer/web/dist viewer/web/node_modules api/ide/dist api/ide/node_modules benchmarks/peers/node_modules
