#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# check_chat.sh - tern chat over a pipe and on a terminal: answers, commands, bad input, Ctrl-C.
set -euo pipefail
exec </dev/null # whoever has a terminal shall not be asked
cd "$(dirname "$0")/.."
tern=$(realpath "${TERN:-build/tern}")
dir=$(mktemp -d "${TMPDIR:-/tmp}/tern-check-XXXXXX")
trap 'rm -rf "$dir"' EXIT

fail() {
    echo "$1"
    exit 1
}

# talk STATUS INPUT FLAGS...: a chat over a pipe; answers in out, the rest in err.
talk() {
    local expected=$1 input=$2 found=0
    shift 2
    printf "$input" | "$tern" chat -m "$dir/run" --chat-template "$dir/t.jinja" "$@" >"$dir/out" 2>"$dir/err" || found=$?
    [ "$found" -eq "$expected" ] || fail "chat $*: status $found, expected $expected: $(cat "$dir/err")"
}
said() { grep -qF -- "$1" "$dir/err" || fail "no \"$1\" in: $(cat "$dir/err")"; }

for i in $(seq 300); do echo "Once upon a time a cat met $i dogs, and [they] all had tea."; done >"$dir/text.txt"
cat >"$dir/c.yaml" <<END
model: {d_model: 128, d_ff: 256, n_layer: 1, context: 192}
data: {train: $dir/text.txt, tokenizer: bpe, vocab_size: 300}
train: {max_steps: 3, batch_size: 2}
END
"$tern" train "$dir/c.yaml" --run-dir "$dir/run" >"$dir/train.log" 2>&1 || fail "$(cat "$dir/train.log")"
cat >"$dir/t.jinja" <<'END'
{%- for m in messages %}{{ '[' + m.role + ']' + m.content + eos_token }}{% endfor %}
{%- if add_generation_prompt %}[assistant]{% endif %}
END

# ---- over a pipe ----

talk 0 'Once\na cat\n' -n 9 --temp 0 --ignore-eos
first=$(head -n 1 "$dir/out")
[ "$(wc -l <"$dir/out")" -ge 2 ] || fail "two lines are two answers, not: $(cat "$dir/out")"
alone=$("$tern" run -m "$dir/run" -p '[user]Once<|endoftext|>[assistant]' -n 9 --temp 0 --ignore-eos --no-display-prompt 2>"$dir/err")
[ "$first" = "${alone%%$'\n'*}" ] || fail "chat says \"$first\", run of the same text \"$alone\""
said 'tokens/s' 2>/dev/null || true
grep -q $'\033' "$dir/out" && fail "colours in a pipe"

talk 0 'Once\n' -n 5 -s 7
cp "$dir/out" "$dir/a"
printf 'Once\n' | "$tern" run -cnv -m "$dir/run" --chat-template "$dir/t.jinja" -n 5 -s 7 >"$dir/out" 2>"$dir/err"
cmp -s "$dir/a" "$dir/out" || fail "tern run -cnv is not tern chat"

# what a user of bitnet.cpp types
printf 'Once\n' | "$tern" run -m "$dir/run" -p "You are a helpful assistant" -cnv -n 12 -t 1 -c 100 -temp 0.8 -b 1 -ngl 0 \
    >"$dir/out" 2>"$dir/err" || fail "$(cat "$dir/err")"
said '-p is the system message'
talk 0 '/system\n' -p 'You are kind'
said 'You are kind'
talk 0 'never\n' -st -p 'Once' -n 3 --ignore-eos
[ -s "$dir/out" ] || fail "-st -p has no answer"
talk 0 '/system\n' -sys 'a\tb' -p Once -n 2
said $'a\tb'

