#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# check_plan.sh - the plan of a model that is far larger than this machine: figures at once, and no memory taken for it;
# plans of small ones: what they say is taken.
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

# What a run takes at its peak, with evaluations, checkpoints and samples, is what its plan says, within 5 %.
cat >"$dir/train.yaml" <<YAML
model: {d_model: 256, n_layer: 6, n_head: 4, n_kv_head: 2, d_ff: 512, vocab_size: 2048, context: 128}
data: {train: $dir/text.txt, tokenizer: char, validation_fraction: 0.1}
train: {max_steps: 3, batch_size: 8, eval_steps: 2, eval_batches: 2, save_steps: 2, sample_steps: 3, sample_prompt: One, sample_tokens: 20}
YAML
number() { grep -oE "\"$1\":[0-9]+" "$dir/out" | cut -d : -f 2; } # KEY: of the JSON that was printed last
run=0
compare() { # COMMAND SETTINGS...
    local sets=() set planned peak command=$1
    shift
    for set in "$@"; do sets+=(--set "$set"); done
    "$tern" "$command" "$dir/$command.yaml" --plan --json "${sets[@]}" >"$dir/out" 2>"$dir/err"
    planned=$(number memory_bytes)
    run=$((run + 1))
    "$tern" "$command" "$dir/$command.yaml" --run-dir "$dir/run$run" --json "${sets[@]}" >"$dir/out" 2>"$dir/err"
    peak=$(number peak_rss_bytes)
    if [ "$peak" -eq 0 ]; then
        echo "the system does not tell peaks of memory"
        exit 77
    fi
    if [ $((100 * peak)) -gt $((105 * planned)) ] || [ $((100 * peak)) -lt $((95 * planned)) ]; then
        echo "$*: planned $planned bytes, took $peak, more than 5 % apart"
        exit 1
    fi
}
compare train train.optimizer=adamw
compare train train.optimizer=muon train.checkpoint_activations=block
compare train model.vocab_size=20000 model.n_layer=1
compare train train.backward=f32 train.quant_warmup_tokens=2048 train.grad_accumulation=2

# The same over a frozen base, packed, its embedding in its file.
cat >"$dir/shape.yaml" <<YAML
model: {d_model: 1024, n_layer: 6, n_head: 8, n_kv_head: 4, d_ff: 2048, vocab_size: 16000, context: 512}
YAML
"$tern" make-dummy --config "$dir/shape.yaml" -o "$dir/base.gguf" >"$dir/out" 2>&1
cat >"$dir/finetune.yaml" <<YAML
model: {base: $dir/base.gguf}
data: {train: $dir/text.txt}
lora: {rank: 16}
train: {max_steps: 2, epochs: 0, batch_size: 1, grad_accumulation: 1, eval_steps: 1, eval_batches: 2, save_steps: 1}
YAML
compare finetune method=lora
compare finetune method=lora_merged

# The same where the limit has picked the settings, and when the run goes on with them.
"$tern" train "$dir/train.yaml" --plan --json --max-ram 120MiB >"$dir/out" 2>"$dir/err"
planned=$(number memory_bytes)
if [ "$planned" -gt $((120 << 20)) ] || ! grep -q '"chosen":"train\.' "$dir/out"; then
    echo "--max-ram 120MiB: planned $planned bytes"
    cat "$dir/err" "$dir/out"
    exit 1
fi
for start in "$dir/train.yaml --run-dir $dir/less --max-ram 120MiB" "--resume $dir/less --set train.max_steps=5"; do
    # shellcheck disable=SC2086  # several arguments
    "$tern" train $start --json >"$dir/out" 2>"$dir/err"
    peak=$(number peak_rss_bytes)
    if [ "$peak" -gt $((105 * planned / 100)) ]; then
        echo "$start: planned $planned bytes, took $peak"
        exit 1
    fi
done
grep -qE 'grad_accumulation: ([2-9]|1[0-9])|checkpoint_activations: "?block' "$dir/less/config.yaml" || {
    echo "config.yaml has not the settings that were chosen"
    exit 1
}
