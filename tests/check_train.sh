#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# check_train.sh - tern train and tern eval as a user meets them: plan, limits, signals, exit statuses, last lines, and a
# loss that is the same whoever computes it.
set -euo pipefail
cd "$(dirname "$0")/.."
. tests/checks.bash

# value FILE KEY: a number of a JSON object.
value() { grep -oE "\"$2\": ?[-0-9.e]+" "$1" | tail -n 1 | sed 's/.*: *//'; }

"$tern" data stories -n 200 --seed 1 -o "$dir/text.txt" 2>/dev/null
cat >"$dir/run.yaml" <<YAML
model: {d_model: 32, n_layer: 2, n_head: 2, d_ff: 128, context: 32}
data: {train: $dir/text.txt, tokenizer: char}
train: {max_steps: 40, batch_size: 8, learning_rate: 5e-3, eval_steps: 20, save_steps: 0, sample_steps: 40, sample_prompt: One}
YAML

# wrong command lines and configurations
expect 2 'CONFIG is missing' train
expect 2 '--run-dir is missing' train "$dir/run.yaml"
expect 2 'give one of them' train "$dir/run.yaml" --run-dir a --resume b
expect 1 'there is no config.yaml' train --resume "$dir"
expect 1 'unknown key "train.lr": Tern calls it train.learning_rate' train "$dir/run.yaml" --run-dir "$dir/a" --set train.lr=1
[ ! -e "$dir/a" ] || fail "a refused run left its folder behind"

# plans
expect 0 'parameters +[0-9]' train "$dir/run.yaml" --plan
expect 1 'more than the 1.0 MiB of --max-ram' train "$dir/run.yaml" --plan --max-ram 1MiB

# a start that fails leaves nothing behind: neither the folder, nor the parents it made, nor a lock in an empty folder
mkdir "$dir/empty"
for change in data.train=/none model.d_model=30 train.max_steps=0 train.sample_prompt='#~' model.context=1M; do
    expect 1 'tern train' train "$dir/run.yaml" --run-dir "$dir/a/b/new" --set "$change"
    expect 1 'tern train' train "$dir/run.yaml" --run-dir "$dir/empty" --set "$change"
    expect 1 'tern train' train "$dir/run.yaml" --resume "$dir/empty" --set "$change"
done
expect 1 'more than the 1.0 MiB of --max-ram' train "$dir/run.yaml" --run-dir "$dir/a/b/new" --max-ram 1MiB
expect 1 'file name too long' train "$dir/run.yaml" --run-dir "$dir/a/b/$(printf '%0300d' 0)"
expect 1 'where a folder was expected' train "$dir/run.yaml" --run-dir "$dir/text.txt/a"
[ ! -e "$dir/a" ] || fail "a failed start left $(find "$dir/a")"
[ -z "$(ls -A "$dir/empty")" ] || fail "a failed start left $(ls -A "$dir/empty")"
expect 0 'tern run -m' train "$dir/run.yaml" --run-dir "$dir/a" --max-ram 1GiB --set train.max_steps=1
[ "$(grep -c 'data.train: 1 documents' "$dir/err")" -eq 1 ] || fail "--max-ram read the data more than once"
expect 0 '^\{"parameters":' train "$dir/run.yaml" --plan --json
[ "$(wc -l <"$dir/out")" -eq 1 ] || fail "--plan --json printed more than one line"

# a run, its progress, its last lines
expect 0 'tern run -m' train "$dir/run.yaml" --run-dir "$dir/run"
grep -qE '^step 40/40  loss [0-9.]+  val [0-9.]+' "$dir/err" || fail "no plain progress line"
grep -qE 'sample at step 40: One' "$dir/err" || fail "no sample text"
expect 1 'is not empty; go on with its run by --resume' train "$dir/run.yaml" --run-dir "$dir/run"
expect 0 'parameters +[0-9]' train --resume "$dir/run" --plan
expect 0 '"end":"done".*"step":40' train --resume "$dir/run" --json --progress off
[ "$(wc -l <"$dir/out")" -eq 1 ] || fail "--json printed more than one line"
expect 0 '^\{"step":60' train --resume "$dir/run" --set train.max_steps=60 --progress json

