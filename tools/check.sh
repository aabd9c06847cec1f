#!/usr/bin/env bash
# Lint, format, types, import rules, and that the locks carry no address. Prints each step; stops at the first failure.
set -euo pipefail
cd "$(dirname "$0")/.."
step() { printf '%s\n' "-- $*"; "$@"; }
step .venv/bin/ruff check .
step .venv/bin/ruff format --check .
step .venv/bin/mypy
step .venv/bin/lint-imports --no-cache
step .venv/bin/pyright --pythonpath .venv/bin/python --warnings
if grep -nE 'https?://|--index-url|--find-links' requirements/*.txt; then echo "a lock carries an address: run make lock" >&2; exit 1; fi
if git grep -nE '"resolved": *"http' -- '*package-lock.json'; then echo "an npm lock carries an address: check .npmrc" >&2; exit 1; fi
echo "check: all good"
