#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# runtimes.sh - `tern bench infer` beside llama-bench of other runtimes, in turn; writes bench/results/runtimes.md.
#   PEERS="name=llama-bench:model.gguf[:flags] ..."   flags with commas for spaces, as in -fa,1
# MODEL is Tern's file, of the shape of theirs (default build/dummy.gguf; README.md tells how to make all of them).
# Further PROMPT=512, GENERATE=128, ROUNDS=3, THREADS=2; HELD="avx2 generic", sets of instructions for Tern alone, of
# which generic reads GENERIC_PROMPT=32 and writes GENERIC_GENERATE=8.
set -euo pipefail
cd "$(dirname "$0")/../.."
tern=build/tern
model=${MODEL:-build/dummy.gguf}

die() {
    echo "bench-runtimes: $*" >&2
    exit 1
}

[ -x $tern ] || die "$tern is missing; run make"
[ -r "$model" ] || die "$model is missing; write it: $tern make-dummy --config configs/bitnet-b1.58-2b4t.yaml -o $model"
[ -n "${PEERS:-}" ] || die 'PEERS is empty; it says "name=llama-bench:model.gguf ..."'

peers=()
for peer in $PEERS; do
    IFS=: read -r program file _ <<<"${peer#*=}"
    [[ "$peer" == ?*=* && -n "$file" ]] || die "PEERS: \"$peer\" is not name=llama-bench:model.gguf"
    [[ -f "$program" && -x "$program" ]] || die "${peer%%=*}: there is no program $program"
    [ -r "$file" ] || die "${peer%%=*}: there is no model $file"
    peers+=(--peer "$peer")
done
read -ra held <<<"${HELD-avx2 generic}"

exec python3 bench/peers/compare_runtimes.py --tern $tern --model "$model" "${peers[@]}" \
    --prompt "${PROMPT:-512}" --generate "${GENERATE:-128}" --rounds "${ROUNDS:-3}" --threads "${THREADS:-2}" \
    --generic-prompt "${GENERIC_PROMPT:-32}" --generic-generate "${GENERIC_GENERATE:-8}" --held "${held[@]}"
