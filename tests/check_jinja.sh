#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# check_jinja.sh [SEED...] - Tern's templates beside the jinja2 that is installed: the golden outputs are still what it
# says, and made-up templates give the same. Skipped where python3 has no jinja2.
set -u
cd "$(dirname "$0")/.." || exit 1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
reference=tests/jinja_reference.py
suite=$(make -s --no-print-directory list-tests | tr ' ' '\n' | grep '/test_jinja$')
python=
for candidate in python3 /usr/bin/python3; do
    "$candidate" -c 'import jinja2; assert jinja2.__version__ >= "3.1"' 2>/dev/null && python=$candidate && break
done
if [ -z "$python" ]; then
    echo "python3-jinja2 3.1 or later is not installed"
    exit 77
fi
[ -x "$suite" ] || { echo "$suite is not built: make build-tests" && exit 1; }

mkdir -p "$work/tests/golden"
cp -r tests/golden/jinja "$work/tests/golden/"
cp "$reference" "$work/tests/"
"$python" "$work/$reference" golden || exit 1
"$python" "$reference" random 1 300 >"$work/made_up.jsonl" || exit 1
cmp tests/golden/jinja/expected.json "$work/tests/golden/jinja/expected.json" || exit 1
cmp tests/golden/jinja/made_up.jsonl "$work/made_up.jsonl" || exit 1

for seed in "${@:-20240726}"; do
    "$python" "$reference" random "$seed" 5000 >"$work/cases.jsonl" || exit 1
    TN_JINJA_CASES=$work/cases.jsonl "$suite" >"$work/log" 2>&1 || { cat "$work/log" && exit 1; }
done
echo "5000 made-up templates per seed give what jinja2 $("$python" -c 'import jinja2; print(jinja2.__version__)') gives"
