#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# check_interop.sh - what transformers and peft make of Tern's files, and Tern of theirs (tests/interop/README.md). Skipped
# where `make interop` has not installed them.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${TERN_INTEROP_PYTHON:-build/interop/venv/bin/python}

"$python" -c 'import torch, transformers, peft' 2>/dev/null || { echo "transformers and peft are not there: make interop"; exit 77; }
[ -x build/interop/logits ] || { echo "build/interop/logits is not built: make interop"; exit 77; }
for script in tests/interop/*.py; do
    [ "$(basename "$script")" = common.py ] && continue
    echo "$(basename "$script" .py):"
    PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=tests/interop "$python" "$script"
done