talk 0 'Once \\\nupon\n/save '"$dir"'/s.json\n' -n 4 -s 1
grep -qF '"content":"Once \nupon"' "$dir/s.json" || fail "a line that goes on: $(cat "$dir/s.json")"
talk 0 'Once\nupon\\\n/save '"$dir"'/s.json\n' -mli -n 4 -s 1
grep -qF '"content":"Once\nupon"' "$dir/s.json" || fail "many lines: $(cat "$dir/s.json")"
talk 0 '/set temperature 0\n/set top-k 3\nOnce\na cat\n/save '"$dir"'/s.json\nthe dogs\n' -n 6 --ignore-eos
tail -n 1 "$dir/out" >"$dir/a"
talk 0 '/load '"$dir"'/s.json\n/set\nthe dogs\n' -n 6 --ignore-eos
cmp -s "$dir/a" <(tail -n 1 "$dir/out") || fail "a loaded chat goes on with \"$(cat "$dir/out")\", not \"$(cat "$dir/a")\""
grep -q '^top_k  *3$' "$dir/err" || fail "a loaded setting: $(cat "$dir/err")"
talk 0 '/help\n/reset\n/stats\n/exit\nOnce\n' -n 4
said '/save FILE'
said 'context: 0 of 192 tokens'
[ -s "$dir/out" ] && fail "commands write to stdout, or /exit does not leave: $(cat "$dir/out")"
talk 0 'Once\n/reset\n/stats\n' -n 4 --ignore-eos
said 'context: 0 of 192 tokens'
talk 0 '/set samplers top_k;temperature\n/set logit_bias {"5": 30}\n/set logit_bias [[300, false]]\n/set seed 9\n/set\n'
grep -q '^samplers  *\["top_k","temperature"\]$' "$dir/err" || fail "/set samplers: $(cat "$dir/err")"
grep -q '^logit_bias  *\[\[300,false\]\]$' "$dir/err" || fail "/set logit_bias: $(cat "$dir/err")"
grep -q '^seed  *9$' "$dir/err" || fail "/set seed: $(cat "$dir/err")"
talk 0 'Once\n/set grammar root ::= "a cat"\nOnce\n/set\n/save '"$dir"'/g.json\n/set grammar null\nOnce\n' -n 9 -s 1
[ "$(sed -n 2p "$dir/out")" = "a cat" ] || fail "/set grammar: $(cat "$dir/out")"
[ "$(sed -n 3p "$dir/out")" != "a cat" ] || fail "/set grammar null: $(cat "$dir/out")"
grep -q '^grammar  *"root' "$dir/err" || fail "/set does not tell the grammar: $(cat "$dir/err")"
talk 0 '/load '"$dir"'/g.json\nOnce\n' -n 9 -s 1
[ "$(cat "$dir/out")" = "a cat" ] || fail "a loaded grammar: $(cat "$dir/out")"

# another scale of an adapter: the answer is that of a new chat with this scale
for i in $(seq 200); do echo "Once $i dogs sang and sang, and [they] sang."; done >"$dir/sung.txt"
cat >"$dir/ft.yaml" <<END
method: lora
model: {base: $dir/run}
lora: {rank: 4}
data: {train: $dir/sung.txt}
train: {max_steps: 10, epochs: 0, batch_size: 2, grad_accumulation: 1, learning_rate: 1e-2, warmup_steps: 0, eval_steps: 0}
END
"$tern" finetune "$dir/ft.yaml" --run-dir "$dir/tuned" >"$dir/train.log" 2>&1 || fail "$(cat "$dir/train.log")"
"$tern" export "$dir/tuned" --type gguf-lora -o "$dir/a b.gguf" >"$dir/train.log" 2>&1 || fail "$(cat "$dir/train.log")"
adapted=(--lora "$dir/a b.gguf" -n 12 -s 3 --ignore-eos)
answer() { sed -n "$1p" "$dir/out"; }
talk 0 'Once\n/save '"$dir"'/s.json\nthe dogs\n/lora 0 0.25\nthe cats\n' "${adapted[@]}"
[ "$(wc -l <"$dir/out")" -ge 3 ] || fail "three answers: $(cat "$dir/out")"
said '0  0.25     '
talk 0 'Once\n/save '"$dir"'/s.json\n/lora a b.gguf 0.25\nthe dogs\n/lora 0 1\nthe dogs\n' "${adapted[@]}"
cp "$dir/out" "$dir/switched"
talk 0 '/load '"$dir"'/s.json\nthe dogs\n/save '"$dir"'/s2.json\n' --lora "$dir/a b.gguf:0.25" "${adapted[@]:2}"
[ "$(cat "$dir/out")" = "$(sed -n 2p "$dir/switched")" ] || fail "after /lora: $(cat "$dir/switched") not $(cat "$dir/out")"
talk 0 '/load '"$dir"'/s2.json\nthe dogs\n' "${adapted[@]}"
[ "$(cat "$dir/out")" = "$(sed -n 3p "$dir/switched")" ] || fail "back again: $(cat "$dir/switched") not $(cat "$dir/out")"
talk 0 '/load '"$dir"'/s.json\nthe dogs\n' "${adapted[@]}"
[ "$(cat "$dir/out")" != "$(sed -n 2p "$dir/switched")" ] || fail "/lora changes nothing: $(cat "$dir/out")"
talk 0 '/lora\n' -m "$dir/tuned"
said 'an adapter of the model itself'
talk 1 '/lora 0\n' "${adapted[@]}" && said 'which scale? expected /lora N SCALE'
talk 1 '/lora 7 1\n' "${adapted[@]}" && said 'there is no adapter 7, expected 0 to 0 or the name of a file'
talk 1 '/lora 0 much\n' "${adapted[@]}" && said '"much" is not a number'

