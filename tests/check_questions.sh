#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# check_questions.sh - the worked example of the README in miniature: a base that knows stories alone, and the configurations
# of configs/ that teach it to answer questions about them; eval --exact-match before and after, and the base as it was.
set -euo pipefail
cd "$(dirname "$0")/.."
tern=${TERN:-build/tern}
dir=$(mktemp -d "${TMPDIR:-/tmp}/tern-check-XXXXXX")
trap 'rm -rf "$dir"' EXIT

fail() {
    echo "$1"
    exit 1
}
quiet() { "$@" >"$dir/out" 2>"$dir/err" || fail "$*: $(tail -n 3 "$dir/err")"; }
# matches MODEL FLAGS...: how many of the questions the model answers.
matches() {
    "$tern" eval "$1" "$dir/questions.jsonl" --exact-match --json "${@:2}" 2>"$dir/err" >"$dir/out" ||
        fail "tern eval $*: $(cat "$dir/err")"
    grep -qE '^\{"exact_match":[0-9.]+,"count":12,"answered":[0-9]+\}$' "$dir/out" || fail "tern eval $*: $(cat "$dir/out")"
    sed -E 's/.*"exact_match":([0-9.]+).*/\1/' "$dir/out"
}

quiet "$tern" data stories -n 300 --seed 1 -o "$dir/stories.jsonl"
"$tern" data stories -n 12 --seed 2 --questions >"$dir/questions.jsonl"
cat >"$dir/base.yaml" <<END
model: {d_model: 128, n_layer: 2, n_head: 2, d_ff: 256, context: 192, init_std: 0.1}
data: {train: $dir/stories.jsonl, tokenizer: bpe, vocab_size: 600, validation_fraction: 0}
train: {max_steps: 80, batch_size: 4, learning_rate: 2e-2, save_steps: 0}
END
quiet "$tern" train "$dir/base.yaml" --run-dir "$dir/base"
quiet "$tern" export "$dir/base" -o "$dir/base.gguf"
[ "$(matches "$dir/base.gguf" --set data.chat_template=plain)" = 0.0 ] || fail "the base answers questions"
sum=$(cksum "$dir/base.gguf" "$dir"/base/checkpoints/*)

# learn CONFIG BASE FLAGS...: by heart, and then all answers are right, however many are under way.
learn() {
    rm -rf "$dir/run"
    quiet "$tern" finetune "configs/$1" --set model.base="$2" --set data.train="$dir/questions.jsonl" \
        --set data.validation_fraction=0 --set data.chat_template=plain --set train.epochs=0 --run-dir "$dir/run" "${@:3}"
    for parallel in 1 5; do
        right=$(matches "$dir/run" --parallel $parallel)
        [ "$right" = 1.0 ] || fail "$1 ${*:3}: $right of the questions that were learnt are right, --parallel $parallel"
    done
    [ "$(cksum "$dir/base.gguf" "$dir"/base/checkpoints/*)" = "$sum" ] || fail "$1: the base is not what it was"
}

learn lora.yaml "$dir/base.gguf" --set train.max_steps=200
learn sft.yaml "$dir/base" --set train.max_steps=150

# mismatches are shown to whoever asks
"$tern" eval "$dir/base" "$dir/questions.jsonl" --exact-match -v >"$dir/out" 2>"$dir/err"
grep -q '^exact match 0.00 %  0 of 12 answers, of which the model ended [0-9]* itself$' "$dir/out" || fail "$(cat "$dir/out")"
[ "$(grep -cE 'questions.jsonl:[0-9]+: expected ".*", answered ".*"' "$dir/err")" = 5 ] || fail "$(cat "$dir/err")"

# all of them are plans that hold
for config in lora sft lora-2b; do
    quiet "$tern" finetune configs/$config.yaml --set model.base="$dir/base" --set data.train="$dir/questions.jsonl" --plan
done
