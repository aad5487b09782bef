#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# interop.sh - the environment of tests/interop in build/interop/venv, made when it is absent or older than its list, then
# the checks. TERN_INTEROP_PYTHON names a Python that has the packages already.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=build/interop/venv list=tests/interop/requirements.txt
cpu=https://download.pytorch.org/whl/cpu

if [ -z "${TERN_INTEROP_PYTHON:-}" ] && [ ! "$venv/complete" -nt $list ]; then
    echo "interop: installing into $venv" >&2
    python3 -m venv $venv
    pip=("$venv/bin/pip" --quiet --disable-pip-version-check install)
    # PyPI's torch brings CUDA along, some gigabytes of it; the same version without is in an index of its own.
    "${pip[@]}" --retries 0 --timeout 20 --no-deps --index-url $cpu "$(grep '^torch==' $list)" 2>/dev/null ||
        echo "interop: $cpu cannot be reached, so torch comes from PyPI" >&2
    "${pip[@]}" -r $list
    touch "$venv/complete"
fi
exec bash tests/check_interop.sh
