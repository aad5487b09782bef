#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# run.sh [MODE...] - run the suites that `make build-tests` built, for release and f64, then lint.sh and check_*.sh.
# With modes named (asan, tsan, debug): the suites of these builds only. RUNNER="valgrind -q ..." goes before each suite.
# One line a suite; the output only of what failed. Last line: "N passed, N failed, N skipped", counting single tests.
# TIME_LIMIT (seconds, 300) is for one suite. A check that exits with 77 was skipped; its last line says why.
set -u
cd "$(dirname "$0")/.." || exit 1
modes=("$@")
[ $# -gt 0 ] || modes=(release f64)
limit=${TIME_LIMIT:-300}
logs=build/test-logs
mkdir -p "$logs"
export TERN=${TERN:-build/tern}
passed=0 failed=0 skipped=0

# The number in cmocka's summary line of this kind, 0 when there is none.
summary() { sed -nE "s/^\[  *$1 *\] ([0-9]+) test\(s\).*/\1/p" "$2" | head -n 1 | grep . || echo 0; }

# line NAME SECONDS-SINCE VERDICT
line() { printf '%-26s %6.1f s  %s\n' "$1" "$(awk -v a="$2" -v b="$(date +%s.%N)" 'BEGIN { print b - a }')" "$3"; }

why_it_ended() {
    case $1 in
    124 | 137) echo "stopped after $limit s" ;;
    *) echo "ended with status $1" ;;
    esac
}

run_suite() { # NAME BINARY
    local log=$logs/$1.log start status p f s
    start=$(date +%s.%N)
    # shellcheck disable=SC2086  # RUNNER is a command with its arguments
    timeout -k 5 "$limit" ${RUNNER:-} "$2" >"$log" 2>&1
    status=$?
    p=$(summary PASSED "$log") f=$(summary FAILED "$log") s=$(summary SKIPPED "$log")
    if [ "$status" -ne 0 ] && [ "$f" -eq 0 ]; then
        f=1
        why_it_ended "$status" >>"$log"
    fi
    passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
    line "$1" "$start" "$p passed$([ "$f" -eq 0 ] || echo ", $f FAILED")$([ "$s" -eq 0 ] || echo ", $s skipped")"
    [ "$f" -eq 0 ] || grep -vE '^\[ (RUN|      OK)' "$log" | sed 's/^/    /'
    [ "$s" -eq 0 ] || grep -B 1 -E '^\[  SKIPPED \] [a-z]' "$log" | grep -vE '^(--|\[ RUN)' | sed 's/^/    /'
}

run_check() { # NAME COMMAND...
    local name=$1 log=$logs/$1.log start status
    shift
    start=$(date +%s.%N)
    timeout -k 5 "$limit" "$@" >"$log" 2>&1
    status=$?
    case $status in
    0)
        passed=$((passed + 1))
        line "$name" "$start" "passed"
        ;;
    77)
        skipped=$((skipped + 1))
        line "$name" "$start" "skipped: $(tail -n 1 "$log")"
        ;;
    *)
        failed=$((failed + 1))
        line "$name" "$start" "FAILED, $(why_it_ended "$status")"
        sed 's/^/    /' "$log"
        ;;
    esac
}

for mode in "${modes[@]}"; do
    binaries=$(make -s --no-print-directory MODE="$mode" list-tests)
    for binary in $binaries; do
        name=$(basename "$binary")
        [ "$mode" = release ] || name="$name ($mode)"
        run_suite "${name#test_}" "$binary"
    done
done
if [ $# -eq 0 ]; then
    run_check lint tests/lint.sh
    for check in tests/check_*.sh; do
        [ -e "$check" ] && run_check "$(basename "$check" .sh)" bash "$check"
    done
fi

echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
