#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# run_sanitizers.sh - every suite under asan with ubsan, then under tsan, then the quick ones under valgrind.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh packages-test-all.txt

for mode in asan tsan; do
    make --no-print-directory -j"$(nproc)" MODE=$mode build-tests
    echo "== $mode"
    TIME_LIMIT=1800 tests/run.sh $mode
done

# valgrind knows no AVX-512, so the kernels for it are masked; it finds what asan cannot: reads of uninitialised memory.
make --no-print-directory -j"$(nproc)" MODE=debug build-tests
echo "== valgrind"
TN_ISA=avx2 TIME_LIMIT=1800 RUNNER="valgrind -q --error-exitcode=99" tests/run.sh debug
