#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# check_adapters.sh - an adapter as a user meets it: out of a run, into files of other tools and back, beside a model and
# into one; the texts it speaks are the same from every kind of file, and what is wrong is said in one sentence.
set -euo pipefail
cd "$(dirname "$0")/.."
. tests/checks.bash

# refused PATTERN ARGUMENTS...: status 1, one sentence, and nothing written.
refused() {
    local pattern=$1
    shift
    expect 1 "$pattern" "$@" -o "$dir/new"
    [ "$(grep -c "^tern $1: " "$dir/err")" -eq 1 ] || fail "tern $*: not one sentence"
    [ ! -e "$dir/new" ] || fail "tern $*: wrote something"
}
# text ARGUMENTS...: what is most likely to follow.
text() { "$tern" run -p "Once upon" -n 24 --temp 0 --ignore-eos "$@" 2>"$dir/err" || fail "tern run $*"; }

"$tern" data stories -n 200 --seed 1 -o "$dir/text.txt" 2>/dev/null
for seed in 1 2; do
    cat >"$dir/base.yaml" <<YAML
model: {d_model: 128, n_layer: 2, n_head: 2, d_ff: 128, context: 32}
data: {train: $dir/text.txt, tokenizer: char}
train: {max_steps: 60, batch_size: 8, learning_rate: 1e-2, seed: $seed, eval_steps: 0, save_steps: 0}
YAML
    expect 0 'tern run -m' train "$dir/base.yaml" --run-dir "$dir/base$seed"
done
cat >"$dir/lora.yaml" <<YAML
method: lora
model: {base: $dir/base1}
data: {train: $dir/text.txt}
lora: {rank: 4, alpha: 6, target_modules: [q_proj, up_proj, down_proj]}
train: {max_steps: 20, epochs: 0, batch_size: 4, learning_rate: 2e-2, warmup_steps: 1, eval_steps: 0, save_steps: 0}
YAML
expect 0 'tern run -m' finetune "$dir/lora.yaml" --run-dir "$dir/run"
expect 0 'tern run -m' finetune "$dir/lora.yaml" --run-dir "$dir/norms" --set lora.modules_to_save=norms
expect 0 'tern run -m' finetune "$dir/lora.yaml" --run-dir "$dir/within" --set method=lora_merged
expect 0 'proven' export "$dir/base1" --type i2_s -o "$dir/base.gguf"

# a base that is cut short while a run reads it ends that run with a sentence
cp "$dir/base.gguf" "$dir/cut.gguf"
: >"$dir/err"
"$tern" finetune "$dir/lora.yaml" --run-dir "$dir/cut" --set model.base="$dir/cut.gguf" --set train.max_steps=1M \
    --set train.log_steps=1 >"$dir/out" 2>"$dir/err" &
pid=$!
for _ in $(seq 1000); do
    if grep -q '^step ' "$dir/err"; then break; fi
    sleep 0.01
done
truncate -s 1000 "$dir/cut.gguf"
status=0
wait "$pid" || status=$?
[ $status -eq 1 ] || fail "a base cut short under a run: status $status"
grep -q '^tern: a file that is being read was cut short by another program$' "$dir/err" || fail 'a base cut short: not told'

# one adapter, whatever it lies in
expect 0 '6 pairs, .* bytes' export "$dir/run" --type peft -o "$dir/peft"
expect 0 'equal bit for bit' export "$dir/run" --type gguf-lora -o "$dir/a.gguf"
expect 0 'equal bit for bit' export "$dir/a.gguf" --type peft -o "$dir/peft2"
expect 0 '"pairs":6,"equal_numbers":' export "$dir/peft" --type gguf-lora -o "$dir/b.gguf" --base "$dir/base.gguf" --json
diff -r "$dir/peft" "$dir/peft2" || fail "run to peft, and run to GGUF to peft differ"
expect 0 'base_model.model.model.layers.1.mlp.up_proj.lora_A.weight F32 ' inspect "$dir/peft"
expect 0 '"kind":"PEFT folder",.*"tern.base.fingerprint":"[0-9a-f]{32}"' inspect "$dir/peft" --json
expect 0 '"adapter.lora.alpha":6' inspect "$dir/a.gguf" --json
expected=$(text -m "$dir/run")
[ "$expected" != "$(text -m "$dir/base1")" ] || fail "the adapter changes nothing: $expected"
for base in base1 base.gguf; do
    for adapter in run peft peft2 a.gguf b.gguf; do
        found=$(text -m "$dir/$base" --lora "$dir/$adapter")
        [ "$found" = "$expected" ] || fail "$adapter beside $base: $found, expected $expected"
    done
done

# what is no adapter, or not for this model
refused 'norms/.*attn_norm.weight .*was trained in full beside the adapter' export "$dir/norms" --type peft
refused 'whose adapter is inside the quantiser' export "$dir/within" --type peft
refused 'is a checkpoint of a model, it holds no adapter' export "$dir/base1" --type gguf-lora
refused 'general.type is "model", expected "adapter"' export "$dir/base.gguf" --type peft
refused 'a.gguf: is an adapter, which stands beside a model' export "$dir/a.gguf" --type f32
refused 'was trained beside another model' export "$dir/peft" --type gguf-lora --base "$dir/base2"
expect 1 'was trained beside another model' run -m "$dir/base2" --lora "$dir/a.gguf" -p Once
expect 1 'peft: is an adapter, which stands beside a model' run -m "$dir/peft" -p Once
expect 2 '--base: is for peft and gguf-lora' export "$dir/base1" --base "$dir/base2" -o "$dir/new"
expect 2 'adapters are written as f32' export "$dir/run" --type peft --dtype bf16 -o "$dir/new"

# into latents, whole; into ternary weights, only when told
expect 0 '[0-9] % off the change, which the latents hold' merge --lora "$dir/peft" -o "$dir/merged"
expect 0 'proven' export "$dir/merged" --type i2_s -o "$dir/merged.gguf"
[ "$(text -m "$dir/merged")" = "$(text -m "$dir/merged.gguf")" ] || fail "a merged folder and its GGUF differ"
refused 'rounding to ternary weights would lose .* % of the change, more than the 5.0 %' \
    merge -m "$dir/base.gguf" --lora "$dir/a.gguf"
grep -q '^all  *6 matrices .* % of the change is lost' "$dir/out" || fail "what is lost is not told"
expect 0 '"type":"i2_s".*"all":.*"lost":0\.' merge -m "$dir/base.gguf" --lora "$dir/a.gguf:0.5" -o "$dir/forced.gguf" --force --json
refused 'is a base with an adapter beside it' merge -m "$dir/run" --lora "$dir/a.gguf"
refused 'was trained beside another model' merge -m "$dir/base2" --lora "$dir/a.gguf"
refused 'has latents, into which adapters are merged whole' merge -m "$dir/base1" --lora "$dir/a.gguf" --type i2_s
refused 'holds ternary weights, not the latents' merge -m "$dir/base.gguf" --lora "$dir/a.gguf" --type hf --force
expect 1 'is the input' merge -m "$dir/base.gguf" --lora "$dir/a.gguf" -o "$dir/a.gguf"
expect 1 'base.gguf: is the input' export "$dir/peft" --type gguf-lora --base "$dir/base.gguf" -o "$dir/base.gguf"
expect 1 'base1: holds checkpoints, which would be lost' export "$dir/run" --type peft -o "$dir/base1"
expect 2 '--lora is missing' merge -m "$dir/base.gguf" -o "$dir/new"
expect 2 '-o is missing' merge --lora "$dir/a.gguf"
exit $bad
