#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# lint.sh - what the compiler does not see: layering, lengths, calls that have one home, names, white space.
# Prints "file:line: what is wrong" and exits with 1 when there is anything.
set -euo pipefail
cd "$(dirname "$0")/.."
rooms=(core kernels autograd layers optim formats data models train infer bench cmd tests)
bad=0

mapfile -t sources < <(find "${rooms[@]}" -name '*.[ch]' | sort)
mapfile -t tables < <(find "${rooms[@]}" -name '*.def' | sort)
mapfile -t scripts < <(find scripts tests bench .ci -name '*.sh' -o -name '*.bash' -o -path .ci/run | sort)

# Pass on what a check prints, and remember that it printed something.
report() {
    local text
    text=$(cat)
    [ -z "$text" ] && return
    echo "$text"
    bad=1
}

# forbid PATTERN MESSAGE [EXCEPT]: no match in the code (comments and texts blanked) but in files that match EXCEPT.
bare=build/lint
forbid() {
    { grep -nHE -- "$1" "${bared[@]}" || true; } | sed "s|^$bare/||" | grep -vE -- "^(${3:-$^}):" | sed "s|\$|    <- $2|" || true
}

rm -rf "$bare"
bared=()
for file in "${sources[@]}"; do
    mkdir -p "$bare/${file%/*}"
    bared+=("$bare/$file")
done
perl -e '
    my $bare = shift;
    for my $file (@ARGV) {
        local $/;
        open my $in, "<", $file or die "$file: $!";
        my $text = <$in>;
        $text =~ s{(/\*.*?\*/)|("(?:\\.|[^"\\\n])*")|(\x27(?:\\.|[^\x27\\\n])*\x27)}
                  { my $m = $&; $1 ? $m =~ s/[^\n]//gr : $2 ? "\"\"" : "\x27x\x27" }gse;
        open my $out, ">", "$bare/$file" or die "$file: $!";
        print $out $text;
    }' "$bare" "${sources[@]}"

report < <(tests/layers.sh || true)

report < <(forbid '(^|[^A-Za-z0-9_>.])(malloc|calloc|realloc|aligned_alloc|free|strdup|strndup|asprintf|getline) *\(' \
    'memory comes from core/arena.h' 'core/arena\.c')
report < <(forbid '# *pragma +omp' 'threads live in core/par.c' 'core/par\.c')
report < <(forbid '(^|[^A-Za-z0-9_])(printf|puts|putchar|perror|exit|_exit|abort) *\(' 'only cmd/ speaks and exits' \
    'cmd/.*|tests/.*|bench/.*|core/status\.c')
report < <(forbid 'fprintf *\( *(stderr|stdout)|fputs *\([^;]*(stderr|stdout)' 'only cmd/ speaks' \
    'cmd/.*|tests/.*|bench/.*|core/status\.c')
report < <(forbid '__attribute__|__builtin_|__asm__|\btypeof' 'compiler extensions live in core/compiler.h' \
    'core/compiler\.h|core/par\.c|kernels/.*')
report < <(forbid '(^|[^A-Za-z0-9_])(strcpy|strcat|sprintf|gets|strtok|atoi|atof) *\(' 'has no bound or no error' \
    'tests/.*')
report < <(forbid '^ *//' 'comments are /* */')

report < <(grep -nwE 'TODO|FIXME|XXX' "${sources[@]}" "${tables[@]}" "${scripts[@]}" | grep -v '^tests/lint.sh' || true)
report < <(grep -nE '[[:space:]]+$' "${sources[@]}" "${tables[@]}" "${scripts[@]}" Makefile | sed 's/$/    <- white space at the end/' || true)
report < <(grep -nP '\t' "${sources[@]}" "${tables[@]}" "${scripts[@]}" | sed 's/$/    <- a tab/' || true)
report < <(awk 'length > 120 { printf "%s:%d: %d columns, at most 120\n", FILENAME, FNR, length }' "${sources[@]}")
report < <(grep -nE -- '-ffast-math|-Ofast|-march=native' Makefile || true)

report < <(for file in "${sources[@]}" "${tables[@]}" "${scripts[@]}" Makefile; do
    head -n 3 "$file" | grep -q 'SPDX-License-Identifier: MIT' || echo "$file:1: no SPDX line"
done)
report < <(find . \( -path ./.git -o -path ./build -o -path ./runs -o -path ./tests/fuzz/corpus -o -path ./tests/golden/hf \) -prune -o -type f ! -name README.md ! -name '.*' -printf '%f\n' |
    sort | uniq -d | sed 's/^/two files are named /')

report < <(awk 'FNR == 1 && NR > 1 && lines >= 500 { printf "%s:%d: below 500 lines is the limit\n", last, lines }
    { lines = FNR; last = FILENAME }
    END { if (lines >= 500) printf "%s:%d: below 500 lines is the limit\n", last, lines }' "${sources[@]}")
# A function opens at the margin and closes with a brace in the first column.
report < <(awk 'FNR == 1 { start = 0; inside = 0 }
    FILENAME ~ /^kernels\// { next }
    !inside && /^[A-Za-z_].*\(/ { start = FNR }
    !inside && start && /;$/ { start = 0 }
    !inside && start && /\{$/ { inside = 1 }
    inside && /^}/ {
        if (FNR - start + 1 > 80) printf "%s:%d: a function of %d lines, at most 80\n", FILENAME, start, FNR - start + 1
        inside = 0; start = 0
    }' "${sources[@]}")

if command -v clang-format >/dev/null; then
    loose=$(clang-format --dry-run "${sources[@]}" 2>&1 | grep -c 'warning: code should be clang-formatted' || true)
    [ "$loose" -eq 0 ] || echo "note: clang-format would change $loose places (make fmt)"
else
    echo "note: clang-format is not installed, so formatting was not looked at"
fi
exit $bad
