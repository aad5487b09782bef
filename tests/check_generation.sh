#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# check_generation.sh - the flags of tern run that say how a text is written, on a model of a few steps.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD tern=$PWD/${TERN:-build/tern}
dir=$(mktemp -d "${TMPDIR:-/tmp}/tern-check-XXXXXX")
trap 'rm -rf "$dir"' EXIT
cd "$dir"

fail() {
    echo "$1"
    exit 1
}

# run ARGUMENTS...: the text to stdout.
run() { "$tern" run -m run -p Once -c 32 -t 1 "$@" 2>err; }
# same WHAT A B
same() { [ "$2" = "$3" ] || fail "$1: \"$2\" is not \"$3\""; }
differ() { [ "$2" != "$3" ] || fail "$1: both are \"$2\""; }
# refused STATUS WORDS ARGUMENTS...: that exit status, and these words on stderr.
refused() {
    local expected=$1 words=$2 found=0
    shift 2
    "$tern" run -m run -p Once -n 3 "$@" >out 2>err || found=$?
    [ "$found" -eq "$expected" ] || fail "$*: status $found, expected $expected: $(cat err)"
    grep -qF -- "$words" err || fail "$*: no \"$words\" in: $(cat err)"
}

for i in $(seq 40); do echo "Once upon a time a cat met $i dogs and they all had tea."; done >text.txt
cat >c.yaml <<END
model: {d_model: 128, d_ff: 256, n_layer: 1, context: 64}
data: {train: text.txt, tokenizer: char}
train: {max_steps: 30, batch_size: 2}
END
"$tern" train c.yaml --run-dir run >train.log 2>&1 || fail "$(cat train.log)"

"$tern" make-dummy --set model.vocab_size=300 --set model.d_model=256 --set model.n_head=4 --set model.d_ff=256 \
    --set model.n_layer=2 --set model.context=131072 -o long.gguf >/dev/null 2>err || fail "$(cat err)"

# ---- samplers ----
cold=$(run -n 20 --temp 0)
same "the most likely, by top-k" "$cold" "$(run -n 20 --top-k 1 -s 5)"
same "the most likely, with underscores" "$cold" "$(run --n_predict 20 --top_k 1 --repeat_penalty 1)"
same "the most likely, by letters" "$cold" "$(run -n 20 --sampler-seq k --top-k 1 -s 5)"
same "the most likely, from the environment" "$cold" "$(TERN_TEMPERATURE=0 run -n 20)"
same "the most likely, by both heads" "$cold" "$(run -n 20 --temp 0 --head exact)"
warm=$(run -n 20 -s 3 --temp 1.5)
same "one seed" "$warm" "$(run -n 20 -s 3 --temp 1.5 -t 2)"
same "llama.cpp's order" "$warm" \
    "$(run -n 20 -s 3 --temp 1.5 --samplers 'penalties;dry;top_n_sigma;top_k;typ_p;top_p;min_p;xtc;temperature')"
for flags in '-s 4' '--top-k 2' '--top-p 0.1' '--min-p 0.9' '--typical 0.1' '--top-nsigma 0.5' '--repeat-penalty 3' \
    '--presence-penalty 5' '--frequency-penalty 5' '--dry-multiplier 9 --dry-allowed-length 0' \
    '--xtc-probability 1 --xtc-threshold 0.02' '--dynatemp-range 1.4' '--mirostat 1 --mirostat-ent 0.5' \
    '--mirostat 2 --mirostat-ent 0.5' '--samplers temperature' '-l 5+30'; do
    # shellcheck disable=SC2086  # several words
    differ "$flags" "$warm" "$(run -n 20 -s 3 --temp 1.5 $flags)"
done
refused 2 '"top_q" is not a sampler; there are penalties, dry, top_n_sigma, top_k, typ_p' --samplers 'top_k;top_q'
refused 2 "no sampler has the letter 'q'" --sampler-seq kq
refused 2 'cannot both be given' --samplers top_k --sampler-seq k
refused 2 '--mirostat: 3 is outside 0..2' --mirostat 3
refused 2 '"x+1" is not ID+B or ID-B' -l x+1
refused 2 '"5" is not ID+B' -l 5
refused 1 'there is no token 99999' -l 99999+1
id=$(run -n 1 --temp 0 --json --logprobs 0 --no-display-prompt | sed -nE 's/.*"id":([0-9]+).*/\1/p' | sed -n 1p)
differ "a ban" "$cold" "$(run -n 20 --temp 0 -l "$id-inf")"
n=$("$tern" inspect run --json 2>/dev/null | sed -nE 's/.*"tokenizer.size":([0-9]+).*/\1/p')
# shellcheck disable=SC2046
refused 1 "every one of the $n tokens is banned" $(for i in $(seq 0 $((n - 1))); do printf -- '-l %d-inf ' "$i"; done)

