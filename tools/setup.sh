#!/usr/bin/env bash
# Makes .venv from a hash-locked list and installs what Debian must bring. Called by make; safe to call again.
#   tools/setup.sh demo    the service and the pictures          (make demo)
#   tools/setup.sh dev     everything, with the real servers     (make test, make check, make bench)
set -euo pipefail
cd "$(dirname "$0")/.."
level=${1:?usage: tools/setup.sh demo|dev}

say() { printf 'setup: %s\n' "$*" >&2; }
die() { say "$*"; exit 2; }

python=
for candidate in python3.11 python3.12 python3.13 python3; do
  if command -v "$candidate" >/dev/null && "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null; then
    python=$candidate; break
  fi
done
[[ -n $python ]] || die "Python 3.11, 3.12 or 3.13 is missing; on Debian 12: apt-get install python3 python3-venv"
"$python" -c 'import ensurepip, venv' 2>/dev/null || die "Python's venv module is missing; run: apt-get install python3-venv"

# name of a file or command that shows that the package is there -> Debian package
declare -A wanted=([lib:libOSMesa.so.8]=libosmesa6 [lib:libEGL.so.1]=libegl1 [lib:libGL.so.1]=libgl1)
if [[ $level == dev ]]; then
  wanted+=([cmd:chromium]=chromium [cmd:mosquitto]=mosquitto [cmd:Xvfb]=xvfb [cmd:mvn]=maven [cmd:javac]=openjdk-17-jdk-headless [cmd:git]=git)
fi
missing=()
for sign in "${!wanted[@]}"; do
  case $sign in
    cmd:*) PATH=$PATH:/usr/sbin command -v "${sign#cmd:}" >/dev/null || missing+=("${wanted[$sign]}") ;;
    lib:*) ldconfig -p 2>/dev/null | grep -qF "${sign#lib:}" || /sbin/ldconfig -p 2>/dev/null | grep -qF "${sign#lib:}" || missing+=("${wanted[$sign]}") ;;
  esac
done
if ((${#missing[@]})); then
  command -v apt-get >/dev/null || die "these Debian packages (or your system's equivalent) are missing: ${missing[*]}"
  if [[ $(id -u) == 0 ]]; then
    say "installing Debian packages: ${missing[*]}"
    log=$(mktemp)
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"; } >"$log" 2>&1 \
      || { tail -20 "$log" >&2; rm -f "$log"; die "apt-get could not install ${missing[*]}"; }
    rm -f "$log"
  else
    die "Debian packages are missing; run: sudo apt-get install --no-install-recommends ${missing[*]}"
  fi
fi
if [[ $level == dev ]]; then
  node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 20 || (a == 20 && b >= 19) ? 0 : 1)' 2>/dev/null \
    || die "Node 20.19 or newer with npm is missing (the tests drive the web page and the npm peers); install it from your system or nodejs.org"
  command -v npm >/dev/null || die "npm is missing; it comes with Node"
fi

lock=requirements/$level.txt
stamp=.venv/.$level-$(cat "$lock" pyproject.toml tools/editable_links.py | sha256sum | cut -c1-16)
if [[ ! -f $stamp ]]; then
  if [[ ! -x .venv/bin/python ]]; then
    say "making .venv with $("$python" --version)"
    "$python" -m venv .venv || die "could not make .venv; run: apt-get install python3-venv"
  fi
  say "installing $lock (hash-checked)"
  .venv/bin/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/bootstrap.txt
  .venv/bin/uv pip install -q --python .venv/bin/python --require-hashes -r "$lock"
  .venv/bin/uv pip install -q --python .venv/bin/python --no-deps --no-build-isolation -e .
  rm -f .venv/."$level"-*
  touch "$stamp"
fi

# What the browser gets: the page of the plant and GraphiQL, each built once for each state of its sources.
if command -v npm >/dev/null && node -e 'process.exit(+process.versions.node.split(".")[0] >= 20 ? 0 : 1)' 2>/dev/null; then
  for page in viewer/web api/ide; do
    sum=$(cd $page && find . -path ./node_modules -prune -o -path ./dist -prune -o -type f -print0 | sort -z | xargs -0 cat | sha256sum | cut -c1-16)
    [[ ! -f $page/dist/.built-$sum ]] || continue
    say "building $page"
    log=$(mktemp)
    if (cd $page && npm ci --no-fund --no-audit && npm run build && touch "dist/.built-$sum") >"$log" 2>&1; then
      rm -f "$log"
    elif [[ $level == dev ]]; then
      grep -v '^npm warn' "$log" | head -20 >&2
      die "$page could not be built (whole output: $log)"
    else
      say "$page could not be built (output: $log); everything else works"
    fi
  done
else
  say "Node 20 is not here, so the web page is not built; everything else works (install Node and run make setup again)"
fi
