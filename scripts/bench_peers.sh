#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# bench_peers.sh - Tern beside PyTorch, in turn, at PRESETS (default "30m 125m"); bench/results/peers-*.md are written.
# PyTorch comes from PyPI into build/peers, else from Debian; TERN_PEER_PYTHON names a Python that has it already.
# Further ROUNDS, STEPS, THREADS, and MODES of train_pytorch.py.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=build/peers/venv

has_torch() { "$1" -c 'import torch' 2>/dev/null; }

say() { echo "bench-peers: $*" >&2; }

# Print the Python to use.
find_python() {
    if [ -n "${TERN_PEER_PYTHON:-}" ]; then
        has_torch "$TERN_PEER_PYTHON" || { say "$TERN_PEER_PYTHON has no torch" && return 1; }
        echo "$TERN_PEER_PYTHON"
    elif [ -x $venv/bin/python ] && has_torch $venv/bin/python; then
        echo $venv/bin/python
    elif install_from_pypi >&2 && has_torch $venv/bin/python; then
        echo $venv/bin/python
    else
        say "no PyTorch from PyPI, so Debian's, which is older"
        has_torch /usr/bin/python3 || scripts/setup.sh packages-peers.txt >&2
        has_torch /usr/bin/python3 && echo /usr/bin/python3
    fi
}

install_from_pypi() {
    say "installing PyTorch into $venv"
    mkdir -p build/peers
    python3 -m venv $venv && $venv/bin/pip install --quiet --disable-pip-version-check torch numpy
}

[ -x build/tern ] || { say "build/tern is missing; run make" && exit 1; }
python=$(find_python) || { say "found no PyTorch" && exit 1; }
options=(--rounds "${ROUNDS:-3}" --steps "${STEPS:-5}" --threads "${THREADS:-$(nproc)}")
[ -z "${MODES:-}" ] || read -ra modes <<<"--modes $MODES"
# Elsewhere there is no AVX2 to be held to.
[ "$(uname -m)" = x86_64 ] || options+=(--no-avx2)

for preset in ${PRESETS:-30m 125m}; do
    "$python" bench/peers/compare_peers.py --preset "$preset" "${options[@]}" ${modes[@]+"${modes[@]}"}
done
