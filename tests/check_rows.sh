#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# check_rows.sh - rows as people have them, and as they should not be, of every kind, through tern data inspect, tern
# data prepare and tern finetune: each is taken, or is one sentence with file, line and field; left out, it is counted.
set -euo pipefail
exec </dev/null
cd "$(dirname "$0")/.."
tern=$(realpath "${TERN:-build/tern}")
dir=$(mktemp -d "${TMPDIR:-/tmp}/tern-check-XXXXXX")
trap 'rm -rf "$dir"' EXIT
cd "$dir"

fail() {
    echo "$1"
    exit 1
}

# ---- a model of nothing, with the tokens of chatml ----

"$tern" data stories --questions -n 40 -o q.jsonl 2>err
"$tern" data prepare q.jsonl -o q.h5 --tokenizer bpe --vocab-size 400 --special '<|im_start|>' --special '<|im_end|>' \
    --set data.chat_template=chatml >out 2>err || fail "$(cat err)"
cat >base.yaml <<'END'
model: {d_model: 32, n_layer: 1, n_head: 2, d_ff: 64, context: 256}
data: {train: q.h5}
train: {max_steps: 1, batch_size: 1, eval_steps: 1}
END
"$tern" train base.yaml --run-dir base >out 2>err || fail "$(cat err)"
cat >tune.yaml <<'END'
method: norms
model: {base: base}
data: {validation_fraction: 0}
train: {max_steps: 1, batch_size: 1, warmup_steps: 0}
END

# with NAME COMMAND FILE SETTINGS...: one of the three commands on a file; its status in `status`, one line in err.
with() {
    local command=$1 file=$2 sets=() set
    shift 2
    for set in "$@"; do sets+=(--set "$set"); done
    status=0
    case $command in
    inspect) "$tern" data inspect "$file" -m base -n 0 "${sets[@]}" --json --log-disable >out 2>err || status=$? ;;
    prepare) "$tern" data prepare "$file" -o x.h5 --tokenizer base --json "${sets[@]}" --log-disable >out 2>err || status=$? ;;
    finetune) "$tern" finetune tune.yaml --plan --set "data.train=$file" "${sets[@]}" >out 2>err || status=$? ;;
    esac
}

cases=0
# refused FILE SENTENCE SETTINGS...: by all three, with one line that says so.
refused() {
    local file=$1 sentence=$2 command
    shift 2
    for command in inspect prepare finetune; do
        with $command "$file" "$@"
        [ $status -eq 1 ] || fail "$command $(head -c 300 "$file"): status $status, expected 1: $(cat err)"
        [ "$(grep -c '^tern ' err)" -eq 1 ] || fail "$command $file: more than a sentence: $(cat err)"
        grep '^tern ' err | grep -qF -- "$sentence" || fail "$command: no \"$sentence\" in: $(cat err)"
    done
    cases=$((cases + 1))
}

taken() {
    local file=$1 command
    shift
    for command in inspect prepare; do
        with $command "$file" "$@"
        [ $status -eq 0 ] || fail "$command $(head -c 300 "$file"): status $status: $(cat err)"
    done
    cases=$((cases + 1))
}

# ---- malformed rows: ROW => SENTENCE ----