# ---- many texts, log-probabilities ----
run -n 9 -s 7 --n-best 3 --json --no-display-prompt >three
[ "$(grep -o '"seed":[789]' three | wc -l)" -eq 3 ] || fail "--n-best: $(cat three)"
for seed in 7 8 9; do
    one=$(run -n 9 -s $seed --json --no-display-prompt | grep -o '"samples":\[{"text":"[^"]*"')
    grep -qF "${one#*\[}" three || fail "--n-best has not what seed $seed tells alone: $one"
done
run -n 9 -s 7 --logprobs 4 --json --ignore-eos >lines
[ "$(wc -l <lines)" -eq 10 ] || fail "--logprobs: $(wc -l <lines) lines, expected 9 and one"
[ "$(grep -c '"top_logprobs":\[{"id":[0-9]*,"token":' lines)" -eq 9 ] || fail "--logprobs: $(head -n 1 lines)"
[ "$(head -n 1 lines | grep -o '"logprob":-' | wc -l)" -eq 5 ] || fail "--logprobs 4: $(head -n 1 lines)"
refused 2 '--logprobs: needs --json' --logprobs 3
refused 2 '--logprobs: 21 is outside -1..20' --logprobs 21 --json

# ---- guesses, full contexts ----
same "guesses" "$cold" "$(run -n 20 --temp 0 --lookup)"
grep -q 'of which [1-9]' err || fail "nothing is said of guesses: $(cat err)"
same "guesses at a temperature" "$warm" "$(run -n 20 -s 3 --temp 1.5 --draft 5)"
run -n 90 -s 3 --ignore-eos --json >full
grep -q '"stop_reason":"length"' full || fail "a full context: $(cat full)"
grep -q 'the context of 32 tokens is full (--context-shift drops older ones)' err || fail "no note: $(cat err)"
run -n 90 -s 3 --ignore-eos --context-shift --keep 4 --json >shifted
grep -q '"tokens":90' shifted || fail "--context-shift: $(cat shifted)"
same "a shift with guesses" "$(run -n 90 -s 3 --ignore-eos --context-shift)" \
    "$(run -n 90 -s 3 --ignore-eos --context-shift --lookup)"

"$tern" run -m run -p Once -c 32 -n 90 -s 3 --ignore-eos >text 2>&1 || fail "$(cat text)"
grep -q '^[^ ]*Z WARN run: text 1 ends' text || fail "the note of a full context begins no line: $(cat text)"

# What came before Ctrl-C is not lost.
"$tern" run -m long.gguf -p Once -n -1 -c 100000 --ignore-eos --json >stopped 2>err &
pid=$!
for _ in $(seq 500); do if grep -q 'INFO run' err; then break; fi; sleep 0.02; done
sleep 0.2
kill -INT $pid
found=0
wait $pid || found=$?
[ $found -eq 130 ] || fail "Ctrl-C: status $found, expected 130: $(cat err)"
grep -q '"text":"Once.*","stop_reason":"interrupted","tokens":[0-9]' stopped || fail "Ctrl-C: $(cat stopped)"

# ---- sessions ----
whole=$(run -n 24 -s 9 --mirostat 2 --repeat-penalty 1.2)
first=$(run -n 10 -s 9 --mirostat 2 --repeat-penalty 1.2 --session s.h5)
rest=$("$tern" run -m run -c 32 -t 1 -n 14 --mirostat 2 --repeat-penalty 1.2 --session s.h5 2>err; echo .)
same "a session gone on with" "$whole" "$first${rest%$'\n.'}"
grep -q 'seed 9' err || fail "the seed of a session is not kept: $(cat err)"
cp s.h5 kept.h5
same "a prompt with a session" "$cold" "$(run -n 20 --temp 0 --prompt-cache s.h5 --prompt-cache-ro)"
grep -q 'prompt: 4 tokens, 4 of them kept' err || fail "nothing of the session was kept: $(cat err)"
cmp s.h5 kept.h5 || fail "--prompt-cache-ro wrote"
run -n 20 --temp 0 --session s.h5 --json | grep '"prompt_reused":4' >/dev/null || fail "a session reused nothing"
refused 1 'the context holds 8' --session kept.h5 -c 8
refused 1 'kv_type is f16, expected f32' --session kept.h5 -ctk f32 -ctv f32
printf 'x' | dd of=s.h5 bs=1 seek=5000 conv=notrunc 2>/dev/null
refused 1 's.h5: is damaged' --session s.h5
refused 1 'text.txt' --session text.txt
refused 1 'nowhere/s.h5: cannot write' --session nowhere/s.h5
[ ! -s out ] || fail "a session that cannot be kept was written: $(cat out)"
refused 2 '--session: keeps one text' --session kept.h5 --n-best 2

