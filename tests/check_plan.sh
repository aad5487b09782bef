#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# check_plan.sh - the plan of a model that is far larger than this machine: figures at once, and no memory taken for it.
set -euo pipefail
cd "$(dirname "$0")/.."
tern=${TERN:-build/tern}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

# The shape of BitNet b1.58 2B4T.
"$tern" data stories -n 200 --seed 1 -o "$dir/text.txt" 2>/dev/null
cat >"$dir/run.yaml" <<YAML
model: {d_model: 2560, n_layer: 30, n_head: 20, n_kv_head: 5, d_ff: 6912, vocab_size: 128256, context: 512}
data: {train: $dir/text.txt, tokenizer: char}
train: {max_steps: 10, batch_size: 1}
YAML

# To touch 50 GB, even of zeros, takes longer than 5 seconds.
status=0
(ulimit -t 5 && exec "$tern" train "$dir/run.yaml" --plan --json) >"$dir/out" 2>"$dir/err" || status=$?
bytes=$(grep -oE '"memory_bytes":[0-9]+' "$dir/out" | cut -d : -f 2) || true
if [ "$status" -ne 0 ] || [ "${bytes:-0}" -lt 40000000000 ] || ! grep -q '"total":2412820480,' "$dir/out"; then
    echo "the plan of 2.4 billion parameters: status $status, expected 0 and more than 40 GB"
    cat "$dir/err" "$dir/out"
    exit 1
fi
