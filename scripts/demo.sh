#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# The main job from end to end: corpus, tokens, training, evaluation, export, stories. Everything lands in build/demo.
set -euo pipefail
cd "$(dirname "$0")/.."
tern=build/tern
out=build/demo
rm -rf "$out"
mkdir -p "$out"

step() { printf '\n\033[1m%s\033[0m\n' "$*" >&2; }
say() { printf '$ %s\n' "$*" >&2; "$@"; }

step "1. A corpus: stories from Tern's own grammar"
say $tern data stories -n 60000 --seed 1 -o "$out/stories.jsonl"
say $tern data prepare "$out/stories.jsonl" -o "$out/stories.h5" --tokenizer bpe --vocab-size 1024

step "2. A ternary model, trained from scratch"
say $tern train configs/demo.yaml --set data.train="$out/stories.h5" --run-dir "$out/run"

step "3. How well it reads stories it has not seen"
$tern data stories -n 200 --seed 2 -o "$out/held-out.jsonl"
say $tern eval "$out/run" "$out/held-out.jsonl" --json

step "4. Out as GGUF, proven bit for bit"
say $tern export "$out/run" --type i2_s -o "$out/stories.gguf"

step "5. Stories it tells"
say $tern run -m "$out/stories.gguf" -p "Once upon a time" -n 120 --temp 0.7 --seed 1 --samples 4

step "6. Are they good? 200 more, held against the grammar"
$tern run -m "$out/stories.gguf" -n 160 --temp 0.7 --seed 100 --samples 200 >"$out/told.txt" 2>"$out/told.log"
say $tern data stories --check "$out/told.txt"