# without stdin there is nothing to read, and a signal ends the wait for a line
found=0
timeout 60 "$tern" chat -m "$dir/run" --chat-template "$dir/t.jinja" <&- >"$dir/out" 2>"$dir/err" || found=$?
[ $found -eq 0 ] || fail "stdin is closed: status $found: $(cat "$dir/err")"
mkfifo "$dir/pipe"
sleep 60 >"$dir/pipe" &
writer=$!
"$tern" chat -m "$dir/run" --chat-template "$dir/t.jinja" <"$dir/pipe" >"$dir/out" 2>"$dir/err" &
pid=$!
for _ in $(seq 500); do if grep -q 'chat template' "$dir/err"; then break; fi; sleep 0.02; done
sleep 0.2
kill -TERM $pid
found=0
wait $pid || found=$?
kill $writer
[ $found -eq 143 ] || fail "SIGTERM at a pipe: status $found: $(cat "$dir/err")"

# bad input is told and left behind
talk 1 '/hlep\n' && said 'did you mean /help?'
talk 1 '/set tempreature 1\n' && said 'did you mean temperature?'
talk 1 '/set temperature cold\n' && said '"temperature" is a string, expected a number'
talk 1 '/set top_p 7\n' && said 'expected 0 to 1'
talk 1 '/set prompt x\n' && said 'there is no setting "prompt"'
talk 1 '/set samplers k;nope\n' && said '"k" is not a sampler'
talk 1 '/set logit_bias 3\n' && said 'expected {"id": bias, ...} or [[id, bias], ...]'
talk 1 '/set grammar root ::= (\n' && said 'grammar: line 1'
talk 2 '' --prompt-cache x && said '/save and /load keep a chat'
talk 1 '/lora 0 1\n' && said 'there are no adapters; --lora FILE brings one'
talk 1 '/save\n' && said 'which file?'
talk 1 "/load $dir/none\n" && said 'no such file'
talk 1 "/load $dir/c.yaml\n" && said 'expected a saved chat'
echo '{"format": "tern-chat", "version": 1, "messages": [3], "settings": {}}' >"$dir/bad.json"
talk 1 "Once\n/load $dir/bad.json\n/save $dir/s.json\n" -n 2 && said 'message 1: expected texts'
grep -qF '"content":"Once"' "$dir/s.json" || fail "a refused load spoilt the chat: $(cat "$dir/s.json")"
talk 1 'caf\xe9\nOnce\n' -n 2 --ignore-eos && said 'the line'
[ "$(wc -l <"$dir/out")" -eq 1 ] || fail "after a bad line: $(cat "$dir/out")"
talk 1 "$(printf 'Once upon a time a cat met dogs %.0s' $(seq 30))\nOnce\n" -n 2 && said 'the context holds 192'
talk 1 '' --chat-template lama3 && said 'did you mean llama3?'
talk 1 '' --chat-template-kwargs '[1]' && said 'expected an object'
talk 2 '' -sys a -sysf b && said 'cannot both be given'

# a full context: the oldest turns go
talk 0 "$(printf 'Once upon a time %d\\n' $(seq 12))" -n 12 --ignore-eos -sys Hi --context-shift
said 'oldest messages are forgotten'

# ---- on a terminal ----

command -v python3 >/dev/null || { echo "without python3 there is no terminal to talk on"; exit 77; }
cat >"$dir/terminal.py" <<'END'
import json, os, pty, select, signal, sys, time

tern, folder, home = sys.argv[1:4]

