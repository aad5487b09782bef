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
