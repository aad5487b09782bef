#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# check_cli.sh - the manners of the command line: where things are printed, exit statuses, flags, environment.
set -u
cd "$(dirname "$0")/.." || exit 1
tern=$PWD/${TERN:-build/tern}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
failed=0

# expect STATUS STDOUT-PATTERN STDERR-PATTERN COMMAND...: an empty pattern means that nothing may be printed there.
expect() {
    local want=$1 out=$2 err=$3 got
    shift 3
    "$@" >out 2>err </dev/null
    got=$?
    [ "$got" -eq "$want" ] && matches "$out" out && matches "$err" err && return
    failed=$((failed + 1))
    echo "FAILED: $* -> status $got, expected $want"
    sed 's/^/  stdout: /' out | head -5
    sed 's/^/  stderr: /' err | head -5
}
matches() { if [ -n "$1" ]; then grep -qE -- "$1" "$2"; else [ ! -s "$2" ]; fi; }
same() { cmp "$1" "$2" || failed=$((failed + 1)); }

# ---- help, version, names ----
expect 0 'Usage: tern COMMAND' '' "$tern" --help
expect 0 '^tern [0-9]+\.[0-9]+\.[0-9]+ ' '' "$tern" --version
expect 0 '^HDF5 +1\.' '' "$tern" --version
expect 0 '^OpenBLAS +[A-Za-z0-9]+, ' '' "$tern" --version
isas=$(TN_ISA=sse9 "$tern" --version 2>&1 | sed -n 's/.*expected one of //; T; s/, /|/g; p')
expect 0 "^instruction set +($isas)\$" '' "$tern" --version
expect 0 '^instruction set +generic$' '' env TN_ISA=generic "$tern" --version
expect 1 '' 'TN_ISA|instruction set|sse9' env TN_ISA=sse9 "$tern" --version
expect 2 '' 'which command' "$tern"
expect 2 '' 'unknown command "tokeniser"; did you mean tokenizer\?' "$tern" tokeniser
expect 2 '' 'Tern calls it tern export' "$tern" quantize
for command in $("$tern" --help | sed -nE 's/^  ([a-z]+) .*/\1/p'); do
    expect 0 "Usage: tern $command" '' "$tern" "$command" --help
done

# ---- flags ----
expect 0 '^Once|^[A-Z]' '' "$tern" data stories -n1
expect 0 . '' "$tern" data stories -n 1
expect 0 . '' "$tern" data stories --count=1
expect 0 . '' "$tern" data stories -count 1
expect 2 '' 'unknown flag --coun;? ?.*did you mean --count' "$tern" data stories --coun 1
expect 2 '' 'unknown flag -nope' "$tern" data stories -nope
expect 2 '' '-n: "1x" is not a whole number' "$tern" data stories -n 1x
expect 2 '' '-n: 0 is outside 1\.\.' "$tern" data stories -n 0
expect 2 '' '--count: needs a value' "$tern" data stories --count
expect 2 '' '--json: takes no value' "$tern" data stories --json=1
expect 2 '' 'too many arguments' "$tern" data stories -n 1 -- -x
expect 2 '' 'something is missing' "$tern" data prepare -o x.h5
expect 2 '' '-o is missing' "$tern" data prepare x.txt
expect 2 '' '^tern data prepare: -o: is empty, expected FILE' "$tern" data prepare x.txt -o ''
expect 2 '' '--log-file: is empty' "$tern" data stories --log-file ''
expect 2 '' '-m: is empty' "$tern" run -m '' -p x
expect 2 '' '-r: is empty' "$tern" run -m x -r ''
expect 2 '' '--run-dir: is empty' "$tern" train x.yaml --run-dir ''
expect 2 '' 'TERN_MODEL: is empty' env TERN_MODEL= "$tern" run
expect 2 '' 'argument 2 is empty' "$tern" data prepare x.txt '' -o x.h5
expect 2 '' '--split: "gpt3" is not one of' "$tern" data prepare x.txt -o x.h5 --split gpt3

# ---- environment < flag ----
TERN_COUNT=3 "$tern" data stories | grep -c . >n
echo 3 | same - n
TERN_COUNT=3 "$tern" data stories -n 2 | grep -c . >n
echo 2 | same - n
expect 2 '' 'TERN_COUNT: "many" is not' env TERN_COUNT=many "$tern" data stories
expect 0 '"stories":' '' env TERN_JSON=on TERN_CHECK=<(echo "Once upon a time.") "$tern" data stories

