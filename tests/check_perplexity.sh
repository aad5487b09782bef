#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# check_perplexity.sh - tern eval says of every exact file what the trainer said of the model: the same digits. Bits are
# compared in test_perplexity.c; this is the way of a user.
set -euo pipefail
cd "$(dirname "$0")/.."
tern=$PWD/${TERN:-build/tern}
dir=$(mktemp -d "${TMPDIR:-/tmp}/tern-check-XXXXXX")
trap 'rm -rf "$dir"' EXIT
cd "$dir"

fail() {
    echo "$1"
    exit 1
}
quiet() { "$@" >out 2>err || fail "$*: $(tail -n 3 err)"; }
# judged MODEL TEXT FLAGS...: what tern eval says.
judged() { "$tern" eval "$@" --json 2>err || fail "tern eval $*: $(cat err)"; }
# same WHAT A B
same() { [ "$2" = "$3" ] || fail "$1: $2, expected $3"; }

# train NAME SHAPE: a run folder and its files; `expected` is what tern eval says of the folder.
train() {
    cat >"$1.yaml" <<END
model: {d_model: 256, d_ff: 256, n_head: 4, n_kv_head: 2, n_layer: 2, context: 64$2}
data: {train: train.txt, validation: held-out.txt, tokenizer: bpe, vocab_size: 400}
train: {max_steps: 5, batch_size: 8, eval_steps: 5}
END
    quiet "$tern" train "$1.yaml" --run-dir "$1"
    for type in i2_s tq1_0 tq2_0 f32 f16; do quiet "$tern" export "$1" --type $type -o "$1-$type.gguf"; done
    expected=$(judged "$1" held-out.txt)
    same "$1: the trainer's loss" "$(sed -nE 's/.*"val_loss": ([0-9.]+).*/\1/p' "$1/metrics.jsonl" | tail -n 1)" \
        "$(sed -nE 's/.*"loss":([0-9.]+).*/\1/p' <<<"$expected")"
}

quiet "$tern" data stories -n 90 --seed 1 -o train.txt
quiet "$tern" data stories -n 20 --seed 2 -o held-out.txt

train bitnet ''
for file in bitnet/checkpoints/*.h5 bitnet-{i2_s,tq1_0,tq2_0,f32}.gguf; do
    same "$file" "$(judged "$file" held-out.txt)" "$expected"
done
same "one thread" "$(judged bitnet-tq1_0.gguf held-out.txt -t 1)" "$expected"
quiet "$tern" data prepare held-out.txt --tokenizer bitnet -o held-out.h5
same "a token store" "$(judged bitnet-i2_s.gguf held-out.h5)" "$expected"

# Blocks of 256 hold f16 scales, and llama files nothing beside them (docs/format.md).
train llama ', activation: silu, sub_norms: false'
for type in i2_s f32; do same "llama, $type" "$(judged llama-$type.gguf held-out.txt)" "$expected"; done
rounded=$(judged llama-f16.gguf held-out.txt)
for type in tq1_0 tq2_0; do same "llama, $type" "$(judged llama-$type.gguf held-out.txt)" "$rounded"; done
[ "$rounded" != "$expected" ] || fail "scales in 16 bits changed nothing: $rounded"
