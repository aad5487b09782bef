#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Bad input is answered with one clear sentence on stderr, exit status 1 (2 for a wrong command line), and nothing half-written.
set -u
cd "$(dirname "$0")/.."
tern=$PWD/build/tern
work=$(mktemp -d)
trap 'umount "$work/full" "$work/ro" 2>/dev/null; rm -rf "$work"' EXIT
failed=0
cases=0

# refuse STATUS PATTERN COMMAND...: the command must end with STATUS, say PATTERN in at most six lines, and write nothing to stdout.
refuse() {
    local want=$1 pattern=$2
    shift 2
    cases=$((cases + 1))
    timeout 60 "$@" >"$work/stdout" 2>"$work/stderr" </dev/null
    local got=$?
    grep -v ' INFO \| DEBUG \| WARN ' "$work/stderr" >"$work/said"
    if [ $got -ne "$want" ] || ! grep -qiE -- "$pattern" "$work/said" || [ "$(wc -l <"$work/said")" -gt 6 ] || [ -s "$work/stdout" ]; then
        echo "FAILED: ${*/$work/.}"
        echo "  status $got, wanted $want; wanted /$pattern/; stdout $(wc -c <"$work/stdout") bytes; stderr:"
        sed 's/^/  | /' "$work/stderr" | head -12
        failed=$((failed + 1))
    fi
}
absent() { # nothing under this name, nor a temporary beside it
    cases=$((cases + 1))
    if compgen -G "$1*" >/dev/null; then
        echo "FAILED: left behind: $(cd "$work" && ls -d "${1#"$work"/}"* | tr '\n' ' ')"
        failed=$((failed + 1))
        rm -rf "${1:?}"*
    fi
}
flip() { # flip one bit of FILE at OFFSET into OUT
    cp "$1" "$3"
    local byte
    byte=$(od -An -tu1 -j"$2" -N1 "$1" | tr -d ' ')
    printf "$(printf '\\x%02x' $((byte ^ 4)))" | dd of="$3" bs=1 seek="$2" conv=notrunc status=none
}

# ---- a good text, store, run and export to spoil ----
for i in $(seq 60); do echo "The cat number $i sat on the mat and looked at the dog, who did not care about cat $((i * 7 % 13))."; done >"$work/text.txt"
cat >"$work/tiny.yaml" <<'Y'
model: {d_model: 128, n_layer: 1, n_head: 2, d_ff: 128, context: 16}
data: {train: TEXT, tokenizer: char}
train: {max_steps: 3, batch_size: 2, eval_steps: 3, save_steps: 3, warmup_steps: 1}
Y
sed -i "s|TEXT|$work/text.txt|" "$work/tiny.yaml"
$tern train "$work/tiny.yaml" --run-dir "$work/run" >"$work/log" 2>&1 || { cat "$work/log"; echo "the good run failed"; exit 1; }
$tern data prepare "$work/text.txt" -o "$work/good.h5" --tokenizer char >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
$tern export "$work/run" --type i2_s -o "$work/good.gguf" >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
ckpt=$(ls "$work"/run/checkpoints/*.h5 | tail -n 1)

# ---- the command line: status 2 ----
refuse 2 'usage|command' $tern
refuse 2 'frobnicate' $tern frobnicate
refuse 2 'did you mean train|train' $tern trian x.yaml
refuse 2 'frob' $tern run --frob
refuse 2 'temp' $tern run -m "$work/good.gguf" --temp hot
refuse 2 '-n|nope|ope' $tern run -m "$work/good.gguf" -nope
refuse 2 'model|-m' $tern run -p hello

# ---- text ----
: >"$work/empty.txt"
head -c 4096 /dev/zero | tr '\0' '\1' >"$work/binary.bin"
printf 'a\0b' >>"$work/binary.bin"
printf 'caf\xe9 au lait, plainly latin-1 and not UTF-8' >"$work/latin1.txt"
printf '{"text":"ok"}\n{"text":\n' >"$work/bad.jsonl"
printf '{"story":"no text here"}\n' >"$work/other.jsonl"
head -c 20 <(gzip -c "$work/text.txt") >"$work/cut.gz"
mkdir "$work/nothing"
for spoilt in missing.txt:'cannot open|no such' empty.txt:'empty' binary.bin:'binary|NUL' latin1.txt:'UTF-8' bad.jsonl:'bad.jsonl:2' \
    other.jsonl:'"text"|text' cut.gz:'gzip|truncated|damaged|cut' nothing:'no files|empty|nothing'; do
    refuse 1 "${spoilt#*:}" $tern data prepare "$work/${spoilt%%:*}" -o "$work/out.h5" --tokenizer char
    absent "$work/out.h5"
done

# ---- configuration ----
spoil() { sed "$1" "$work/tiny.yaml" >"$work/spoilt.yaml"; }
spoil 's/max_steps: 3/max_stepz: 3/'; refuse 1 'spoilt.yaml:3.*max_stepz.*max_steps' $tern train "$work/spoilt.yaml" --run-dir "$work/new"
spoil 's/max_steps: 3/max_steps: -3/'; refuse 1 'max_steps.*-3' $tern train "$work/spoilt.yaml" --run-dir "$work/new"
spoil 's/n_head: 2/n_head: 3/'; refuse 1 'n_head 3.*d_model 128' $tern train "$work/spoilt.yaml" --run-dir "$work/new"
spoil 's/context: 16/context: 16000/'; refuse 1 'context' $tern train "$work/spoilt.yaml" --run-dir "$work/new"
spoil 's/model:/model: [/'; refuse 1 'spoilt.yaml:' $tern train "$work/spoilt.yaml" --run-dir "$work/new"
refuse 1 'learning_rate' $tern train "$work/tiny.yaml" --set train.learning_rate=fast --run-dir "$work/new"
refuse 1 'train.lr|learning_rate' $tern train "$work/tiny.yaml" --set train.lr=1 --run-dir "$work/new"
refuse 1 'cannot open|no such' $tern train "$work/absent.yaml" --run-dir "$work/new"
refuse 1 'vocab' $tern train "$work/tiny.yaml" --set model.vocab_size=7 --run-dir "$work/new"
refuse 1 'cannot open|no such' $tern train "$work/tiny.yaml" --set data.train="$work/missing.txt" --run-dir "$work/new"

# ---- stores, checkpoints, GGUF ----
printf 'Zebra? \xe2\x82\xac' >"$work/unseen.txt"
refuse 1 'not in|unseen|vocabulary|character' $tern eval "$work/run" "$work/unseen.txt"
refuse 1 'cannot open|no such|not found' $tern eval "$work/none" "$work/text.txt"
$tern data prepare "$work/text.txt" -o "$work/bpe.h5" --tokenizer bpe --vocab-size 300 >"$work/log" 2>&1
refuse 1 'tokenizer|vocabulary' $tern eval "$work/run" "$work/bpe.h5"
for file in "$work/good.h5" "$ckpt" "$work/good.gguf"; do
    size=$(stat -c %s "$file")
    ext=${file##*.}
    case $file in
    "$work/good.h5") use() { refuse 1 "$1" $tern eval "$work/run" "$2"; } ;;
    *.gguf) use() { refuse 1 "$1" $tern run -m "$2" -p The -n 4; } ;;
    *) use() { refuse 1 "$1" $tern eval "$2" "$work/text.txt"; } ;;
    esac
    for part in 3 40 $((size / 2)) $((size - 1)); do
        head -c "$part" "$file" >"$work/cut.$ext"
        use 'damaged|truncated|cut|not a|short|end|expected|corrupt' "$work/cut.$ext"
    done
    for k in 1 2 3 4 5 6 7; do
        flip "$file" $((size * k / 8)) "$work/flipped.$ext"
        use 'damaged|checksum|not a|corrupt|expected' "$work/flipped.$ext"
    done
done
sed 's/bitnet-b1.58/mambar-b1.58/g; s/tern\./nern./g' "$work/good.gguf" >"$work/other.gguf"
refuse 1 'architecture' $tern run -m "$work/other.gguf" -p The -n 4
cp "$work/text.txt" "$work/text.gguf"; refuse 1 'not a|GGUF|format' $tern run -m "$work/text.gguf" -p The -n 4

# ---- places that cannot be written ----
refuse 1 'run' $tern train "$work/tiny.yaml" --run-dir "$work/run"
refuse 1 'cannot|no such' $tern export "$work/run" --type i2_s -o "$work/no/such/folder/x.gguf"
refuse 1 'folder' $tern export "$work/run" --type i2_s -o "$work/nothing"
refuse 1 '%|multiple|256' $tern export "$work/run" --type tq2_0 -o "$work/tq.gguf"
absent "$work/tq.gguf"
mkdir "$work/full" "$work/ro"
if mount -t tmpfs -o size=16k tmpfs "$work/full" 2>/dev/null && mount -t tmpfs -o ro tmpfs "$work/ro" 2>/dev/null; then
    refuse 1 'no space' $tern export "$work/run" --type i2_s -o "$work/full/x.gguf"
    refuse 1 'no space' $tern data prepare "$work/text.txt" -o "$work/full/x.h5" --tokenizer char
    refuse 1 'no space' $tern data stories -n 1000 -o "$work/full/x.txt"
    refuse 1 'no space' $tern train "$work/tiny.yaml" --run-dir "$work/full/run"
    rm -rf "$work/full/run"
    absent "$work/full/x"
    refuse 1 'read-only' $tern export "$work/run" --type i2_s -o "$work/ro/x.gguf"
    refuse 1 'read-only' $tern train "$work/tiny.yaml" --run-dir "$work/ro/run"
else
    echo "note: full disk and read-only folder need the right to mount; left out"
fi

# ---- a second process in the same run folder ----
$tern train "$work/tiny.yaml" --set train.max_steps=100000 --set train.eval_steps=100000 --run-dir "$work/busy" >"$work/log" 2>&1 &
first=$!
for _ in $(seq 50); do [ -s "$work/busy/metrics.jsonl" ] && break; sleep 0.1; done
refuse 1 'another process' $tern train --resume "$work/busy"
kill -9 $first
wait $first 2>/dev/null

echo "$cases cases, $failed failed"
[ $failed -eq 0 ]
