#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# fuzz.sh READER [SECONDS] - libFuzzer on tests/fuzz/fuzz_READER.c, from its corpus; words of the format come from
# tests/fuzz/READER.dict where there is one. New inputs gather in build/fuzz/corpus/READER, what breaks the reader in
# build/fuzz/READER-*. A finding goes into tests/fuzz/corpus/READER with its repair.
set -euo pipefail
cd "$(dirname "$0")/../.."
reader=${1:-} seconds=${2:-600}

if [ ! -e "tests/fuzz/fuzz_$reader.c" ]; then
    echo "fuzz: READER=\"$reader\" is none of:" tests/fuzz/fuzz_*.c | sed -E 's|tests/fuzz/fuzz_([a-z0-9_]+)\.c|\1|g' >&2
    exit 2
fi
fuzzer=$(make -s --no-print-directory MODE=fuzz list-tests | tr ' ' '\n' | grep "/fuzz_$reader\$")
make --no-print-directory -j"$(nproc)" MODE=fuzz "$fuzzer"

new=build/fuzz/corpus/$reader
mkdir -p "$new"
options=(-max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -max_len=65536 -print_final_stats=1
    -artifact_prefix="build/fuzz/$reader-")
[ ! -e "tests/fuzz/$reader.dict" ] || options+=(-dict="tests/fuzz/$reader.dict")
exec "$fuzzer" "${options[@]}" "$new" "tests/fuzz/corpus/$reader"
