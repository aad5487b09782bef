#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# check_resume.sh - a run that is killed (SIGKILL) at 20 random moments and resumed each time ends with the bits of a run
# that was left alone: checkpoints byte for byte, and every row of the metrics but for times.
# The moments depend on SEED (printed; SEED=n repeats them as far as the scheduler does).
set -euo pipefail
cd "$(dirname "$0")/.."
tern=${TERN:-build/tern}
seed=${SEED:-$(($(date +%s) % 100000))}
kills=20
echo "seed $seed"

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cat >"$dir/run.yaml" <<YAML
model: {d_model: 32, n_layer: 2, n_head: 2, d_ff: 128, context: 32, dropout: 0.1}
data: {train: $dir/text.txt, tokenizer: char}
train: {max_steps: 600, batch_size: 8, learning_rate: 5e-3, eval_steps: 50, eval_batches: 10, save_steps: 20, log_steps: 5,
        quant_warmup_tokens: 40k, save_total_limit: 2}
YAML
"$tern" data stories -n 300 --seed 1 -o "$dir/text.txt" 2>"$dir/log" || { cat "$dir/log"; exit 1; }

# One thread: on a busy machine two wait for each other, and any number gives the same bits (test_trainer.c).
train() { "$tern" train "$dir/run.yaml" "$@" --threads 1 --progress off >>"$dir/log" 2>&1; }
RANDOM=$((seed % 32768))
rows_of() { if [ -e "$1/metrics.jsonl" ]; then wc -l <"$1/metrics.jsonl"; else echo 0; fi; }

train --run-dir "$dir/straight" || { cat "$dir/log"; exit 1; }
rows=$(rows_of "$dir/straight")
[ "$rows" -eq 120 ] || { echo "$rows rows of metrics, expected 120"; exit 1; }

# The first five lives end while the run is being set up or soon after; the others once the metrics have grown to a
# random length, so that the kills spread over the run however fast the machine is. Then a few milliseconds more.
killed=0
mkdir "$dir/killed"
for life in $(seq 1 "$kills"); do
    "$tern" train "$dir/run.yaml" --resume "$dir/killed" --threads 1 --progress off >>"$dir/log" 2>&1 &
    pid=$!
    target=0
    [ "$life" -le 5 ] || target=$((life * rows / (kills + 2) - 5 + RANDOM % 10))
    while [ "$(rows_of "$dir/killed")" -lt "$target" ] && kill -0 "$pid" 2>/dev/null; do sleep 0.01; done
    sleep "0.$(printf '%03d' $((RANDOM % 150)))"
    if kill -KILL "$pid" 2>/dev/null; then killed=$((killed + 1)); fi
    wait "$pid" 2>/dev/null || true
done
train --resume "$dir/killed" || { tail -n 20 "$dir/log"; exit 1; }

bad=0
fail() {
    echo "$1"
    bad=1
}
# same NAME FILTER: this file of both runs, through the filter.
same() {
    cmp <("$2" "$dir/straight/$1") <("$2" "$dir/killed/$1") || fail "$1 differs"
}
without_times() { sed -E 's/, "(time|step_seconds|tokens_per_second|rss_bytes)": [^,}]*//g' "$1"; }
untimed_columns() {
    awk -F, 'NR == 1 { for (i = 1; i <= NF; i++) keep[i] = $i !~ /^(time|step_seconds|tokens_per_second|rss_bytes)$/ }
             { line = ""; for (i = 1; i <= NF; i++) if (keep[i]) line = line $i ","; print line }' "$1"
}

diff <(ls "$dir/straight/checkpoints") <(ls "$dir/killed/checkpoints") || fail "other files in checkpoints/"
for file in "$dir"/straight/checkpoints/*; do same "checkpoints/${file##*/}" cat; done
same config.yaml cat
same metrics.jsonl without_times
same metrics.csv untimed_columns
[ "$bad" -eq 0 ] || exit 1
echo "killed $killed times, $rows rows: same bits"
# Most moments must have hit a living process, or nothing was shown.
[ "$killed" -ge $((kills / 2)) ] || { echo "only $killed of $kills kills hit a running process"; exit 1; }