# ---- adapters ----
for i in $(seq 200); do echo "Once $i dogs sang and sang."; done >sung.txt
cat >ft.yaml <<END
method: lora
model: {base: run}
lora: {rank: 4}
data: {train: sung.txt}
train: {max_steps: 20, epochs: 0, batch_size: 2, grad_accumulation: 1, learning_rate: 3e-3, warmup_steps: 0, eval_steps: 0}
END
"$tern" finetune ft.yaml --run-dir tuned >train.log 2>&1 || fail "$(cat train.log)"
"$tern" finetune ft.yaml --run-dir twin --set train.seed=2 >train.log 2>&1 || fail "$(cat train.log)"
"$tern" export tuned --type gguf-lora -o a.gguf >train.log 2>&1 || fail "$(cat train.log)"
"$tern" export twin --type peft -o b >train.log 2>&1 || fail "$(cat train.log)"
sung=$(run -n 20 --temp 0 --lora a.gguf)
differ "an adapter" "$cold" "$sung"
grep -q 'a.gguf: GGUF adapter, 7 pairs of rank 4, scale 1' err || fail "nothing is said of an adapter: $(cat err)"
same "the run that it is of" "$sung" "$("$tern" run -m tuned -p Once -c 32 -n 20 --temp 0 2>err)"
same "the run as an adapter" "$sung" "$(run -n 20 --temp 0 --lora tuned)"
for flags in '-t 2' '-ub 1' '--lookup' '--head exact' '--lora b:0' '-t 2 --draft 3'; do
    # shellcheck disable=SC2086  # several words
    same "an adapter with $flags" "$sung" "$(run -n 20 --temp 0 --lora a.gguf $flags)"
done
same "a scale of 0" "$cold" "$(run -n 20 --temp 0 --lora a.gguf:0 --lora b:0)"
same "adapters that wait" "$cold" "$(run -n 20 --temp 0 --lora a.gguf --lora-init-without-apply)"
cp a.gguf a.gguf:0.5
cp -r b 'b,2:x'
# The first line; all of them are read, so that none is written into a closed pipe.
logits() { run -n 1 --temp 0 --json --logprobs 5 "$@" | sed -n 1p; }
same "a path with a colon" "$(logits --lora a.gguf)" "$(logits --lora a.gguf:0.5)"
rm a.gguf:0.5
differ "a scale" "$(logits --lora a.gguf)" "$(logits --lora a.gguf:0.5)"
same "a path with a comma and a colon" "$(logits --lora b:0.5)" "$(logits --lora 'b,2:x:0.5')"
both=$(logits --lora a.gguf --lora b:-0.5)
differ "a second adapter" "$(logits --lora a.gguf)" "$both"
same "a list" "$both" "$(logits --lora-scaled a.gguf:1,b:-0.5)"
same "beside the adapter of a run" "$both" "$(run -m tuned -n 1 --temp 0 --json --logprobs 5 --lora b:-0.5 | sed -n 1p)"
refused 1 'x: cannot open' --lora x
refused 1 'x: cannot open' --lora x:0.5
refused 1 '--lora a.gguf, its scale: "much" is not a number' --lora a.gguf:much
refused 1 '--lora a.gguf, its scale: "inf" is not a number' --lora a.gguf:inf
refused 1 './a.gguf: is given twice' --lora a.gguf --lora b,./a.gguf:0.3
refused 1 'there is no name of a file' --lora a.gguf,
refused 1 'text.txt: is no adapter' --lora text.txt
"$tern" train c.yaml --run-dir other --set train.seed=5 >train.log 2>&1 || fail "$(cat train.log)"
refused 1 'a.gguf: was trained beside another model' -m other --lora a.gguf
refused 1 'a.gguf' -m long.gguf --lora a.gguf
first=$(run -n 10 -s 9 --lora a.gguf:0.7 --session l.h5)
same "a session with an adapter" "$(run -n 24 -s 9 --lora a.gguf:0.7)" \
    "$first$("$tern" run -m run -c 32 -t 1 -n 14 --lora a.gguf:0.7 --session l.h5 --prompt-cache-ro 2>err)"
