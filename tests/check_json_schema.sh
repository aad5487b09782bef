#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# check_json_schema.sh - the texts that tests/test_json_schema.c draws from the grammars of schemas are valid to Python's
# jsonschema, too. It knows Python's expressions, not ECMAScript's, so groups get its spelling and \w is ASCII.
set -u
cd "$(dirname "$0")/.." || exit 1
if ! python3 -c 'import jsonschema' 2>/dev/null; then
    echo "Python has no module jsonschema (python3-jsonschema)"
    exit 77
fi
samples=$(mktemp)
trap 'rm -f "$samples"' EXIT
suite=$(make -s --no-print-directory list-tests | tr ' ' '\n' | grep '/test_json_schema$')
TN_SCHEMA_SAMPLES=$samples "$suite" >/dev/null 2>&1 || { echo "FAILED: $suite"; exit 1; }
python3 -W ignore - "$samples" <<'END'
import json, re, sys
import jsonschema

def fits_pattern(validator, pattern, value, schema):
    pattern = pattern.replace("(?<", "(?P<")
    if isinstance(value, str) and not re.search(pattern, value, re.ASCII):
        yield jsonschema.ValidationError(f"{value!r} does not match {pattern!r}")

count = failed = 0
for line in open(sys.argv[1], encoding="utf-8"):
    schema, text = json.loads(line)
    old = isinstance(schema, dict) and isinstance(schema.get("items"), list)
    base = jsonschema.Draft201909Validator if old else jsonschema.Draft202012Validator
    kind = jsonschema.validators.extend(base, {"pattern": fits_pattern})
    count += 1
    try:
        kind(schema, format_checker=base.FORMAT_CHECKER).validate(json.loads(text))
    except Exception as problem:
        failed += 1
        print("FAILED:", json.dumps(schema), text, str(problem).splitlines()[0])
print(f"{count} texts, {failed} refused")
sys.exit(failed > 0 or count < 1000)
END
