#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# check_data.sh - rows of training data from outside: tern data inspect and prepare, training on them, evaluating.
set -euo pipefail
exec </dev/null
cd "$(dirname "$0")/.."
tern=$(realpath "${TERN:-build/tern}")
dir=$(mktemp -d "${TMPDIR:-/tmp}/tern-check-XXXXXX")
trap 'rm -rf "$dir"' EXIT
cd "$dir"

for needed in python3 script; do
    command -v $needed >/dev/null && continue
    echo "$needed is not installed"
    exit 77
done

fail() {
    echo "$1"
    exit 1
}

# ask STATUS ARGUMENTS...: tern data; what it prints in out, the rest in err.
ask() {
    local expected=$1 found=0
    shift
    "$tern" data "$@" >out 2>err || found=$?
    [ "$found" -eq "$expected" ] || fail "data $*: status $found, expected $expected: $(cat err)"
}
shown() { grep -qF -- "$1" out || fail "no \"$1\" in: $(cat out)"; }
said() { grep -qF -- "$1" err || fail "no \"$1\" in: $(cat err)"; }
# One key of the JSON in out, "a.0.b".
key() {
    python3 -c 'import json, sys
x = json.loads(open("out").read().splitlines()[-1])
for k in sys.argv[1].split("."): x = x[int(k)] if k.isdigit() else x[k]
print(x)' "$1"
}
is() { [ "$(key "$1")" = "$2" ] || fail "$1 is $(key "$1"), expected $2"; }

"$tern" data stories --questions -n 60 -o q.jsonl 2>err

# ---- prepare ----

ask 0 prepare q.jsonl -o q.h5 --tokenizer bpe --vocab-size 400 --special '<|im_start|>' --special '<|im_end|>' \
    --set data.chat_template=chatml
shown '60 rows, 60 kept'
"$tern" inspect q.h5 >out
shown 'rows: chat'
ask 1 prepare q.jsonl -o x.h5 --set data.los_on=all
said 'did you mean data.loss_on?'
ask 1 prepare q.jsonl -o x.h5 --set data.chat_template=chatmel
said 'did you mean chatml?'

# ---- inspect ----

ask 0 inspect q.jsonl -m q.h5 -n 1
shown 'q.jsonl:1: chat'
shown '⟦'
shown '<|im_end|>⟧'
grep -q $'\033' out && fail "colours in a pipe"
cp out shown
ask 0 inspect q.h5 -n 1
grep -F '⟧' shown | cmp -s - <(grep -F '⟧' out) || fail "the store shows other tokens than the rows it is made of"
ask 0 inspect q.jsonl -m q.h5 --json -n 3
is files.0.rows 60
is files.0.turn_ends 60
is examples.2.kind chat
[ "$(key examples)" != '[]' ] || fail 'no examples'
script -qc "$tern data inspect q.jsonl -m q.h5 -n 1" /dev/null 2>/dev/null >out </dev/null && grep -q $'\033\[32m' out ||
    fail "no colours on a terminal: $(head -c 300 out)"
ask 1 inspect q.jsonl -m q.h5 -n 0 --set data.train_on_eos=none
said 'no token that ends a turn is learnt'
ask 1 inspect q.jsonl -m q.h5 -n 1 -c 20
said 'everything is masked'
shown '60 cut; left out: 60 nothing to learn from'
ask 1 inspect q.jsonl
said '-m is missing'

# ---- bad rows ----

{
    head -n 2 q.jsonl
    echo '{"messages": [{"role": "user"}]}'
    echo 'not json'
    head -n 2 q.jsonl
} >bad.jsonl
ask 1 inspect bad.jsonl -m q.h5
said 'bad.jsonl:3: "messages[0].content" is missing'
ask 0 inspect bad.jsonl -m q.h5 --set data.on_bad_row=skip --set data.dedup=true --json -n 0
is files.0.kept 2
is files.0.dropped.bad 2
is files.0.dropped.duplicate 2
printf '{"text": "once upon a time"}\n{"input_ids": [1, 2]}\n' >mixed.jsonl
ask 1 inspect mixed.jsonl -m q.h5
said 'row is of kind tokens, but those before it are of kind text'
ask 0 inspect mixed.jsonl -m q.h5 --set data.kind=mixed --set data.packing=bfd

# ---- training ----

cat >c.yaml <<'END'
model: {d_model: 64, n_layer: 1, n_head: 2, d_ff: 128, context: 256}
data: {train: q.jsonl, tokenizer: bpe, vocab_size: 400, chat_template: none}
train: {max_steps: 4, batch_size: 2, eval_steps: 2}
END
"$tern" train c.yaml --run-dir run >out 2>err || fail "$(cat err)"
said 'training data: 54 documents in'
"$tern" train c.yaml --set data.train=q.h5 --set data.tokenizer= --run-dir stored >out 2>err || fail "$(cat err)"
"$tern" train c.yaml --set data.packing=off --set data.max_samples=20 --run-dir apart >out 2>err || fail "$(cat err)"
said 'training data: 18 documents in 18 rows'
ask 0 inspect q.jsonl -m run -n 1
"$tern" eval run q.jsonl --json >a 2>err || fail "$(cat err)"
"$tern" eval run q.jsonl --json --set data.packing=off >b 2>err || fail "$(cat err)"
python3 - <<'END' || fail "packed and apart differ: $(cat a b)"
import json
a, b = (json.load(open(f)) for f in "ab")
assert a["tokens"] == b["tokens"] and abs(a["loss"] - b["loss"]) < 1e-9
END
