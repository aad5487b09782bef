#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# bench.sh [DIR] - what `make bench` prints: the kernels, then steps of training at the three presets, in a few minutes on two
# cores. With DIR, each table is also written there, with the machine and the command.
set -euo pipefail
cd "$(dirname "$0")/.."
results=${1:-}
tern=build/tern

# An image may hold OpenBLAS at kernels below those of the CPU, which is not what is to be measured.
unset OPENBLAS_CORETYPE

describe() { # TITLE COMMAND: what comes before the table in a file
    printf '# %s\n\n' "$1"
    printf -- '- CPU: %s, %s cores\n' "$(sed -nE 's/^model name\s*: //p' /proc/cpuinfo | head -n 1)" "$(nproc)"
    printf -- '- compiler: %s\n' "$(${CC:-gcc} --version | head -n 1)"
    printf -- '- Tern: %s\n' "$("$tern" --version | head -n 1)"
    printf -- '- command: `%s`\n\n```\n' "$2"
}

measure() { # NAME TITLE ARGUMENTS...
    local name=$1 title=$2 command
    shift 2
    command="$tern bench $*"
    printf '$ %s\n' "$command"
    if [ -z "$results" ]; then
        "$tern" bench "$@" --log-disable
    else
        mkdir -p "$results"
        { describe "$title" "$command" && "$tern" bench "$@" --log-disable && echo '```'; } >"$results/$name.md.part"
        mv "$results/$name.md.part" "$results/$name.md"
        sed -e '1,/^```$/d' -e '$d' "$results/$name.md"
    fi
    echo
}

measure kernels 'Products and row kernels' kernels
measure 30m 'Training, preset 30m' train --preset 30m --steps 10 --warmup 2
measure 10m 'Training, preset 10m' train --preset 10m --steps 5 --warmup 1
measure 125m 'Training, preset 125m' train --preset 125m --steps 5 --warmup 1
