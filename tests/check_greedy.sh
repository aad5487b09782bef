#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# check_greedy.sh - the most likely text of a prompt is one text: whatever the number of threads, the prompts beside it,
# the chunks it is read in, guesses ahead, the way the head is asked, and, among instruction sets that fuse, the CPU.
# PROMPTS=1000 bash tests/check_greedy.sh asks each question of so many prompts, not 5, and takes most of an hour.
set -euo pipefail
cd "$(dirname "$0")/.."
export tern=$PWD/${TERN:-build/tern} prompts=${PROMPTS:-5} n=32
steps=$((prompts > 100 ? 400 : 8))
dir=$(mktemp -d "${TMPDIR:-/tmp}/tern-check-XXXXXX")
trap 'rm -rf "$dir"' EXIT
cd "$dir"
mkdir prompts logs

fail() {
    echo "$1"
    exit 1
}
quiet() { "$@" >out 2>err || fail "$*: $(tail -n 3 err)"; }

# ---- prompts: short, longer, longer than a chunk, repeated, begun alike ----

make_prompts() {
    awk -v prompts="$prompts" '
    function below(m) { seed = (seed * 16807) % 2147483647; return seed % m }
    function text(words,  s) { for (s = ""; words-- > 0;) s = s (s == "" ? "" : " ") word[1 + below(count)]; return s }
    BEGIN {
        seed = 5
        count = split("Once upon a time there was little cat dog named Tom Lily and they had tea in the big garden " \
            "then said \"No!\" ran home, happy. She found 1234 red balls; naïve café 猫 — the end.", word, " ")
        alike = text(40)
        for (i = 0; i < prompts; i++) {
            s = text(1 + below(6))
            if (i % 5 == 1) s = text(20 + below(20))
            if (i % 5 == 2) s = text(55 + below(20))
            if (i % 5 == 3) { phrase = text(2 + below(4)); for (k = 4 + below(8); k > 0; k--) s = s " " phrase }
            if (i % 5 == 4) s = alike " " s
            printf "%s", s > ("prompts/" i)
            gsub(/"/, "\\\"", s)
            printf "{\"id\": %d, \"prompt\": \"%s\"}\n", i, s > "in.jsonl"
        }
    }'
}

# ---- models: random weights with keys shared by heads, and one that Tern trained ----

shape() { echo "model: {d_model: 256, d_ff: 512, n_head: 4, n_kv_head: $1, n_layer: 2, context: 512, vocab_size: $2}"; }

make_models() {
    shape 2 2048 >dummy.yaml
    quiet "$tern" make-dummy --config dummy.yaml -o dummy.gguf
    quiet "$tern" data stories -n 300 --seed 1 -o stories.txt
    shape 1 512 >trained.yaml
    cat >>trained.yaml <<END
data: {train: stories.txt, tokenizer: bpe, vocab_size: 512}
train: {max_steps: $steps, batch_size: 1, eval_steps: 0}
END
    quiet "$tern" train trained.yaml --run-dir run --threads 1
    quiet "$tern" export run --type tq1_0 --embed-type q6_k -o trained.gguf
}

# ---- answers: "INDEX "TEXT" TOKENS REASON" a line, in the order of the prompts ----

# batch NAME FLAGS...: of all prompts in one batch, to NAME.
batch() {
    local name=$1
    shift
    quiet "$tern" batch in.jsonl -m "$model" -o answers.jsonl --restart --temp 0 -n "$n" "$@"
    sed -nE 's/.*"index":([0-9]+),.*"response":("([^"\\]|\\.)*"),"tokens":([0-9]+),.*"stop_reason":"(\w+)".*/\1 \2 \4 \5/p' \
        answers.jsonl | sort -n >"$name"
    [ "$(wc -l <"$name")" -eq "$prompts" ] || fail "batch $*: $(wc -l <"$name") answers to $prompts prompts"
}

