#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# check_model_commands.sh - tern run, export and inspect on a model of a few steps: what goes to stdout, exit statuses.
set -euo pipefail
cd "$(dirname "$0")/.."
tern=${TERN:-build/tern}
dir=$(mktemp -d "${TMPDIR:-/tmp}/tern-check-XXXXXX")
trap 'rm -rf "$dir"' EXIT

fail() {
    echo "$1"
    exit 1
}

# status EXPECTED WORDS COMMAND...: the exit status, and words that stderr must have.
status() {
    local expected=$1 words=$2 found=0
    shift 2
    "$@" >"$dir/out" 2>"$dir/err" || found=$?
    [ "$found" -eq "$expected" ] || fail "$*: status $found, expected $expected: $(cat "$dir/err")"
    grep -qF -- "$words" "$dir/err" || fail "$*: no \"$words\" in: $(cat "$dir/err")"
}

for i in $(seq 40); do echo "Once upon a time a cat met $i dogs and they all had tea."; done >"$dir/text.txt"
cat >"$dir/c.yaml" <<END
model: {d_model: 128, d_ff: 256, n_layer: 1, context: 32}
data: {train: $dir/text.txt, tokenizer: char}
train: {max_steps: 3, batch_size: 2}
END
"$tern" train "$dir/c.yaml" --run-dir "$dir/run" >"$dir/train.log" 2>&1 || fail "$(cat "$dir/train.log")"

"$tern" run -m "$dir/run" -p 'Once' -n 12 -s 3 >"$dir/a" 2>"$dir/err"
grep -q '^Once' "$dir/a" || fail "the prompt is not shown: $(cat "$dir/a")"
grep -q 'seed 3' "$dir/err" || fail "the seed is not said: $(cat "$dir/err")"

"$tern" export "$dir/run" -o "$dir/m.gguf" >"$dir/out" 2>"$dir/err"
grep -q 'equal bit for bit' "$dir/out" || fail "no proof: $(cat "$dir/out")"
"$tern" run -m "$dir/m.gguf" -p 'Once' -n 12 -s 3 -t 1 >"$dir/b" 2>/dev/null
cmp -s "$dir/a" "$dir/b" || fail "run folder and GGUF file tell different texts"

for type in hf hf-packed; do
    "$tern" export "$dir/run" -o "$dir/$type" --type $type >"$dir/out" 2>"$dir/err" || fail "$(cat "$dir/err")"
    grep -q 'equal bit for bit' "$dir/out" || fail "no proof: $(cat "$dir/out")"
    "$tern" run -m "$dir/$type" -p 'Once' -n 12 -s 3 >"$dir/b" 2>/dev/null
    cmp -s "$dir/a" "$dir/b" || fail "run folder and $type tell different texts"
    "$tern" inspect "$dir/$type" >"$dir/out" 2>/dev/null
    grep -q 'model.layers.0.mlp.down_proj.weight .*zeros' "$dir/out" || fail "inspect: $(cat "$dir/out")"
    status 1 'writing it would destroy it' "$tern" export "$dir/$type" -o "$dir/$type" --type hf-packed
done
"$tern" export "$dir/hf-packed" -o "$dir/again.gguf" >"$dir/out" 2>"$dir/err" || fail "$(cat "$dir/err")"
"$tern" export "$dir/hf" -o "$dir/hf-packed" --type hf-packed --dtype bf16 >"$dir/out" 2>"$dir/err" || fail "$(cat "$dir/err")"
touch "$dir/hf-packed/notes.txt"
status 1 'holds notes.txt, which would be lost' "$tern" export "$dir/run" -o "$dir/hf-packed" --type hf-packed
status 1 'not the latents that training moves' "$tern" export "$dir/m.gguf" -o "$dir/new" --type hf
[ ! -e "$dir/new" ] || fail "a refused export left a folder"
status 2 '--dtype: is for hf and hf-packed' "$tern" export "$dir/run" -o "$dir/new" --dtype bf16
status 2 '--embedding-type: is for GGUF files' "$tern" export "$dir/run" -o "$dir/new" --type hf --embedding-type f16

