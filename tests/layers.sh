#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# layers.sh - proves from the #include lines that dependencies point down (the table is in CONTRIBUTING.md).
set -euo pipefail
cd "$(dirname "$0")/.."

declare -A may=(
    [core]=""
    [kernels]="core"
    [formats]="core"
    [data]="formats core"
    [autograd]="kernels core"
    [layers]="autograd core"
    [optim]="autograd kernels core"
    [models]="layers formats data autograd kernels core"
    [train]="models layers optim formats data autograd core"
    [infer]="models layers formats data autograd kernels core"
)
everything="core kernels formats data autograd layers optim models train infer"
may[bench]=$everything
may[cmd]="$everything bench"
may[tests]="$everything bench cmd"

# A foreign library and the files that may know it (tests may: they make files to read).
declare -A home=(
    [hdf5.h]='^formats/'
    [yaml.h]='^core/config_yaml\.c$'
    [cblas.h]='^kernels/blas\.c$'
    [omp.h]='^core/par\.c$'
    [pthread.h]='^core/par\.c$'
    [cmocka.h]='^tests/' # that is, none
    [zlib.h]='^data/'
    [pcre2.h]='^data/'
    [utf8proc.h]='^data/'
    [histedit.h]='^cmd/line_editor\.c$'
    [Random123/philox.h]='^core/rng\.c$'
)

bad=0
complain() {
    echo "$1"
    bad=1
}

for room in "${!may[@]}"; do
    [ -d "$room" ] || continue
    while IFS=: read -r file line text; do
        spelled=$(sed -E 's/^[[:space:]]*#[[:space:]]*include[[:space:]]*["<]([^">]+)[">].*/\1/' <<<"$text")
        target=${spelled%%/*}
        if [[ $text == *\<* ]]; then
            where=${home[$spelled]:-}
            [ -z "$where" ] || [ "$room" = tests ] || [[ $file =~ $where ]] || complain "$file:$line: <$spelled> is known to $where only"
        elif [ "$target" = "$spelled" ]; then
            complain "$file:$line: \"$spelled\" must be spelled from the root, \"folder/file.h\""
        elif [[ $spelled == *.c ]]; then
            complain "$file:$line: a .c file is never included"
        elif [ "$target" = "$room" ]; then
            :
        elif [[ " ${may[$room]} " != *" $target "* ]]; then
            complain "$file:$line: $room must not include $target"
        elif [[ $spelled == *_priv.h && $room != tests ]]; then
            complain "$file:$line: $spelled is the private half of $target"
        fi
    done < <(grep -rnE --include='*.[ch]' '^[[:space:]]*#[[:space:]]*include' "$room")
done
exit $bad
