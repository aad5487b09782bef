#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# check_registers.sh - the hot tiles keep every accumulator in a register. gcc 12 moves all of them to the stack at the
# least occasion, which halves the speed and changes no result, so that no other test would notice.
set -eu
cd "$(dirname "$0")/.."

skip() {
    echo "$1"
    exit 77
}
command -v objdump >/dev/null || skip "no objdump"
first=$(make -s --no-print-directory MODE=release list-tests | tr ' ' '\n' | head -n 1)
object=${first%/tests/*}/kernels/isa_avx512.o
[ -f "$object" ] || skip "no $object: not an x86-64 build"

# "NAME INSTRUCTIONS SPILLS" for each of the tiles: a spill is a vector register and the stack in one instruction.
found=$(objdump -d --no-show-raw-insn "$object" | awk '
    /^[0-9a-f]+ <(ternary_tile_6|tile_6x4)>:/ { name = $2 }
    /^$/ { name = "" }
    name { count[name]++ }
    name && /zmm/ && /\(%r[sb]p/ { spills[name]++ }
    END { for (name in count) print name, count[name], spills[name] + 0 }')
echo "$found"
[ "$(wc -l <<<"$found")" -eq 2 ] || { echo "expected tile_6x4 and ternary_tile_6 in $object" && exit 1; }
! awk '$3 > 0' <<<"$found" | grep .
