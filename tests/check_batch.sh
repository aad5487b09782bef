#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# check_batch.sh - tern batch: the answers of tern run, for any number of rows at once, stopped at any instant or not.
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
settings=(-m "$dir/run" -s 11 -n 40 --temp 1.2 --chat-template chatml)
batch() { "$tern" batch "$dir/in.jsonl" "${settings[@]}" "$@"; }
same() { cmp -s <(sort "$1") <(sort "$2") || fail "$3: $(diff <(sort "$1") <(sort "$2") | head -n 4)"; }

for i in $(seq 400); do echo "Once upon a time a cat met $i dogs, and [they] all had tea."; done >"$dir/text.txt"
cat >"$dir/c.yaml" <<END
model: {d_model: 128, d_ff: 256, n_layer: 1, context: 192}
data: {train: $dir/text.txt, tokenizer: bpe, vocab_size: 300}
train: {max_steps: 3, batch_size: 2}
END
"$tern" train "$dir/c.yaml" --run-dir "$dir/run" >"$dir/train.log" 2>&1 || fail "$(cat "$dir/train.log")"

for i in $(seq 60); do
    case $((i % 5)) in
    0) echo "{\"prompt\": \"a cat met $i\", \"max_tokens\": $((i % 30)), \"top_k\": 5}" ;;
    1) echo "{\"id\": $i, \"messages\": [{\"role\": \"user\", \"content\": \"tea for $i?\"}], \"ignore_eos\": true}" ;;
    2) echo "{\"id\": \"r$i\", \"prompt\": \"Once upon a time a cat met $i dogs, and\", \"temperature\": 0}" ;;
    3) echo "{\"id\": \"s$i\", \"prompt\": \"Once\", \"seed\": $i, \"stop\": [\"te\", \"do\"]}" ;;
    4) echo "{\"id\": \"e$i\", \"prompt\": \"Once\", \"top_p\": $i}" ;;
    esac
done >"$dir/in.jsonl"

status 0 '12 rows failed' batch -o "$dir/a.jsonl"
[ "$(wc -l <"$dir/a.jsonl")" -eq 60 ] || fail "60 rows, $(wc -l <"$dir/a.jsonl") answers"
for flags in "--parallel 1 -t 1" "--parallel 3 -ub 7" "--parallel 60 -t 2"; do
    # shellcheck disable=SC2086
    batch -o "$dir/b.jsonl" $flags --restart >"$dir/out" 2>"$dir/err" || fail "$(cat "$dir/err")"
    same "$dir/a.jsonl" "$dir/b.jsonl" "$flags"
done
tac "$dir/in.jsonl" >"$dir/turned.jsonl"
"$tern" batch "$dir/turned.jsonl" "${settings[@]}" -o "$dir/t.jsonl" 2>/dev/null
ids() { sed -E '/"req_|"error"/d; s/"index":[0-9]+,//' "$1"; }
same <(ids "$dir/a.jsonl") <(ids "$dir/t.jsonl") "rows in another order"

alone=$("$tern" run -m "$dir/run" -p 'Once' -s 8 -n 40 --temp 1.2 -r te -r do --no-display-prompt 2>/dev/null | tr -d '\n')
together=$(sed -nE 's/.*"s8".*"response":"(([^"\\]|\\.)*)".*/\1/p' "$dir/a.jsonl" | sed 's/\\n//g')
[ "${alone//\"/\\\"}" = "$together" ] || fail "tern run writes \"$alone\", tern batch \"$together\""

# with an adapter: the same for any number of rows at once, and what was begun with others is not gone on with
cat >"$dir/ft.yaml" <<END
method: lora
model: {base: $dir/run}
lora: {rank: 4}
data: {train: $dir/text.txt}
train: {max_steps: 10, epochs: 0, batch_size: 2, grad_accumulation: 1, learning_rate: 1e-2, warmup_steps: 0, eval_steps: 0}
END
"$tern" finetune "$dir/ft.yaml" --run-dir "$dir/tuned" >"$dir/train.log" 2>&1 || fail "$(cat "$dir/train.log")"
status 0 '12 rows failed' batch -o "$dir/l.jsonl" --lora "$dir/tuned:0.5" --parallel 1 -t 1
status 0 '12 rows failed' batch -o "$dir/m.jsonl" --lora "$dir/tuned:0.5" --parallel 8 -t 2
same "$dir/l.jsonl" "$dir/m.jsonl" "an adapter, 8 rows at once"
cmp -s <(sort "$dir/a.jsonl") <(sort "$dir/l.jsonl") && fail "an adapter changes no answer"
status 1 'was begun with "adapters" = "' batch -o "$dir/m.jsonl"
status 1 'was begun with "adapters" = "' batch -o "$dir/m.jsonl" --lora "$dir/tuned"
status 0 '60 were there' batch -o "$dir/m.jsonl" --lora "$dir/tuned:0.5"

# killed at any instant
for i in $(seq 8); do
    rm -f "$dir"/k.jsonl*
    "$tern" batch "$dir/in.jsonl" "${settings[@]}" -o "$dir/k.jsonl" --parallel 2 -t 1 >/dev/null 2>&1 &
    pid=$!
    sleep "0.0$i"
    kill -9 $pid 2>/dev/null || true
    wait $pid 2>/dev/null || true
    batch -o "$dir/k.jsonl" >/dev/null 2>"$dir/err" || fail "$(cat "$dir/err")"
    same "$dir/a.jsonl" "$dir/k.jsonl" "killed and gone on with"
done
status 0 '60 were there' batch -o "$dir/k.jsonl" --json
grep -q '"kept":60' "$dir/out" || fail "no summary: $(cat "$dir/out")"

status 1 'was begun with "temperature" = 1.2, not 0.5' batch -o "$dir/k.jsonl" --temp 0.5
status 1 'was begun with "chat_template" = "chatml", not "zephyr"' batch -o "$dir/k.jsonl" --chat-template zephyr
status 1 'was begun with "grammar_hash" = ""' batch -o "$dir/k.jsonl" -j '{}'
status 1 'was begun with seed 11' batch -o "$dir/k.jsonl" -s 12
echo '{"prompt": "another"}' >"$dir/other.jsonl"
status 1 'belong to another input' "$tern" batch "$dir/other.jsonl" "${settings[@]}" -o "$dir/k.jsonl"
status 1 'writing it would destroy it' batch -o "$dir/in.jsonl"
status 1 'is no output of a batch' batch -o "$dir/text.txt" --restart
status 1 'is a device' batch -o /dev/null
status 2 '-o is missing' batch
status 2 'answers go to a file' batch -o -
status 2 'not in batches' batch -o "$dir/x.jsonl" --lookup
status 1 'compressed with gzip' "$tern" batch <(gzip -c "$dir/in.jsonl") -m "$dir/run" -o "$dir/x.jsonl"
[ ! -e "$dir/x.jsonl" ] || fail "a refused batch left a file"