refused 1 'l.h5: was written with adapters: give the same --lora' --session l.h5
refused 1 'l.h5: was written with other adapters or scales' --session l.h5 --lora a.gguf
refused 1 'kept.h5: was written without adapters: leave out --lora' --session kept.h5 --lora a.gguf
same "a session with an adapter that waits" "$cold" \
    "$(run -n 20 --temp 0 --session kept.h5 --prompt-cache-ro --lora a.gguf:0)"
loss() { "$tern" eval "$@" sung.txt 2>err; }
same "the loss with an adapter" "$(loss tuned)" "$(loss run --lora a.gguf)"
differ "the loss with an adapter" "$(loss run)" "$(loss run --lora a.gguf)"
"$tern" bench infer -m run --lora a.gguf -p 8 -n 4 -r 1 >out 2>err || fail "bench infer --lora: $(cat err)"

# ---- what a text may be ----
same "a grammar" "Once upon a cat" "$(run -n 30 --grammar 'root ::= " upon a " ("cat" | "dog")' -l "$id+0" -s 1 | sed 's/dog/cat/')"
echo 'root ::= "x' >bad.gbnf
refused 1 'line 1' --grammar-file bad.gbnf
refused 2 'only one can be given' --grammar-file bad.gbnf --grammar 'root ::= "a"'
refused 1 'JSON schema: line 1' -j '{'
same "a stop string" "Once" "$(run -n 20 --temp 0 -r "$(echo "$cold" | cut -c5-7)")"

# ---- presets ----
same "a preset" "$cold" "$(run -n 20 --temp 0 --preset server)"
eight=$(run -n 20 --temp 0 -ctk q8_0 -ctv q8_0)
same "what a preset fills in" "$eight" "$(run -n 20 --temp 0 --preset mobile)"
same "what flags say, against a preset" "$cold" "$(run -n 20 --temp 0 --preset mobile -ctk f16 -ctv f16)"
"$tern" run -m long.gguf -n 2 --preset mobile >/dev/null 2>err || fail "$(cat err)"
if grep -q allows err; then fail "a small model does not fit: $(cat err)"; fi
"$tern" run -m long.gguf -n 2 --preset mobile -c 131072 -ctk f32 -ctv f32 >/dev/null 2>err || fail "$(cat err)"
grep -q 'preset mobile allows 512 MiB; this model with 1 x 131072 tokens of context takes 5[0-9][0-9] MiB' err ||
    fail "nothing is said of 512 MiB of keys and values: $(cat err)"
refused 2 '-ctk f32 and -ctv q8_0: expected one type' --preset mobile -ctk f32
refused 2 '--preset: "palm" is not one of none|mobile|edge|server|cloud' --preset palm
for command in run chat batch 'bench infer'; do
    # shellcheck disable=SC2086
    "$tern" $command --help | sed -nE \
        's/^  (mobile|edge|server|cloud) +([0-9]+) threads, context ([0-9]+), cache (\w+) +([0-9]+ MiB): (.*)/| \1 | \2 | \3 | \4 | \5 | \6 |/p' >presets
    [ "$(wc -l <presets)" -eq 4 ] || fail "tern $command --help lists $(wc -l <presets) presets"
    while read -r row; do grep -qxF "$row" "$root/docs/generation.md" || fail "docs/generation.md has no row $row"; done <presets
done

# ---- flags of other tools ----
for flag in '-ctk q4_0' '-ctk f32 -ctv f16' '-hf x' '-ts 1' '--control-vector x' '-C f' '-md x' '--adaptive-target 1'; do
    # shellcheck disable=SC2086
    refused 2 "tern run: -" $flag
done
for flag in '-fa on' '-ctk F16 -ctv f16' '-b 64' '--no-mmap' '--mlock' '--numa distribute' '-no-cnv' '--no-warmup' '-ngl 0'; do
    # shellcheck disable=SC2086
    same "$flag" "$cold" "$(run -n 20 --temp 0 $flag)"
done
