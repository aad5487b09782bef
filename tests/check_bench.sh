#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# check_bench.sh - the benchmarks run, tell what they promise, and add up. How fast things are is not judged here.
set -u
cd "$(dirname "$0")/.." || exit 1
tern=$PWD/${TERN:-build/tern}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
failed=0

complain() {
    echo "FAILED: $*"
    failed=$((failed + 1))
}
# has FILE KEY...: each is in the one line of JSON that the file is.
has() {
    local file=$1 key
    [ "$(wc -l <"$file")" -eq 1 ] || complain "$file is not one line"
    shift
    for key in "$@"; do grep -q "\"$key\":" "$file" || complain "no \"$key\" in $(head -c 300 "$file")"; done
}
number() { grep -oE "\"$2\":-?[0-9.e+-]+" "$1" | head -n 1 | cut -d : -f 2; }
holds() { awk "BEGIN { exit !($1) }" || complain "not so: $1"; }
refuses() { # MESSAGE COMMAND...
    local message=$1
    shift
    "$@" >out 2>err && complain "$*: was not refused"
    grep -qE -- "$message" err || complain "$*: $(cat err)"
    [ ! -s out ] || complain "$*: printed on stdout"
}

# A small batch of the smallest preset: a second or two.
small=(--preset 10m --steps 2 --warmup 0 --set train.batch_size=1)
"$tern" bench train "${small[@]}" --json >train 2>err || complain "bench train: $(cat err)"
has train preset model parameters threads isa blas_core blas_warning waited_share backward tokens_per_step \
    step_seconds tokens_per_second roofline_share ideal_step_seconds ideal_seconds peaks products time_by_op optimizer clip refresh memory activations \
    memory_bytes peak_rss_bytes loss
grep -q '"preset":"10m"' train || complain "the preset is not named: $(cat train)"
holds "$(number train roofline_share) > 0 && $(number train roofline_share) <= 1"
ratio="$(number train tokens_per_step) / $(number train step_seconds) / $(number train tokens_per_second)"
holds "$ratio > 0.999 && $ratio < 1.001"
ratio="$(number train ideal_step_seconds) / $(number train step_seconds) / $(number train roofline_share)"
holds "$ratio > 0.999 && $ratio < 1.001"
holds "$(number train peak_rss_bytes) > 100e6"
# log 4096 = 8.3 nats is what random tokens cost
holds "$(number train loss) > 8 && $(number train loss) < 9"

# The rows of time by op are the whole step: two medians, so not to the last digit.
"$tern" bench train "${small[@]}" >table 2>err || complain "bench train: $(cat err)"
for word in 'tokens/s' 'roofline: ' 'instruction set ' 'OpenBLAS ' 'blocks backward' 'of step' 'resident in memory'; do
    grep -q -- "$word" table || complain "no \"$word\" in the table: $(cat table)"
done
sum=$(awk '/of step$/ { on = 1; next } !NF { on = 0 } on { sum += $NF } END { print sum }' table)
holds "$sum > 90 && $sum < 110"

# A model of three steps, read and continued.
for i in $(seq 40); do echo "Once upon a time a cat met $i dogs and they all had tea."; done >text.txt
"$tern" train /dev/stdin --run-dir run >log 2>&1 <<END || complain "train: $(cat log)"
model: {d_model: 128, d_ff: 256, n_layer: 1, context: 64}
data: {train: text.txt, tokenizer: char}
train: {max_steps: 3, batch_size: 2}
END
"$tern" bench infer -m run -p 24 -n 8 -r 3 --json >infer 2>err || complain "bench infer: $(cat err)"
has infer pp24 tg8 rss_bytes load_seconds bandwidth_share int8_share bytes_per_token isa blas_core threads tests
holds "$(number infer pp24) > 0 && $(number infer tg8) > 0 && $(number infer rss_bytes) > 1e6"
# 8 x (4 d^2 + 3 d ffn) bits of trits and less than 100 rows of the table
holds "$(number infer bytes_per_token) > 4 * 128 * 128 / 5 && $(number infer bytes_per_token) < 100000"
"$tern" bench infer -m run -p 8,16 -n 4 -pg 8,4 -np 1,3 -r 1 -o csv >csv 2>err || complain "bench infer: $(cat err)"
[ "$(wc -l <csv)" -eq 9 ] || complain "the grid has not 8 rows: $(cat csv)"
"$tern" bench infer -m run -p 8 -n 4 -d 16 -r 2 -o json >json 2>err || complain "bench infer: $(cat err)"
has json build_commit cpu_info model_filename model_type model_size model_n_params n_batch n_ubatch n_threads n_prompt n_gen \
    n_depth test_time avg_ns stddev_ns avg_ts stddev_ts samples_ns samples_ts