# ---- logs and broken outputs ----
expect 0 '' 'Z INFO data: ' "$tern" data stories -n 2 -o s.txt
expect 0 '' '' "$tern" data stories -n 2 -o s.txt --log-disable
expect 0 '' '' "$tern" data stories -n 2 -o s.txt -lv 1
expect 0 '' 'INFO' "$tern" data stories -n 2 -o s.txt --log-file log
grep -qE '^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}Z INFO data: ' log || { echo "FAILED: log file: $(cat log)"; failed=$((failed + 1)); }
expect 0 '' '^\{"time":"[0-9TZ:-]+","level":"INFO","room":"data","text":".*"\}$' \
    "$tern" data stories -n 2 -o s.txt --log-jsonl
expect 1 '' 'standard output: cannot write: no space left' bash -c "'$tern' data stories -n 9 >/dev/full"
"$tern" data stories -n 100000 2>err | head -n 1 >/dev/null
status=${PIPESTATUS[0]}
if [ "$status" -ne 141 ] || [ -s err ]; then
    echo "FAILED: closed pipe: status $status, $(cat err)"
    failed=$((failed + 1))
fi
# what a message quotes cannot add lines or move the cursor
expect 1 '' '^tern data prepare: no\?such\?\[31m\?: there is no such file' "$tern" data prepare $'no\nsuch\e[31m\xff' -o x.h5
expect 2 '' 'unknown command "x\?y"' "$tern" data $'x\ny'
expect 1 '' 'no/such/s.txt: cannot write: no such file' "$tern" data stories -o no/such/s.txt

# ---- stories, tokens and back ----
"$tern" data stories -n 300 -s 7 --log-disable -o a.txt
"$tern" data stories -n 300 -s 7 >b.txt
same a.txt b.txt
expect 0 'consistent 300 \(100\.0 %\)' '' "$tern" data stories --check a.txt
printf 'Once upon a t\377me.\n' >bad.txt
expect 1 '' 'bad\.txt: byte 13 \(0xff\) is not valid UTF-8' "$tern" data stories --check bad.txt
expect 2 '' '--check judges' "$tern" data stories --check a.txt -n 10
"$tern" data stories -n 300 -s 7 --log-disable -o a.jsonl
[ "$(wc -l <a.jsonl)" -eq 300 ] || { echo "FAILED: a.jsonl has $(wc -l <a.jsonl) rows"; failed=$((failed + 1)); }
expect 0 '300 documents in 1 file, vocabulary 400' '' "$tern" data prepare a.jsonl -o a.h5 --vocab-size 400
expect 0 '^\{"path":"c.h5","files":1,"documents":1,"bytes":[0-9]+,"tokens":[0-9]+,' '' \
    "$tern" data prepare a.txt -o c.h5 --tokenizer char --json
expect 0 $'^\{"path":"c\xef\xbf\xbd.json",' '' "$tern" tokenizer train a.txt -o $'c\xff.json' --vocab-size 300 --json
expect 0 'vocabulary 400, hash [0-9a-f]{16}$' '' "$tern" tokenizer train a.jsonl -o t.json --vocab-size 400
for source in t.json a.h5 c.h5; do
    "$tern" tokenizer encode $source -f a.txt >ids.txt
    "$tern" tokenizer decode $source -f ids.txt >back.txt
    same a.txt back.txt
done
# an output that is an input, by its own name, another one, or in a folder
mkdir folder
cp a.txt folder/a.txt
cp a.txt kept.txt
ln -s a.txt link.txt
ln a.txt hard.txt
for out in a.txt ./a.txt link.txt hard.txt; do
    expect 1 '' "^tern data prepare: $out: is the input a.txt; writing" "$tern" data prepare a.txt -o $out --tokenizer char
    expect 1 '' "^tern tokenizer train: $out: is the input a.txt; writing" "$tern" tokenizer train t.json a.txt -o $out
done
expect 1 '' '^tern data prepare: folder/a.txt: is folder/a.txt, which is read as part of the input folder;' \
    "$tern" data prepare folder -o folder/a.txt
expect 1 '' 't.json: is the input t.json' "$tern" data prepare a.txt --tokenizer t.json -o t.json
same a.txt kept.txt
same folder/a.txt kept.txt
"$tern" tokenizer encode t.json <a.txt >one.txt
"$tern" tokenizer encode a.h5 <a.txt >two.txt
same one.txt two.txt
expect 0 '^\{"count":[0-9]+,"ids":\[[0-9,]+\]\}$' '' "$tern" tokenizer encode t.json -p "Once upon" --json
expect 1 '' 'token id: "x" is not a whole number' "$tern" tokenizer decode t.json -p "1 x"
expect 1 '' '9999' "$tern" tokenizer decode t.json -p "9999"
expect 1 '' 'a\.jsonl' "$tern" tokenizer encode a.jsonl -p x

[ "$failed" -eq 0 ] || exit 1