class Terminal:
    def __init__(self, *flags, **environment):
        self.seen = b""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            for name in ("HOME", "XDG_STATE_HOME", "NO_COLOR"): os.environ.pop(name, None)
            os.environ.update(environment, TERM="xterm")
            os.execv(tern, [tern, "chat", "-m", folder + "/run", "--chat-template", folder + "/t.jinja", *flags])

    def read(self, seconds):
        ready, _, _ = select.select([self.fd], [], [], seconds)
        try: data = os.read(self.fd, 4096) if ready else b""
        except OSError: return False
        self.seen += data
        return bool(data) or not ready

    # The place behind `text`, which comes after `since`.
    def wait(self, text, since=0):
        end = time.time() + 60
        while text.encode() not in self.seen[since:]:
            if time.time() > end or not self.read(1): sys.exit(f"no {text!r} in {self.seen[since:]!r}")
        return self.seen.index(text.encode(), since) + len(text)

    def type(self, text):
        os.write(self.fd, text.encode())
        return len(self.seen)

    def end(self):
        end = time.time() + 60
        while self.read(1):
            if time.time() > end: sys.exit(f"does not end: {self.seen[-200:]!r}")
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

def expect(what, found, wanted):
    if found != wanted: sys.exit(f"{what}: {found!r}, expected {wanted!r}")

# Ctrl-C stops the answer alone; the part that came stays; then Ctrl-D leaves.
t = Terminal("-n", "-1", "--ignore-eos", "--context-shift", "-s", "1", XDG_STATE_HOME=home)
t.wait("> ")
at = t.type("Once\r")
while len(t.seen) < at + 400: t.read(1)
at = t.type("\x03")
at = t.wait("> ", t.wait("\r\n", at))
at = t.wait("> ", t.wait("did you mean /help", t.type("/hlep\r")))
t.type("/save " + folder + "/t.json\r")
t.wait("> ", t.wait("2 messages are in", at))
t.type("\x04")
expect("status after Ctrl-D", t.end(), 0)
if '"role":"assistant","content":""' in open(folder + "/t.json").read(): sys.exit("the answer that was stopped is lost")
if "Once" not in open(home + "/tern/history").read(): sys.exit("no history")

# Ctrl-C at the prompt clears the line; where there is none, the second one leaves. Lines are remembered.
t = Terminal("-n", "2", "--ignore-eos", "--color", XDG_STATE_HOME=home)
t.wait("> ")
at = t.type("nonsense")
t.wait("nonsense", at)
t.wait("> ", t.type("\x03"))
at = t.type("\x1b[A")
t.wait("/save", at)
at = t.wait("> ", t.type("\x03"))
if b"leaves)" in t.seen: sys.exit("a line that is cleared is no sign of leaving")
t.wait("> ", t.wait("leaves)", t.type("\x03")))
t.type("\x03")
expect("status after Ctrl-C twice", t.end(), 0)
if b"\x1b[32m" not in t.seen: sys.exit("--color shows none")

# Keys edit a line of any characters; what is typed ahead is kept for the next lines.
t = Terminal("-n", "2", "--ignore-eos", XDG_STATE_HOME=home)
t.wait("> ")
at = t.type("caf\u00e9s \u4f60\U0001f600x" + "\x7f" + "\x1b[D" * 3 + "\x7f" + "\x01the \x05.\r/save " + folder + "/u.json\r")
t.wait("> ", t.wait("2 messages are in", at))
said = json.load(open(folder + "/u.json"))["messages"][0]["content"]
expect("a line that was edited", said, "the caf\u00e9 \u4f60\U0001f600.")
t.type("\x04")
expect("status after Ctrl-D", t.end(), 0)

# A signal ends the wait whenever it comes.
for i in range(24):
    t = Terminal("-n", "2", "--ignore-eos")
    t.wait("> ")
    time.sleep(0.0004 * i)
    os.kill(t.pid, signal.SIGTERM if i % 2 else signal.SIGHUP)
    expect("status after a signal", t.end(), 128 + (signal.SIGTERM if i % 2 else signal.SIGHUP))

# No home, no history; no colours with NO_COLOR; a signal ends it.
t = Terminal("-n", "2", "--ignore-eos", "--color", NO_COLOR="1")
t.wait("> ")
at = t.type("Once\r")
t.wait("> ", t.wait("\n", at))
os.kill(t.pid, signal.SIGTERM)
expect("status after SIGTERM", t.end(), 128 + signal.SIGTERM)
if b"\x1b[32m" in t.seen: sys.exit("colours with NO_COLOR")
END
cd "$dir"
python3 terminal.py "$tern" "$dir" "$dir/state" || fail "on a terminal: see above"
[ ! -e .local ] || fail "a history without HOME"
