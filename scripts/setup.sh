#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# setup.sh [LIST...] - install what is missing of the packages in LIST (default packages.txt). Silent when all are there.
set -euo pipefail
cd "$(dirname "$0")"
[ $# -gt 0 ] || set -- packages.txt

wanted=()
mapfile -t wanted < <(sed -E 's/[[:space:]]*#.*//; /^$/d' "$@")

if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
    echo "setup: this is no Debian-like system, so install by hand what these Debian packages hold:" >&2
    echo "  ${wanted[*]}" >&2
    exit 1
fi

installed=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' "${wanted[@]}" 2>/dev/null | sed -n 's/^installed //p' || true)
missing=()
for package in "${wanted[@]}"; do
    grep -qx -- "$package" <<<"$installed" || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

as_root=()
if [ "$(id -u)" -ne 0 ]; then
    as_root=(sudo)
    if ! command -v sudo >/dev/null || { ! sudo -n true 2>/dev/null && [ ! -t 0 ]; }; then
        echo "setup: packages are missing, and installing them needs root. Run this, then the same make again:" >&2
        echo "  sudo apt-get update && sudo apt-get install --no-install-recommends -y ${missing[*]}" >&2
        exit 1
    fi
fi

echo "setup: installing ${missing[*]}" >&2
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q update >&2
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q install --no-install-recommends -y "${missing[@]}" >&2