cat >table <<'END'
{"text": "a" => column 12: the row ends within its JSON, expected one object a line
{"text": "a"} {"text": "b"} => column 15: more follows the row, expected one object a line
{'text': 'a'} => column 2: string or '}' expected near '''
text,label => column 4: invalid token near 'text'
"text" => row is a string, expected a JSON object
{"text": "a", "text": "b"} => column 20: duplicate object key near '"text"'
{"text": "\ud800"} => column 17: invalid Unicode '\uD800'
{"text": "a\u0000"} => column 18: has the character \u0000, which no text may have
{"text": "a", "score": NaN} => column 26: a number is NaN or infinite, which JSON does not have
{"text": "a", "score": -Infinity} => column 24: a number is NaN or infinite, which JSON does not have
{"text": "a", "score": 1e999} => column 28: real number overflow near '1e999'
{"text": null} => "text" is null, expected a string
{"text": 3} => "text" is the number 3, expected a string
{"question": "a", "answer": "b"} => row has keys "question", "answer", expected "input_ids"
{"prompt": "a"} => row has a "prompt" alone, which is for generation; expected a "completion" to learn
{"text": "a", "messages": []} => row has both "messages" and "text", expected one kind of data (data.kind chat or text settles it)
{"input_ids": [1, NaN]} => column 21: a number is NaN or infinite
{"input_ids": [1, 2.5]} => "input_ids[1]" is the number 2.5, expected a whole number
{"input_ids": [[1, 2]]} => "input_ids[0]" is a list, expected a whole number
{"input_ids": "1 2"} => "input_ids" is a string, expected a list of whole numbers
{"input_ids": []} => "input_ids" has no tokens that are not masked
{"input_ids": [1, -1]} => "input_ids[1]" is -1, expected a token id
{"input_ids": [1, 4000]} => has the token 4000, but the vocabulary has 400
{"input_ids": [1, 2], "labels": [1]} => "labels" has 1 numbers, expected 2, one for each of "input_ids"
{"input_ids": [1, 2], "labels": [2, 3]} => "labels[0]" is 2, expected the token 1 or -100
{"input_ids": [1, 2], "attention_mask": [1, 1, 1]} => "attention_mask" has 3 numbers, expected 2
{"prompt": "a", "chosen": "b", "rejected": "b"} => "chosen" and "rejected" are the same, expected two answers
{"prompt": "a", "chosen": "b", "rejected": []} => "rejected" is a list, expected a string like "chosen"
{"prompt": 3, "chosen": "b", "rejected": "c"} => "prompt" is the number 3, expected a string or a list of messages
{"question": "a", "chosen": "b", "rejected": "c"} => "chosen" and "rejected" begin with nothing in common, expected a "prompt"
{"prompt": "a", "completion": "b", "label": "yes"} => "label" is a string, expected true or false
{"prompt": null, "completion": "b"} => "prompt" is null, expected a string or a list of messages
{"prompt": "a", "completion": [{"role": "assistant"}]} => "completion[0].content" is missing, expected a string or a list of text parts
{"messages": "hello"} => "messages" is a string, expected a list of messages
{"messages": []} => "messages" is an empty list, expected messages
{"messages": ["hello"]} => "messages[0]" is a string, expected an object
{"messages": [{"role": "User", "content": "a"}]} => "messages[0].role" is "User", expected system, user, assistant or tool
{"messages": [{"from": "human", "value": "a"}]} => "messages[0].role" is missing beside "from"
{"messages": [{"role": "assistant", "content": null}]} => "messages[0].content" is null, expected a string
{"messages": [{"role": "user", "content": [{"type": "image_url"}]}]} => "messages[0].content[0].type" is "image_url", expected "text"
{"messages": [{"role": "user", "content": "a", "weight": 0.5}]} => "messages[0].weight" is the number 0.5, expected 0 or 1
{"messages": [{"role": "user", "content": "a"}], "tools": [{"name": "f"}]} => chat template of the model: has no place for tools
{"messages": [{"role": "assistant", "content": "", "tool_calls": [{"id": "1"}]}]} => chat template of the model: has no place for the tool_calls of messages[0]
{"conversations": [{"from": "human", "value": "a"}, {"from": "bing", "value": "b"}]} => "conversations[1].from" is "bing"
{"conversations": [{"role": "user", "content": "a"}]} => "conversations[0].from" is missing beside "role"
{"instruction": "a", "output": {"x": 1}} => "output" is an object, expected a string
{"instruction": ["a"], "output": "b"} => "instruction" is a list, expected a string
{"instruction": "a", "input": 3, "output": "b"} => "input" is the number 3, expected a string
{"input": "a", "output": 2} => "output" is the number 2, expected a string
END
good='{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}'
rows=0
while read -r entry; do
    row=${entry%% => *} sentence=${entry#* => }
    printf '\n%s\n%s\n' "$row" "$good" >a.jsonl
    refused a.jsonl "a.jsonl:2: $sentence"
    rows=$((rows + 1))
done <table
printf '{"text": "a\xff"}\n' >a.jsonl
refused a.jsonl 'a.jsonl:1: the row: byte 11 (0xff) is not valid UTF-8'
printf '{"text": "a"}\n%s\n' "$good" >a.jsonl
refused a.jsonl 'a.jsonl:2: row is of kind chat, but those before it are of kind text (data.kind mixed allows both)'
printf '[%s,\n{"messages": 3}]\n' "$good" >a.json
refused a.json 'a.json:2: "messages" is the number 3, expected a list of messages'

# ---- left out, and counted ----

{
    echo "$good"
    sed 's/ => .*//' table
    echo '{"messages": [{"role": "user", "content": "nobody answers"}]}'
    echo "$good"
} >bad.jsonl
skip=(data.on_bad_row=skip data.kind=mixed)
for command in inspect prepare; do
    with $command bad.jsonl "${skip[@]}"
    [ $status -eq 0 ] || fail "$command: $(cat err)"
    grep -qF "\"kept\":2,\"cut\":0,\"dropped\":{\"bad\":$rows,\"empty\":0,\"long\":0,\"duplicate\":0,\"no_target\":1}" out ||
        fail "$command counts otherwise than $rows: $(cat out)"
done
with finetune bad.jsonl "${skip[@]}"
used="of $((rows + 3)) rows 2 are used"
reasons="left out: $rows bad rows, 1 nothing to learn from"
grep -qF "bad.jsonl:2: column 12: the row ends within its JSON, expected one object a line; left out" err || fail "$(cat err)"
grep -qF "data.train: $used" err && grep -qF "$reasons" err || fail "the plan does not say what is left out: $(cat err)"
"$tern" finetune tune.yaml --run-dir run --json --set data.train=bad.jsonl --set data.on_bad_row=skip \
    --set data.kind=mixed >out 2>err || fail "$(cat err)"
[ "$(grep -c "$used.*$reasons" err)" -eq 2 ] || fail "begin and end do not say what is left out: $(cat err)"
grep -qF "\"rows\":{\"read\":$((rows + 3)),\"kept\":2,\"dropped\":{\"bad\":$rows," out || fail "$(cat out)"

# ---- a store, whose rows were made before ----

with finetune q.h5 data.max_samples=10 data.dedup=true data.chat_template=llama3 data.loss_on=all data.train_on_eos=all \
    data.eot_tokens='[a]'
[ $status -eq 0 ] || fail "$(cat err)"
for key in max_samples dedup chat_template loss_on train_on_eos eot_tokens; do
    grep -qF "data.$key is not used: q.h5 is a token store" err || fail "data.$key is ignored in silence: $(cat err)"
done

# ---- rows that are taken ----

cat >taken <<'END'
{"instruction": "a", "input": "", "output": "b"}
{"instruction": "a", "input": null, "output": "b", "category": 3}
{"input": "a", "output": "b"}
{"system": "s", "conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}, {"from": "tool", "value": "c"}, {"from": "gpt", "value": "d"}]}
{"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}, {"role": "assistant", "content": "c"}]}
{"prompt": "a", "completion": " b"}
{"prompt": [{"role": "user", "content": "a"}], "completion": [{"role": "assistant", "content": "b"}]}
{"prompt": "a", "chosen": " b", "rejected": " c"}
{"chosen": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}], "rejected": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "c"}]}
{"prompt": "a", "completion": "b", "label": true}
{"text": "\u00e9\ud83d\ude00 \\ \n"}
END
while read -r row; do
    printf '%s\r\n\n \n%s\r\n' "$row" "$row" >a.jsonl
    taken a.jsonl
    printf '\xef\xbb\xbf[\n%s ,\n%s\n]\n' "$row" "$row" | gzip >a.json.gz
    taken a.json.gz
done <taken
printf '{"question": "a", "answer": "b"}\n' >a.jsonl
taken a.jsonl data.fields='[input=question, output=answer]'
printf '{"input_ids": [5, 6, %d], "labels": [-100, 6, %d], "attention_mask": [1, 1, 1]}\n' 0 0 >a.jsonl
with prepare a.jsonl
[ $status -eq 0 ] || fail "$(cat err)"

# ---- templates ----

# template TEXT SENTENCE: the rows of two turns, with that template.
printf '%s\n' '{"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "a"}, {"role": "assistant",
 "content": "b"}, {"role": "user", "content": "c"}, {"role": "assistant", "content": "d"}]}' | tr -d '\n' >talk.jsonl
template() {
    printf '%s' "$1" >t.jinja
    refused talk.jsonl "$2" data.chat_template=t.jinja
}
template "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}" \
    'talk.jsonl:1: System role not supported'
template '' 'talk.jsonl:1: the chat template knows no add_generation_prompt'
template '{% for m in messages %}{{ m.words }}' 't.jinja: line 1, column'
template '{% for m in messages %}{{ m.content + 3 }}{% endfor %}' 'talk.jsonl:1: t.jinja: line 1, column'
template '{% for m in messages %}{% if loop.last %}{{ m.content }}{% endif %}{% endfor %}' \
    'talk.jsonl:1: the chat template writes the messages up to messages[2] otherwise when more follow'
template '{% for m in messages %}{{ m.role + m.content | upper }}{% endfor %}' \
    'talk.jsonl:1: the chat template knows no add_generation_prompt and does not write messages[2] as it stands'
template '{% generation %}{{ messages[2].content }}{% endgeneration %}' \
    'talk.jsonl:1: the chat template has 1 generation blocks for 2 messages of the assistant'

# ---- what inspect fails on ----

dead() {
    local sentence=$1
    shift
    with inspect talk.jsonl "$@"
    [ $status -eq 1 ] && grep -qF "$sentence" err || fail "inspect $*: status $status, no \"$sentence\" in: $(cat err)"
}
dead 'no token that ends a turn is learnt' data.train_on_eos=none
dead 'everything is masked' data.max_length=20
dead 'data.eot_tokens has "<end>", which is no token of the tokenizer' data.eot_tokens='[<end>]'
"$tern" data inspect talk.jsonl -m base -n 1 --json --set data.loss_on=all >out 2>err || fail "$(cat err)"
grep -qF '"learnt":[0,1,1,1' out && ! grep -qE '"learnt":\[0[^]]*,0' out || fail "not all is learnt: $(cat out)"
echo "$cases files, $rows kinds of bad rows"
