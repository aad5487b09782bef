#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# check_neon.sh - the suites of the kernels, built for 64-bit ARM and run under an emulator: every NEON set against portable
# C, and no instruction that the CPU of a set does not have.
set -eu
cd "$(dirname "$0")/.."

skip() {
    echo "$1"
    exit 77
}
[ "$(uname -m)" != aarch64 ] || skip "this machine is ARM, so the suites themselves hold its sets to portable C"
cc=aarch64-linux-gnu-gcc
emulator=qemu-aarch64
command -v $cc >/dev/null || skip "no $cc (package gcc-aarch64-linux-gnu)"
command -v $emulator >/dev/null || skip "no $emulator (package qemu-user)"

logs=build/neon-logs
mkdir -p $logs
for_arm() { make --no-print-directory CC=$cc MODE=release CFLAGS=-Itests/cross "$@"; }
for_arm -j"$(nproc)" build-cross >$logs/build.log 2>&1 || {
    cat $logs/build.log
    exit 1
}

bad=0
complain() {
    echo "$1"
    bad=1
}

# run LOG BINARY CPU: the output goes to LOG, and what ended badly is said at its end.
run() { $emulator -cpu "$3" "$2" >"$1" 2>&1 || echo "FAILED with status $?" >>"$1"; }
# expect LOG CPU SET...: all passed, and these sets alone ran.
expect() {
    local log=$1 cpu=$2 set missing
    shift 2
    ! grep -q FAILED "$log" || complain "$cpu: $(cat "$log")"
    grep -E '[1-9][0-9]* passed, 0 failed' "$log" || complain "$cpu: $log ended early"
    missing=$(sed -nE 's/^skipping instruction set "([a-z0-9]+)".*/\1/p' "$log" | sort -u)
    for set in neon dotprod i8mm; do
        if [[ " $* " == *" $set "* ]]; then
            ! grep -qx $set <<<"$missing" || complain "$cpu: $set did not run"
        else
            grep -qx $set <<<"$missing" || complain "$cpu: $set ran, which this CPU lacks"
        fi
    done
}

suites=$(for_arm -s list-cross)

# As check_registers.sh: no sum of a hot tile lies on the stack (d8 to d15 do, which belong to the caller).
folder=${suites%%/cross/*}/kernels
while read -r set tile; do
    read -r count spills < <(${cc%gcc}objdump -d --no-show-raw-insn "$folder/isa_$set.o" | awk -v name="<$tile>:" '
        /^[0-9a-f]+ </ { inside = $2 == name }
        inside { count++ }
        inside && /[ \t]q[0-9]+,.*\[sp/ { spills++ }
        END { print count + 0, spills + 0 }')
    echo "$set $tile: $count instructions, $spills spills"
    [ "$count" -gt 0 ] && [ "$spills" -eq 0 ] || complain "$set $tile: expected it, without spills"
done <<END
neon tile_6x1
neon tile_of_3
neon pair_tile_6
dotprod tile_of_8
dotprod byte_tile_8
i8mm tile_of_8
i8mm byte_tile_8
i8mm bf16_tile_6
END

for suite in $suites; do
    while [ "$(jobs -rp | wc -l)" -ge "$(nproc)" ]; do wait -n; done
    run $logs/"$(basename "$suite")".log "$suite" max &
done
wait
for suite in $suites; do expect $logs/"$(basename "$suite")".log max neon dotprod i8mm; done

# On an older CPU the choice must stop below what it lacks; an instruction too new for it would end the program.
export CROSS_ONLY=_exact_
gemm=$(tr ' ' '\n' <<<"$suites" | grep test_gemm)
run $logs/a53.log "$gemm" cortex-a53
expect $logs/a53.log cortex-a53 neon
run $logs/a76.log "$gemm" cortex-a76
expect $logs/a76.log cortex-a76 neon dotprod
exit $bad