"$tern" run -m "$dir/m.gguf" -p 'Once' -n 12 -s 3 --samples 2 --no-display-prompt --json >"$dir/c" 2>/dev/null
grep -q '"stop_reason":' "$dir/c" || fail "no stop reason in $(cat "$dir/c")"
[ "$(wc -l <"$dir/c")" -eq 1 ] || fail "--json gives more than one line"

"$tern" inspect "$dir/m.gguf" >"$dir/out" 2>/dev/null
grep -q 'blk.0.ffn_down.weight .*I2_S .*zeros' "$dir/out" || fail "inspect: $(cat "$dir/out")"
"$tern" inspect --json "$dir/run" 2>/dev/null | grep '"zeros":' >/dev/null || fail "inspect of a run has no share of zeros"

for f in "$dir"/run/checkpoints/*.h5; do
    status 1 'writing it would destroy it' "$tern" export "$dir/run" -o "$f"
    status 1 'writing it would destroy it' "$tern" export "$f" -o "$f"
done
"$tern" inspect "$dir/run" >"$dir/out" 2>&1 || fail "a refused export spoilt the checkpoint: $(cat "$dir/out")"

# a number that JSON does not have, and a key that is not UTF-8; without our version the file needs no checksum
perl -0777 -pe 's/(layer_norm_rms_epsilon\x06\0\0\0)..../$1\0\0\xc0\x7f/s; s/tern\.(version|checksum)/tarn.$1/g; s/general.type/general.t\xffpe/' "$dir/m.gguf" >"$dir/nan.gguf"
"$tern" inspect "$dir/nan.gguf" >"$dir/out" 2>"$dir/err" || fail "$(cat "$dir/err")"
grep -q 'layer_norm_rms_epsilon: nan$' "$dir/out" || fail "nan is not shown: $(cat "$dir/out")"
grep -q $'^general.t\xef\xbf\xbdpe: model$' "$dir/out" || fail "a repaired key: $(cat "$dir/out")"
"$tern" inspect --json "$dir/nan.gguf" >"$dir/out" 2>"$dir/err" || fail "$(cat "$dir/err")"
grep -q 'layer_norm_rms_epsilon":null,' "$dir/out" || fail "nan is not null: $(cat "$dir/out")"

# a name that is not UTF-8
name=$dir/c$'\xff'.gguf
"$tern" export "$dir/run" -o "$name" --json >"$dir/out" 2>"$dir/err" || fail "$(cat "$dir/err")"
"$tern" inspect "$name" >"$dir/out" 2>"$dir/err" || fail "$(cat "$dir/err")"
grep -q $'^general.name: c\xef\xbf\xbd$' "$dir/out" || fail "a repaired name: $(cat "$dir/out")"
"$tern" run -m "$name" -p Once -n 3 --json >"$dir/out" 2>"$dir/err" || fail "$(cat "$dir/err")"

status 2 'Tern runs on CPUs only' "$tern" run -m "$dir/m.gguf" -ngl 3
status 2 '-m is missing' "$tern" run -p Once
status 1 'the context holds 32' "$tern" run -m "$dir/m.gguf" -p "Once upon a time a cat met 1 dogs and they all had tea."
status 1 'needs a multiple of 256' "$tern" export "$dir/run" --type tq2_0 -o "$dir/tq.gguf"
status 2 'is not one of' "$tern" export "$dir/run" --type q4_0 -o "$dir/q4.gguf"
status 1 'neither a checkpoint' "$tern" inspect "$dir/text.txt"
compgen -G "$dir/*q*.gguf*" >/dev/null && fail "a failed export left a file"
printf 'x' | dd of="$dir/m.gguf" bs=1 seek=9000 conv=notrunc 2>/dev/null
status 1 'checksum' "$tern" run -m "$dir/m.gguf" -p Once