# the held-out loss is the same in the trainer and in tern eval
size=$(wc -c <"$dir/text.txt")
tail -c $((size - $(awk -v n="$size" 'BEGIN { printf "%d", n * (1 - 0.1) }'))) "$dir/text.txt" >"$dir/end.txt"
expect 0 '"loss":' eval "$dir/run" "$dir/end.txt" --json
trained=$(value "$dir/run/metrics.jsonl" val_loss) evaluated=$(value "$dir/out" loss)
[ "$trained" = "$evaluated" ] || fail "the trainer found a loss of $trained, tern eval $evaluated"
expect 1 'character' eval "$dir/run" configs/shakespeare-char-cpu.yaml

# a signal while the data are read: the end, at once
yes 'Once upon a time there was a fox.' | head -c 200000000 | gzip -1 >"$dir/slow" || true
"$tern" train "$dir/run.yaml" --run-dir "$dir/early" --set data.train="$dir/slow" >"$dir/out" 2>"$dir/err" &
pid=$!
for _ in $(seq 500); do
    if readlink "/proc/$pid/fd/"* | grep -q "^$dir/slow$"; then break; fi
    sleep 0.02
done
kill -TERM "$pid"
status=0
wait "$pid" || status=$?
[ ! -e "$dir/early" ] || fail "SIGTERM while the data are read: left a run folder behind"
[ "$status" -eq 143 ] || fail "SIGTERM while the data are read: status $status, expected 143"
grep -q 'stopped before the first step; nothing was trained' "$dir/err" || fail "SIGTERM while the data are read: no sentence"

# a signal: finish the step, save, say how to go on; a second process is refused meanwhile
"$tern" train "$dir/run.yaml" --run-dir "$dir/long" --set train.max_steps=1M >"$dir/out" 2>"$dir/err" &
pid=$!
for _ in $(seq 500); do
    if grep -q '^step 10/' "$dir/err"; then break; fi
    sleep 0.02
done
"$tern" train --resume "$dir/long" >/dev/null 2>"$dir/second" && fail "two processes trained in one folder"
grep -q 'another process is training in this folder' "$dir/second" || fail "$(cat "$dir/second")"
kill -TERM "$pid"
status=0
wait "$pid" || status=$?
[ "$status" -eq 143 ] || fail "SIGTERM: status $status, expected 143"
grep -q "go on: tern train --resume $dir/long" "$dir/err" || fail "SIGTERM: does not say how to go on"
[ -e "$dir/long/checkpoints/latest" ] || fail "SIGTERM: nothing was saved"
done_steps=$(sed -E 's/^step-0*([0-9]+).h5$/\1/' "$dir/long/checkpoints/latest")
expect 0 "\"step\":$((done_steps + 3))" train --resume "$dir/long" --set train.max_steps=$((done_steps + 3)) --json --progress off

# a lost terminal, which says so twice, is no different
"$tern" train --resume "$dir/long" --set train.max_steps=1M >"$dir/out" 2>"$dir/err" &
pid=$!
for _ in $(seq 500); do
    if grep -q '^step ' "$dir/err"; then break; fi
    sleep 0.02
done
kill -HUP "$pid"
kill -HUP "$pid" 2>/dev/null || true
status=0
wait "$pid" || status=$?
[ "$status" -eq 129 ] || fail "SIGHUP: status $status, expected 129"
grep -q "go on: tern train --resume $dir/long" "$dir/err" || fail "SIGHUP: does not say how to go on"

# advice that leads on: the limit that ended the run is the one to change
expect 0 "--resume $dir/timed --set train.max_time=TIME   \(now 0.2s" train "$dir/run.yaml" --run-dir "$dir/timed" --set train.max_steps=1M --set train.max_time=0.2s
expect 0 'train.max_time is over' train --resume "$dir/timed" --set train.max_time=0.4s
patient="--set train.max_steps=1M --set train.eval_steps=2 --set train.learning_rate=1e-30"
# shellcheck disable=SC2086
expect 0 "--resume $dir/patient --set train.patience=N   \(now 2;" train "$dir/run.yaml" --run-dir "$dir/patient" $patient --set train.patience=2
expect 0 '"end":"patience","step":10,' train --resume "$dir/patient" --set train.patience=4 --json --progress off

exit $bad
