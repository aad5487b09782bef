#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# check_finetune.sh - tern finetune as a user meets it: from a base trained here to a run folder, stopped and resumed with
# the same bits, and what is wrong said in one sentence.
set -euo pipefail
cd "$(dirname "$0")/.."
. tests/checks.bash

# refused PATTERN ARGUMENTS...: status 1, one sentence that matches, and no folder.
refused() {
    local pattern=$1
    shift
    expect 1 "$pattern" finetune "$dir/ft.yaml" --run-dir "$dir/new" "$@"
    [ "$(grep -c '^tern finetune: ' "$dir/err")" -eq 1 ] || fail "finetune $*: not one sentence"
    [ ! -e "$dir/new" ] || fail "finetune $*: left its folder behind"
}
# close A B: equal to four digits
close() { awk -v a="$1" -v b="$2" 'BEGIN { d = a - b; exit !(d < 0 ? -d <= 1e-4 * a : d <= 1e-4 * a) }'; }
# metric RUN KEY: of the first row
metric() { head -n 1 "$dir/$1/metrics.jsonl" | grep -oE "\"$2\": ?[-0-9.e]+" | sed 's/.*: *//'; }

"$tern" data stories -n 200 --seed 1 -o "$dir/text.txt" 2>/dev/null
"$tern" data stories -n 60 --seed 2 -o "$dir/more.txt" 2>/dev/null
cat >"$dir/base.yaml" <<YAML
model: {d_model: 32, n_layer: 2, n_head: 2, d_ff: 64, context: 32}
data: {train: $dir/text.txt, tokenizer: char}
train: {max_steps: 100, batch_size: 8, learning_rate: 1e-2, eval_steps: 0, save_steps: 0}
YAML
expect 0 'tern run -m' train "$dir/base.yaml" --run-dir "$dir/base"
expect 0 'tern run -m' train "$dir/base.yaml" --run-dir "$dir/other" --set train.seed=3
cat >"$dir/ft.yaml" <<YAML
method: norms
model: {base: $dir/base}
data: {train: $dir/more.txt}
train: {max_steps: 30, epochs: 0, batch_size: 4, grad_accumulation: 2, learning_rate: 1e-3, eval_steps: 10, save_steps: 10, log_steps: 1}
YAML

# what is wrong is said in one sentence, and leaves nothing behind
refused 'method: "qlora" is not one of full\|lora\|lora_merged\|norms' --set method=qlora
refused 'model.base is missing: the model to start from' --set model.base=
refused '/none: cannot open: no such file or directory \(model.base\)' --set model.base=/none
refused 'is neither a checkpoint of Tern nor a GGUF file' --set model.base="$dir/text.txt"
refused 'has model.d_model: 64, but the base .* has model.d_model: 32; leave it out' --set model.d_model=64
refused 'lora.rank: 0 is outside 1..4096' --set lora.rank=0
refused 'unknown key "lora_r": Tern calls it lora.rank' --set lora_r=8
refused '"lora" is a section, expected one of its keys, lora.key' --set lora=8
refused '/none: cannot open: .* \(data.validation\)' --set data.validation=/none
refused 'data.train: 1e3: cannot open|1e3: cannot open' --set data.train=1e3
expect 1 'is a configuration for tern finetune' train "$dir/ft.yaml" --run-dir "$dir/new"
expect 2 'CONFIG is missing' finetune
expect 1 'base/config.yaml: names no model.base, so this is no run of tern finetune' finetune --resume "$dir/base"
expect 0 'tern run -m' train "$dir/base.yaml" --run-dir "$dir/float" --set model.quantization=none --set train.max_steps=1
refused 'method lora_merged moves ternary weights, but those of .* are floats' --set method=lora_merged \
    --set model.base="$dir/float"

expect 1 'stopped at step [0-9]+ after 3 steps without an update: the loss is not a finite number' \
    finetune "$dir/ft.yaml" --run-dir "$dir/lost" --set method=full --set train.optimizer=sgd --set train.momentum=0.99 \
    --set train.learning_rate=100 --set train.max_grad_norm=0 --set train.guard_patience=3