# each NAME FLAGS...: of all prompts, one run of the program for each, to NAME.
each() {
    local name=$1 i
    shift
    # shellcheck disable=SC2016
    seq 0 $((prompts - 1)) | xargs -P 2 -I '{}' sh -c 'i=$1; shift
        "$tern" run -m "$model" -f "prompts/$i" --no-display-prompt --json --temp 0 -n "$n" "$@" >"logs/$i.answer" 2>"logs/$i"' \
        sh '{}' "$@" || true
    for ((i = 0; i < prompts; i++)); do [ -s "logs/$i.answer" ] || fail "run $*, prompt $i: $(cat "logs/$i")"; done
    for ((i = 0; i < prompts; i++)); do
        printf '%d ' "$i"
        cat "logs/$i.answer"
    done | sed -E 's/^([0-9]+) .*"samples":\[\{"text":("([^"\\]|\\.)*"),"stop_reason":"(\w+)","tokens":([0-9]+),.*/\1 \2 \5 \4/' >"$name"
}

questions=0
# same WHAT: what was found is what was expected.
same() {
    questions=$((questions + prompts))
    cmp -s expected found || fail "$model, $1: $(diff expected found | head -n 6)"
}
batched() { batch found "$@" && same "tern batch $*"; }
apart() { each found "$@" && same "tern run $*"; }

# ---- what must be equal ----

# Of the runs of the last question.
drafted=0 guessed=0
count_guesses() {
    local made right
    read -r made right < <(sed -nE 's/.*guesses: ([0-9]+) tokens, of which ([0-9]+) came true/\1 \2/p' logs/* |
        awk '{ made += $1; right += $2 } END { print made, right + 0 }')
    [ "${right:-0}" -gt 0 ] || fail "$model: no guess came true"
    drafted=$((drafted + made)) guessed=$((guessed + right))
}

every_way() {
    batch expected --parallel 8 -t 2
    grep -q '"prompt_tokens":[1-9][0-9][0-9],' answers.jsonl || fail "$model: no prompt is longer than a chunk"
    batched --parallel 1 -t 1
    batched --parallel 8 -t 1 -ub 7
    batched --parallel 3 -t 2 -ub 64
    apart -t 1 --head exact
    apart -t 2 --head screened -ub 5
    apart -t 1 --head screened --lookup
    count_guesses
    apart -t 2 --head exact --draft 5 -ub 33
}

every_cache() {
    for type in f32 q8_0; do
        batch expected -ctk $type -ctv $type --parallel 8 -t 2
        batched -ctk $type -ctv $type --parallel 1 -t 1 -ub 7
        apart -ctk $type -ctv $type -t 1 --head screened --lookup -ub 64
    done
}

# Sets that fuse agree (kernels/simd.h); portable C agrees with itself.
every_isa() {
    batch expected
    mv expected fused
    for isa in generic avx2 avxvnni avx512; do
        export TN_ISA=$isa
        if ! "$tern" run -m "$model" -p Once -n 1 >out 2>err; then
            grep -q 'instruction set' err || fail "$(cat err)"
            continue
        fi
        batch expected --parallel 8 -t 2
        [ $isa = generic ] || cmp -s fused expected || fail "$model, TN_ISA=$isa: $(diff fused expected | head -n 6)"
        batched --parallel 1 -t 1 -ub 7
        [ $isa != generic ] || apart -t 1 --head screened --lookup
        echo "$model, TN_ISA=$isa: $(comm -12 <(sort fused) <(sort expected) | wc -l) of $prompts texts as on this CPU"
    done
    unset TN_ISA
}

make_prompts
make_models
for model in dummy.gguf trained.gguf; do
    export model
    every_way
    every_cache
    every_isa
    echo "$model: $questions answers compared"
done
[ "$drafted" -gt "$guessed" ] || fail "all of $drafted guesses came true: wrong ones were not asked about"
echo "$drafted guesses, $guessed of them right"
