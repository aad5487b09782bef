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
folder=${first%/tests/*}/kernels
[ -f "$folder/isa_avx512.o" ] || skip "no $folder/isa_avx512.o: not an x86-64 build"

# INSTRUCTIONS and SPILLS of a function of an object: a spill is a vector register and the stack in one instruction.
count() {
    objdump -d --no-show-raw-insn "$folder/isa_$1.o" | awk -v name="<$2>:" '
        /^[0-9a-f]+ </ { inside = $2 == name }
        inside { count++ }
        inside && /[yz]mm/ && /\(%r[sb]p/ { spills++ }
        END { print count + 0, spills + 0 }'
}

bad=0
while read -r set tile; do
    read -r count spills < <(count "$set" "$tile")
    echo "$set $tile: $count instructions, $spills spills"
    [ "$count" -gt 0 ] && [ "$spills" -eq 0 ] || bad=1
done <<END
avx2 tile_6x1
avx2 pair_tile_6
avxvnni ternary_tile_1
avxvnni ternary_tile_6
avxvnni byte_tile_6
avxvnni pair_tile_6
avx512 tile_6x4
avx512 tile_12x1
avx512 ternary_tile_1
avx512 ternary_tile_6
avx512 byte_tile_6
avx512 pair_tile_6
avx512bf16 bf16_tile_6
avx512vbmi triple_tile_1
avx512vbmi triple_tile_4
END
exit $bad
