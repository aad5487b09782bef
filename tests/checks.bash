# SPDX-License-Identifier: MIT
# checks.bash - the head of checks that go on after a failure: the program, a folder of the check's own, and what tern
# must say. Sourced from the root; the check ends with `exit $bad`.
tern=${TERN:-build/tern}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
bad=0

fail() {
    echo "$1"
    sed 's/^/    /' "$dir/err" "$dir/out"
    bad=1
}
# expect STATUS PATTERN ARGUMENTS...: the exit status, and something on stderr or stdout that matches.
expect() {
    local wanted=$1 pattern=$2 status=0
    shift 2
    "$tern" "$@" >"$dir/out" 2>"$dir/err" || status=$?
    [ "$status" -eq "$wanted" ] || fail "tern $*: status $status, expected $wanted"
    grep -qE -- "$pattern" "$dir/err" "$dir/out" || fail "tern $*: nothing matches: $pattern"
}