"$tern" bench infer -m run -p 8 -n 4 -r 1 2>err | grep '| pp8 |' >/dev/null || complain "no row pp8: $(cat err)"
"$tern" bench infer -m run -p 8 -n 4 -r 1 --preset mobile --json >preset 2>err || complain "bench infer: $(cat err)"
has preset preset memory_limit_bytes fits kv head
grep -q '"kv":"q8_0"' preset || complain "the preset does not set the type of keys: $(cat preset)"
"$tern" bench infer -m run -p 8 -n 4 -r 1 --levels >levels 2>err || complain "bench infer: $(cat err)"
[ "$(grep -cE '^\| (baseline|optimized|aggressive) ' levels)" -eq 3 ] || complain "not three levels: $(cat levels)"
printf 'Once\n\n{"prompt": "Once"}\n' >prompts
"$tern" bench infer -m run --prompts prompts -n 5 -r 2 --json >answers 2>err || complain "bench infer: $(cat err)"
grep -q '"total_runs":4,"successful_runs":4,"success_rate":1.0,' answers || complain "--prompts: $(cat answers)"
printf '{"x": 1}\n' >prompts
refuses 'prompts: line 1: expected a JSON object with "prompt"' "$tern" bench infer -m run --prompts prompts
refuses 'was trained for texts of 64 tokens, a test takes 65 and two more: give smaller' "$tern" bench infer -m run -p 65 -n 0
refuses 'there is nothing to measure' "$tern" bench infer -m run -p 0 -n 0
refuses '-p.*not a number|-p.*"x"' "$tern" bench infer -m run -p 8,x
refuses 'expected two numbers' "$tern" bench infer -m run -pg 8
refuses '-m is missing' "$tern" bench infer

# The adapter's base may be what was just trained. The plan is what is taken, but for a small model the rest of the
# process is most of it.
for input in raw quantized; do
    "$tern" bench lora -m run --rank 4 --tokens 64 --steps 2 --input $input --json >lora 2>err || complain "bench lora: $(cat err)"
    has lora model rank modules parameters tokens_per_step step_seconds tokens_per_second roofline_share ideal_step_seconds \
        time_by_op lora_up lora_down bitlinear optimizer memory planned_bytes peak_rss_bytes loss backward isa threads
    # r (m + k) of q, k, v, o and gate, up, down
    holds "$(number lora parameters) == 4 * (4 * 2 * 128 + 3 * (128 + 256))"
    holds "$(number lora planned_bytes) > 0.6 * $(number lora peak_rss_bytes) && $(number lora planned_bytes) < 1.2 * $(number lora peak_rss_bytes)"
    holds "$(number lora loss) > 3 && $(number lora roofline_share) > 0 && $(number lora roofline_share) <= 1"
done
"$tern" bench lora -m run --modules q_proj,v_proj --tokens 32 --steps 1 --no-recompute >table 2>err || complain "bench lora: $(cat err)"
for word in 'tokens/s' 'roofline: ' 'of step' 'planned memory' 'resident in memory'; do
    grep -q -- "$word" table || complain "no \"$word\" in the table: $(cat table)"
done
refuses 'there is no module "q_prj"' "$tern" bench lora -m run --modules q_prj
refuses "a step of 65 tokens, the model's context is 64" "$tern" bench lora -m run --tokens 65
refuses '-m is missing' "$tern" bench lora

"$tern" bench train --preset 10m --steps 1 --warmup 0 --json --set train.batch_size=1 --set model.quantization=none \
    --set model.n_layer=1 >float 2>err || complain "the float twin: $(cat err)"
holds "$(number float parameters) < $(number train parameters)"

"$tern" bench kernels --tokens 64 --seconds 0.001 --threads 1 --json >kernels 2>err || complain "bench kernels: $(cat err)"
has kernels isa blas_core threads tokens peaks memory_bytes_per_second products ops_per_second share rows bytes_per_second
"$tern" bench kernels --tokens 64 --seconds 0.001 >table 2>err || complain "bench kernels: $(cat err)"
grep -q '^ternary forward, int8 ' table || complain "no ternary products: $(cat table)"

refuses '"40m" is not one of 10m\|30m\|125m' "$tern" bench train --preset 40m
refuses '--steps: 0 is outside' "$tern" bench train --steps 0
refuses 'model\.d_modl' "$tern" bench train --set model.d_modl=1
refuses 'does not divide' "$tern" bench train --set model.n_head=7 --log-disable
refuses 'unknown flag --rounds' "$tern" bench kernels --rounds 3
refuses 'unknown command "kernel"; did you mean kernels' "$tern" bench kernel

[ "$failed" -eq 0 ]