# plans
expect 0 'trained +[0-9]+ +\([0-9.]+ %\)' finetune "$dir/ft.yaml" --plan
expect 0 '"trained":352' finetune "$dir/ft.yaml" --plan --json
expect 1 'more than the 1.0 MiB of --max-ram' finetune "$dir/ft.yaml" --run-dir "$dir/new" --max-ram 1MiB

for method in full norms lora lora_merged; do
    # a run; the same that is stopped and goes on ends with the same bytes
    expect 0 "tern finetune --resume $dir/$method " finetune "$dir/ft.yaml" --run-dir "$dir/$method" --set method=$method
    : >"$dir/err" # else the steps of the run before could be seen there
    "$tern" finetune "$dir/ft.yaml" --run-dir "$dir/$method-parts" --set method=$method >"$dir/out" 2>"$dir/err" &
    pid=$!
    for _ in $(seq 500); do
        if grep -q '^step 1[0-9]/30' "$dir/err"; then break; fi
        sleep 0.01
    done
    kill -KILL "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
    expect 0 'step 30/30|all steps are done' finetune --resume "$dir/$method-parts"
    cmp "$dir/$method/checkpoints/step-00000030.h5" "$dir/$method-parts/checkpoints/step-00000030.h5" ||
        fail "$method: a run that was killed and resumed is not the undisturbed one"

    # eight rows in one pass or one in each of eight: the same step up to the order of sums
    for batch in 8 1; do
        expect 0 'all steps are done' finetune "$dir/ft.yaml" --run-dir "$dir/$method-$batch" --set method=$method \
            --set train.batch_size=$batch --set train.grad_accumulation=$((8 / batch)) --set train.max_steps=1 \
            --set lora.dropout=0
    done
    for key in train_loss grad_norm; do
        close "$(metric $method-8 $key)" "$(metric $method-1 $key)" ||
            fail "$method: $key of 8 x 1 is $(metric $method-8 $key), of 1 x 8 $(metric $method-1 $key)"
    done

    # another base is refused by its fingerprint
    expect 1 'is not the base that the run began with \(fingerprint [0-9a-f]{32}, not [0-9a-f]{32}\)' \
        finetune --resume "$dir/$method" --set model.base="$dir/other"
done

# preferences and a teacher: another objective, the same promises
for i in $(seq 60); do
    printf '{"prompt": "%s", "chosen": " the%s", "rejected": " an%s"}\n' "$(printf '%*s' $((i % 5 + 1)) '' | tr ' ' b)" \
        "$([ $((i % 2)) -eq 0 ] || echo y)" "$([ $((i % 3)) -eq 0 ] || echo d)"
done >"$dir/pairs.jsonl"
dpo=(--set objective=dpo --set data.train="$dir/pairs.jsonl")
distill=(--set objective=distill --set distill.teacher="$dir/other" --set distill.temperature=1)
refused 'pairs.jsonl has rows of kind preference, which compare answers' --set data.train="$dir/pairs.jsonl"
refused 'more.txt has rows of kind text; dpo learns from rows with prompt, chosen and rejected' --set objective=dpo
refused 'distill.teacher is missing: the model whose distribution is learnt' --set objective=distill
expect 0 '"references":' finetune "$dir/ft.yaml" --plan --json "${dpo[@]}"
expect 0 '"teacher":' finetune "$dir/ft.yaml" --plan --json "${distill[@]}"
expect 0 '"references":' finetune configs/dpo.yaml --plan --json "${dpo[@]}" --set model.base="$dir/base"
expect 0 '"teacher":' finetune configs/distill.yaml --plan --json "${distill[@]}" --set model.base="$dir/base" \
    --set data.train="$dir/more.txt"
for objective in dpo distill; do
    declare -n sets=$objective
    expect 0 'accuracy [01]\.[0-9]+  val|kl [0-9.]+  val' finetune "$dir/ft.yaml" --run-dir "$dir/$objective" "${sets[@]}"
done
grep -q '"val_rewards_accuracies": 1' "$dir/dpo/metrics.jsonl" || fail 'dpo: not all held-out pairs come out right'
expect 1 'is not the teacher that the run began with' finetune --resume "$dir/distill" --set distill.teacher="$dir/base"
exit $bad
